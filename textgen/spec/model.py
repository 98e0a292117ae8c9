"""Layers of a language model and of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textgen.settings import check

LONGEST_UNROLLED = 512
"""Longest window, in ids, for which training on CPUs uses textgen's unrolled LSTM. Unrolling a layer over this many
positions takes 15 seconds (two cores)."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Layers: input -> `num_layers` recurrent layers, each with dropout -> optional Dense -> softmax over ids."""

    input: Literal["embedding", "one_hot", "scaled"] = "embedding"
    """How ids are presented to the first layer: as a learned embedding, as a one-hot vector, or scaled to the single
    number id / `vocab_size`. Scaling treats neighbouring ids as similar and is provided for comparison."""
    embedding_dim: int = 64
    """Width of the embedding; unused with other inputs."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Cell type of the recurrent layers."""
    units: int = 256
    """Width of every recurrent layer; unused with `layer_units`."""
    num_layers: int = 1
    """Number of stacked recurrent layers."""
    layer_units: tuple[int, ...] = ()
    """Width of each of the `num_layers` recurrent layers, if they differ; empty uses `units` for all."""
    hold_conditions: bool = True
    """Whether a document's conditions (`corpus.condition_on`) are an input at every id, rather than only once before
    the text. Unused without conditions and with `scaled` inputs."""
    dropout: float = 0.0
    """Share of each recurrent layer's outputs that is set to zero in training."""
    dense_units: int | None = None
    """Width of a Dense relu layer between the recurrent layers and the softmax; None omits it."""
    dense_dropout: float = 0.0
    """Share of the Dense layer's outputs that is set to zero in training."""
    counts_order: int | None = None
    """Length of the longest contexts, 4 to 7 characters, of a count model of `train` whose log-probabilities are added
    to the logits through a learnt gate; None uses no counts. A model with counts has read all of `train`."""
    counts_words: int = 0
    """Words before the current one, up to 2, that further contexts of the count model hold beside the beginning of the
    current word; 0 has no such contexts. With 1 or 2, each length of context has its own gate. Unused without
    `counts_order`."""
    counts_max_megabytes: int = 64
    """Size of the count model; the rarest contexts are dropped until it fits. Unused without `counts_order`."""

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "units", "num_layers"):
            check(getattr(self, name) >= 1, f"model.{name} is {getattr(self, name)}; use 1 or more")
        check(
            len(self.layer_units) in (0, self.num_layers) and all(units >= 1 for units in self.layer_units),
            f"model.layer_units is {list(self.layer_units)} with model.num_layers {self.num_layers}; "
            "give a width of 1 or more for each layer, or an empty list",
        )
        check(
            self.dense_units is None or self.dense_units >= 1,
            f"model.dense_units is {self.dense_units}; use 1 or more, or none",
        )
        for name in ("dropout", "dense_dropout"):
            check(0 <= getattr(self, name) < 1, f"model.{name} is {getattr(self, name)}; it must lie in [0, 1)")
        check(
            self.counts_order is None or 4 <= self.counts_order <= 7,
            f"model.counts_order is {self.counts_order}; use 4 to 7, or none",
        )
        check(0 <= self.counts_words <= 2, f"model.counts_words is {self.counts_words}; use 0, 1 or 2")
        check(
            self.counts_max_megabytes >= 1,
            f"model.counts_max_megabytes is {self.counts_max_megabytes}; use 1 or more",
        )

    @property
    def holds_controls(self) -> bool:
        """Whether controls, if there are any, are an input at every id."""
        return self.hold_conditions and self.input != "scaled"

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each recurrent layer, from first to last."""
        return self.layer_units or (self.units,) * self.num_layers


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """Layers of a classifier: document features -> Dense layers, each with dropout -> softmax over labels."""

    features: Literal["bag_of_words", "language_model"] | None = None
    """Input of the classifier: which words of the vocabulary a document contains, or the outputs of the recurrent
    layers of the section `model` (last, mean and maximum over the document). None trains a language model."""
    hidden_units: tuple[int, ...] = (512, 256)
    """Width of each Dense layer; empty applies the softmax layer directly to the features."""
    hidden_activations: tuple[Literal["relu", "sigmoid", "tanh"], ...] = ("relu", "sigmoid")
    """Activation of each Dense layer."""
    dropout: float = 0.5
    """Share of each Dense layer's outputs that is set to zero in training."""
    max_document_ids: int = 512
    """Largest number of ids that the recurrent layers read of a document; unused with a bag of words."""
    document_part: Literal["first", "last"] = "last"
    """Which part of a longer document the recurrent layers read."""
    max_unknown_share: float = 0.4
    """Largest share of unknown words (characters, for a language model) with which a text still gets a label."""
    answered_share: float = 0.9
    """Share of `val` that gets a label. It sets the confidence threshold below which a text gets no label."""

    def __post_init__(self) -> None:
        check(
            len(self.hidden_units) == len(self.hidden_activations),
            f"classifier.hidden_units has {len(self.hidden_units)} layers and classifier.hidden_activations "
            f"{len(self.hidden_activations)}; give one width and one activation per layer",
        )
        check(
            all(units >= 1 for units in self.hidden_units),
            f"classifier.hidden_units is {list(self.hidden_units)}; each must be 1 or more",
        )
        check(0 <= self.dropout < 1, f"classifier.dropout is {self.dropout}; it must lie in [0, 1)")
        check(self.max_document_ids >= 1, f"classifier.max_document_ids is {self.max_document_ids}; use 1 or more")
        for name in ("max_unknown_share", "answered_share"):
            check(0 <= getattr(self, name) <= 1, f"classifier.{name} is {getattr(self, name)}; it must lie in [0, 1]")
