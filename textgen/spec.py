"""Everything that determines a run, as frozen dataclasses that check themselves.

A preset (`textgen.presets`) returns a whole `RunSpec`; `override` changes single fields of it, for the command
line (`--set training.learning_rate=1e-3`), the sweep and the tests. How many workers compute a run is not part
of its spec: the result does not depend on it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from textgen.errors import UserError
from textgen.settings import check, coerce, field_types, nearest

RULE_NAMES = (
    "book_edges",
    "bytes_literal",
    "html",
    "control",
    "nfc",
    "lower",
    "words",
    "drop_containing",
    "length",
    "whitespace",
    "mark_numbers",
    "mark_all_capitals",
    "mark_capitals",
    "mark_repeats",
)


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Which text is read from the sources, and how it becomes documents in splits."""

    origin: str = ""
    """Where the texts come from and whose they are, in words, for the manifest."""
    single_author: bool = False
    """The texts are one person's: a training on them asks for `--acknowledge`, once for a run."""
    format: Literal["auto", "tsv", "csv", "jsonl", "parquet", "text", "npy", "twitter_archive"] = "auto"
    """Format of the source files; `auto` goes by the file's name."""
    encoding: str = "utf-8"
    """Character encoding of the source files, a name that Python knows (`utf-8`, `cp1252`)."""
    encoding_errors: Literal["fail", "reject"] = "fail"
    """A row whose bytes are not of the encoding ends the job, or goes to `rejected/`."""
    text_column: str | None = None
    """Column that holds the text; None recognises the schema. A position (from 0) says that a TSV or CSV has no header
    line, and then `label_column` and `category_column` are positions too."""
    label_column: str | None = None
    """Column that holds the label (stars, sentiment); None recognises the schema."""
    category_column: str | None = None
    """Column that holds the category (of a product, say); None recognises the schema."""
    keep_categories: tuple[str, ...] = ()
    """Drops the records of all other categories, and those without one; empty keeps all."""
    document_unit: Literal["line", "paragraph", "file"] = "line"
    """What one document is in a plain text file."""
    rules: tuple[str, ...] = (
        "bytes_literal",
        "html",
        "control",
        "nfc",
        "lower",
        "drop_containing",
        "whitespace",
        "length",
    )
    """Cleaning rules, applied in this order; `book_edges` comes first wherever it stands: it needs whole files."""
    drop_containing: tuple[str, ...] = ()
    """The rule `drop_containing` drops documents that contain one of these strings."""
    min_document_chars: int = 1
    """The rule `length` drops documents shorter than this, in characters."""
    max_document_chars: int | None = None
    """The rule `length` drops documents longer than this, in characters; None is no bound."""
    deduplicate: bool = True
    """Keeps one of the documents whose cleaned texts are equal: the first by file name and row."""
    document_order: Literal["hash", "file"] = "hash"
    """Order of the documents: by a seeded hash of their text, or as they stand in the files."""
    val_share: float = 0.01
    """Share of the documents in `val`, drawn by hash."""
    test_share: float = 0.01
    """Share of the documents in `test`, drawn by hash; unused with `test_categories`."""
    test_categories: tuple[str, ...] = ()
    """All documents of these categories are `test`, and no others: a split by time where the category is a year. A text
    that stands in other categories too is not `test`: of duplicates the others' stays. Empty draws `test` by hash."""
    condition_on: tuple[Literal["label", "category"], ...] = ()
    """Columns whose value is told before each document by a control id, so that the model can be asked for it."""
    condition_none_share: float = 0.1
    """Share of the documents of `train` whose value is not told, so that the model also learns to write unasked."""
    min_split_documents: int = 100
    """Smallest number of documents in `val` and in `test`, where the corpus allows; ignored where the share is 0."""
    max_rejected_share: float = 0.05
    """Share of the records that may be rejected before the job fails."""
    seed: int = 0
    """Seed of the hash that orders the documents and assigns the splits."""

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule not in RULE_NAMES:
                raise UserError(f"corpus.rules has {rule!r}; {nearest(rule, RULE_NAMES)}")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise UserError(
                f"corpus.encoding is {self.encoding!r}, which Python does not know; use a name such as utf-8 or cp1252"
            ) from None
        check(
            min(self.val_share, self.test_share) >= 0 and self.val_share + self.test_share < 1,
            f"corpus.val_share + corpus.test_share is {self.val_share + self.test_share}; it must lie in [0, 1)",
        )
        check(
            0 <= self.max_rejected_share <= 1,
            f"corpus.max_rejected_share is {self.max_rejected_share}; it must lie in [0, 1]",
        )
        check(self.min_document_chars >= 0, f"corpus.min_document_chars is {self.min_document_chars}; use 0 or more")
        check(
            self.max_document_chars is None or self.max_document_chars >= max(1, self.min_document_chars),
            f"corpus.max_document_chars is {self.max_document_chars}; "
            f"use {max(1, self.min_document_chars)} (corpus.min_document_chars) or more, or none",
        )
        check(
            not self.test_categories or self.deduplicate,
            "corpus.test_categories with corpus.deduplicate=false lets a text stand in train and in test; "
            "set corpus.deduplicate=true",
        )
        check(
            len(set(self.condition_on)) == len(self.condition_on),
            f"corpus.condition_on is {list(self.condition_on)}; name each column once",
        )
        check(
            0 <= self.condition_none_share < 1,
            f"corpus.condition_none_share is {self.condition_none_share}; it must lie in [0, 1)",
        )
        check(self.min_split_documents >= 0, f"corpus.min_split_documents is {self.min_split_documents}; use 0 or more")


