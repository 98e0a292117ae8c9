"""Layers: of a language model, and of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textgen.settings import check

LONGEST_UNROLLED = 512
"""Ids of the longest window that training on CPUs lays out in its graph, by an LSTM of our own: a layer of so many
positions takes 15 seconds to lay out (two cores)."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Layers: input -> `num_layers` recurrent ones, dropout after each -> optional Dense -> softmax over the ids."""

    input: Literal["embedding", "one_hot", "scaled"] = "embedding"
    """How an id is read: a row of weights; a 1 at its place; or as one number, the id / `vocab_size`, which says that
    neighbouring ids are alike and is there for comparison."""
    embedding_dim: int = 64
    """Width of the embedding; unused with another input."""
    cell: Literal["lstm", "gru"] = "lstm"
    """What every recurrent layer consists of."""
    units: int = 256
    """Width of every recurrent layer; unused with `layer_units`."""
    num_layers: int = 1
    """Recurrent layers, one on top of another."""
    layer_units: tuple[int, ...] = ()
    """Width of each recurrent layer, `num_layers` of them, where they differ; empty goes by `units`."""
    hold_conditions: bool = True
    """What a document is told (`corpus.condition_on`) is read beside every id of it, and not only once before the text;
    unused without conditions, and with `scaled` inputs."""
    dropout: float = 0.0
    """Share of the outputs of each recurrent layer set to zero in training."""
    dense_units: int | None = None
    """Width of a Dense relu layer between the recurrent ones and the softmax; None leaves it out."""
    dense_dropout: float = 0.0
    """Share of the outputs of the Dense layer set to zero in training."""
    counts_order: int | None = None
    """Length of the longest contexts of a count model of `train`, 4 to 7, whose log-probabilities are added to the
    logits through a learnt gate; None leaves it out. Such a model has read all of `train`."""
    counts_max_megabytes: int = 64
    """Size of the count model; the rarest contexts are dropped until it fits. Unused without `counts_order`."""

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "units", "num_layers"):
            check(getattr(self, name) >= 1, f"model.{name} is {getattr(self, name)}; use 1 or more")
        check(
            len(self.layer_units) in (0, self.num_layers) and all(units >= 1 for units in self.layer_units),
            f"model.layer_units is {list(self.layer_units)} with model.num_layers {self.num_layers}; "
            "give each layer a width of 1 or more, or none of them",
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
        check(
            self.counts_max_megabytes >= 1,
            f"model.counts_max_megabytes is {self.counts_max_megabytes}; use 1 or more",
        )

    @property
    def holds_controls(self) -> bool:
        """Whether controls, where there are any, are read beside every id."""
        return self.hold_conditions and self.input != "scaled"

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each recurrent layer, the first one first."""
        return self.layer_units or (self.units,) * self.num_layers


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """Layers of a classifier: features of a document -> Dense layers, dropout after each -> softmax over the labels."""

    features: Literal["bag_of_words", "language_model"] | None = None
    """What of a document the layers see: which words of the vocabulary it has, or what the LSTMs of the section `model`
    made of its ids (their last output, mean and maximum). None trains a language model."""
    hidden_units: tuple[int, ...] = (512, 256)
    """Width of each Dense layer; empty puts the softmax on the features."""
    hidden_activations: tuple[Literal["relu", "sigmoid", "tanh"], ...] = ("relu", "sigmoid")
    """Activation of each Dense layer."""
    dropout: float = 0.5
    """Share of the outputs of each Dense layer set to zero in training."""
    max_document_ids: int = 512
    """Ids of a document that the LSTMs read; unused with a bag of words."""
    document_part: Literal["first", "last"] = "last"
    """Which of its ids those are, where it has more."""
    max_unknown_share: float = 0.4
    """A text with a larger share of unknown words (characters, for LSTMs) gets no label."""
    answered_share: float = 0.9
    """A text gets a label where the classifier is at least as sure of it as of this share of `val`."""

    def __post_init__(self) -> None:
        check(
            len(self.hidden_units) == len(self.hidden_activations),
            f"classifier.hidden_units has {len(self.hidden_units)} layers and classifier.hidden_activations "
            f"{len(self.hidden_activations)}; give one of each a layer",
        )
        check(
            all(units >= 1 for units in self.hidden_units),
            f"classifier.hidden_units is {list(self.hidden_units)}; each is 1 or more",
        )
        check(0 <= self.dropout < 1, f"classifier.dropout is {self.dropout}; it must lie in [0, 1)")
        check(self.max_document_ids >= 1, f"classifier.max_document_ids is {self.max_document_ids}; use 1 or more")
        for name in ("max_unknown_share", "answered_share"):
            check(0 <= getattr(self, name) <= 1, f"classifier.{name} is {getattr(self, name)}; it must lie in [0, 1]")