@dataclass(frozen=True, kw_only=True)
class WindowsSpec:
    """How documents become ids, and ids windows."""

    unit: Literal["characters", "bytes", "words"] = "characters"
    """What one id stands for: a Unicode character, a byte of UTF-8, or a word, which only a classifier reads."""
    min_count: int = 1
    """Characters (or words) rarer than this in `train` become UNKNOWN."""
    max_vocab_size: int | None = None
    """Ids of a vocabulary of words, UNKNOWN and END among them: the most frequent words have one; None is no bound."""
    separator: str | None = None
    """None joins documents by the id END; a text joins them by that text, and then no ids are reserved: the symbols of
    all splits have ids, for want of UNKNOWN."""
    context_length: int = 64
    """Inputs of a window, in ids."""
    stride: int = 64
    """Ids between the starts of two neighbouring windows."""
    shard_bytes: int = 64 * 2**20
    """Size at which a shard is full, in bytes of ids before compression."""

    def __post_init__(self) -> None:
        for name in ("min_count", "context_length", "stride", "shard_bytes"):
            check(getattr(self, name) >= 1, f"windows.{name} is {getattr(self, name)}; use 1 or more")
        check(
            self.separator != "",
            "windows.separator is the empty text, after which no document can be read; use a text such as ' ', or none",
        )
        check(
            self.separator is None or self.min_count == 1,
            f"windows.min_count is {self.min_count} but windows.separator leaves no id for UNKNOWN; use 1",
        )
        check(
            self.unit != "words" or self.separator is None,
            f"windows.separator is {self.separator!r} with windows.unit words, which END keeps apart; use none",
        )
        check(
            self.max_vocab_size is None or (self.unit == "words" and self.max_vocab_size >= 3),
            f"windows.max_vocab_size is {self.max_vocab_size} with windows.unit {self.unit}; "
            "it bounds a vocabulary of words, to 3 or more: use none, or windows.unit=words",
        )


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
    layer_units: tuple[int, ...] = ()
    """Width of each recurrent layer, `num_layers` of them, where they differ; empty goes by `units`."""
    dropout: float = 0.0
    """Share of the outputs of each recurrent layer set to zero in training."""
    dense_units: int | None = None
    """Width of a Dense relu layer between the recurrent ones and the softmax; None leaves it out."""
    dense_dropout: float = 0.0
    """Share of the outputs of the Dense layer set to zero in training."""

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


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """How the model learns: order of the windows, optimizer, schedule, and what happens every so often."""

    order: Literal["stateful", "shuffled"] = "stateful"
    """Lanes read front to back with the recurrent state carried, or in shuffled blocks with the state reset."""
    loss_at: Literal["every", "last"] = "every"
    """Which inputs of a window are followed by a prediction: every one, or the last alone. A model that has learnt from
    the last alone reads `windows.context_length` ids from a zero state before each prediction, in use as in training.
    """
    block_windows: int = 64
    """Windows of a lane read at once, and shuffled together in the order `shuffled`; a power of two."""
    global_batch_size: int = 64
    """Windows (documents, for a classifier) per step, over all workers: the number of lanes."""
    epochs: float = 1.0
    """Passes over `train`; with `max_steps`, whichever ends first."""
    max_steps: int | None = None
    """Steps after which training ends; None goes by `epochs`."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    learning_rate: float = 2e-3
    """Peak of the schedule."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises linearly from 0."""
    decay: Literal["cosine", "constant", "one_cycle", "slanted_triangular"] = "cosine"
    """What follows the warm-up: a cosine down to `final_learning_rate_share`, or nothing. The other two say how the
    rate rises too, in place of `warmup_steps`: `one_cycle` by a cosine over the first quarter of the steps, then down
    as `cosine` (the optimizer's momentum stays as it is); `slanted_triangular` in a line from 1/32 of the peak over the
    first tenth, then back to 1/32 in a line."""
    final_learning_rate_share: float = 0.05
    """Learning rate at the last step as a share of the peak."""
    layer_rate_factor: float = 1.0
    """Each group of layers learns at the rate of the group above it divided by this: discriminative rates. The groups
    are the embedding, each recurrent layer, and what stands above them, which learns at `learning_rate`."""
    unfreeze_every_steps: int | None = None
    """At first the last group of layers learns alone, and every so many steps one more: gradual unfreezing. What does
    not learn yet does not change at all. None lets all learn from the beginning."""
    weight_decay: float = 0.0
    """Decoupled weight decay, for `adamw`."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient; None does not clip."""
    seed: int = 0
    """Seed of initial weights, dropout, window order and samples: one derived stream a purpose."""
    validate_every_steps: int = 500
    """Steps between validations; the last step always validates."""
    validation_chars: int = 200_000
    """Characters of `val` that a validation scores: always the first ones. A classifier's validation scores all."""
    patience: int | None = None
    """Validations without a better loss before training stops early; None never stops early."""
    checkpoint_every_steps: int | None = None
    """Steps between checkpoints, beside those by time; None goes by time alone."""
    checkpoint_every_seconds: float = 60.0
    """Seconds between checkpoints."""
    keep_checkpoints: int = 2
    """Latest checkpoints kept, beside the best."""
    sample_temperatures: tuple[float, ...] = (0.2, 0.5, 1.0, 1.2)
    """Temperatures of the samples printed after every validation; empty prints none."""
    sample_chars: int = 120
    """Length of those samples, in characters."""
    max_failures: int = 3
    """Times that a lost worker restarts the run from its last checkpoint."""
    record_steps: bool = False
    """Writes the hash of the windows and the loss of every step under the run's `steps/`."""

    def __post_init__(self) -> None:
        for name in (
            "block_windows",
            "global_batch_size",
            "validate_every_steps",
            "keep_checkpoints",
            "validation_chars",
            "sample_chars",
        ):
            check(getattr(self, name) >= 1, f"training.{name} is {getattr(self, name)}; use 1 or more")
        for name in ("max_steps", "checkpoint_every_steps", "patience", "unfreeze_every_steps"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"training.{name} is {value}; use 1 or more, or none")
        for name in ("epochs", "learning_rate"):
            value = getattr(self, name)
            check(0 < value < math.inf, f"training.{name} is {value}; it must be above 0 and finite")
        check(
            self.checkpoint_every_seconds > 0,
            f"training.checkpoint_every_seconds is {self.checkpoint_every_seconds}; it must be above 0",
        )
        for name in ("warmup_steps", "max_failures"):
            check(getattr(self, name) >= 0, f"training.{name} is {getattr(self, name)}; use 0 or more")
        check(0 <= self.seed < 2**63, f"training.seed is {self.seed}; it must lie in [0, 2**63)")
        check(
            all(temperature >= 0 for temperature in self.sample_temperatures),
            f"training.sample_temperatures is {list(self.sample_temperatures)}; each is 0 (greedy) or more",
        )
        check(
            self.block_windows & (self.block_windows - 1) == 0,
            f"training.block_windows is {self.block_windows}; it must be a power of two, such as 64",
        )
        check(
            self.clip_norm is None or self.clip_norm > 0,
            f"training.clip_norm is {self.clip_norm}; it must be above 0, or none",
        )
        check(
            0 <= self.final_learning_rate_share <= 1,
            f"training.final_learning_rate_share is {self.final_learning_rate_share}; it must lie in [0, 1]",
        )
        check(
            1 <= self.layer_rate_factor < math.inf,
            f"training.layer_rate_factor is {self.layer_rate_factor}; use 1 (all layers alike) or more, such as 2.6",
        )
        check(self.weight_decay >= 0, f"training.weight_decay is {self.weight_decay}; use 0 or more")
        check(
            self.weight_decay == 0 or self.optimizer == "adamw",
            f"training.weight_decay is {self.weight_decay} with optimizer {self.optimizer}; only adamw decays",
        )
        check(
            self.loss_at != "last" or self.order == "shuffled",
            f"training.loss_at is last with training.order {self.order}; it learns from windows that stand alone: "
            "set training.order=shuffled too",
        )


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """How a completion is drawn."""

    temperature: float = 0.7
    """Divides the logits; 0 is greedy."""
    top_k: int | None = None
    """Draws among the k likeliest ids; None among all."""
    top_p: float = 1.0
    """Draws among the likeliest ids that together have this probability."""
    max_new_chars: int = 400
    """Limit of a completion, in characters (code points); no accent or joined emoji is cut off at it."""
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these texts."""
    n: int = 1
    """Completions per prompt."""
    seed: int = 0
    """Seed of the completions: with prompt and index of a completion it starts the generator of its stream."""

    def __post_init__(self) -> None:
        check(self.temperature >= 0, f"sampling.temperature is {self.temperature}; use 0 (greedy) or more")
        check(self.top_k is None or self.top_k >= 1, f"sampling.top_k is {self.top_k}; use 1 or more, or none")
        check(0 < self.top_p <= 1, f"sampling.top_p is {self.top_p}; it must lie in (0, 1]")
        for name in ("max_new_chars", "n"):
            check(getattr(self, name) >= 1, f"sampling.{name} is {getattr(self, name)}; use 1 or more")
        check(0 <= self.seed < 2**63, f"sampling.seed is {self.seed}; it must lie in [0, 2**63)")
        check(all(self.stop), "sampling.stop has an empty text; leave it out")


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """What a sweep tries: hidden sizes by `val_bits_per_character`, then temperatures by divergence."""

    units: tuple[int, ...] = (64, 128, 256)
    """Hidden sizes, one trial each."""
    temperatures: tuple[float, ...] = (0.5, 0.7, 0.85, 1.0)
    """Temperatures tried on the best checkpoints."""
    num_best: int = 1
    """Best checkpoints for which temperatures are tried."""
    num_completions: int = 200
    """Completions per temperature."""
    completion_chars: int = 200
    """Length of each, in characters."""
    max_concurrent_trials: int = 1
    """Trials that train at the same time."""

    def __post_init__(self) -> None:
        for name in ("num_best", "num_completions", "completion_chars", "max_concurrent_trials"):
            check(getattr(self, name) >= 1, f"sweep.{name} is {getattr(self, name)}; use 1 or more")
        check(len(self.units) > 0, "sweep.units is empty; give at least one hidden size, such as [128]")
        check(all(units >= 1 for units in self.units), f"sweep.units is {list(self.units)}; each is 1 or more")
        check(len(self.temperatures) > 0, "sweep.temperatures is empty; give at least one, such as [0.7]")
        check(
            all(temperature >= 0 for temperature in self.temperatures),
            f"sweep.temperatures is {list(self.temperatures)}; each is 0 (greedy) or more",
        )


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that determines a run, whatever hardware it is computed on."""

    preset: str
    """Name of the preset it began as."""
    corpus: CorpusSpec = field(default_factory=CorpusSpec)
    windows: WindowsSpec = field(default_factory=WindowsSpec)
    model: ModelSpec = field(default_factory=ModelSpec)
    classifier: ClassifierSpec = field(default_factory=ClassifierSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    sweep: SweepSpec = field(default_factory=SweepSpec)

    def __post_init__(self) -> None:
        windows = self.windows
        check(
            self.training.order != "stateful" or windows.stride == windows.context_length,
            f"training.order is stateful with windows.stride {windows.stride} and windows.context_length "
            f"{windows.context_length}; the carried state needs them equal: set both, or training.order=shuffled",
        )
        features = self.classifier.features
        check(
            not self.corpus.condition_on or (windows.separator is None and features is None),
            f"corpus.condition_on is {list(self.corpus.condition_on)} with windows.separator {windows.separator!r} and "
            f"classifier.features {features or 'none'}; controls follow END, for a language model: use none in both",
        )
        check(
            (windows.unit == "words") == (features == "bag_of_words"),
            f"windows.unit is {windows.unit} with classifier.features {features or 'none'}; "
            "a bag of words takes words, and everything else characters or bytes: set both",
        )
        check(
            features is None or (self.training.order == "shuffled" and self.training.loss_at == "every"),
            f"training.order is {self.training.order} and training.loss_at {self.training.loss_at} with "
            f"classifier.features {features}; a classifier's documents have no order and one target: "
            "set training.order=shuffled and training.loss_at=every",
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the spec as JSON-ready nested dictionaries."""
        as_dict: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return as_dict

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Builds a spec from `to_dict`'s result; unknown names are errors, missing ones take their defaults."""
        sections = {}
        for name, value in values.items():
            section = field_types(cls).get(name)
            if section is None:
                raise UserError(f"a spec has no section {name!r}; {nearest(name, field_types(cls))}")
            if not dataclasses.is_dataclass(section):
                sections[name] = value
                continue
            known = field_types(section)
            for key in value:
                if key not in known:
                    raise UserError(f"the section {name} has no field {key!r}; {nearest(key, known)}")
            sections[name] = section(  # type: ignore[operator]
                **{key: coerce(item, known[key], f"{name}.{key}") for key, item in value.items()}
            )
        return cls(**sections)


def override(spec: RunSpec, changes: Mapping[str, Any]) -> RunSpec:
    """Returns `spec` with fields replaced; keys read `section.field`, values may be strings of a command line.

    All changes to a section are made at once, since two fields may be valid only together.

    Raises:
        UserError: an unknown name (the message lists the nearest known ones) or a value that does not fit.
    """
    sections = {name: kind for name, kind in field_types(RunSpec).items() if dataclasses.is_dataclass(kind)}
    known = [f"{name}.{key}" for name, kind in sections.items() for key in field_types(kind)]
    by_section: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        if path not in known:
            raise UserError(f"there is no setting {path!r}; {nearest(path, known)}")
        section, key = path.split(".")
        kind = field_types(sections[section])[key]
        by_section.setdefault(section, {})[key] = coerce(value, kind, path)
    replaced = {
        section: dataclasses.replace(getattr(spec, section), **values) for section, values in by_section.items()
    }
    return dataclasses.replace(spec, **replaced)
