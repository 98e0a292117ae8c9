"""The checkpoint of another run that a run's first weights come from, if they are not random."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textgen import storage
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.runs.transfer import known_ids, transferred
from textgen.spec import ModelSpec, RunSpec, override_section
from textgen.windows.vocabulary import Vocabulary

if TYPE_CHECKING:
    from textgen.model.language_model import LanguageModel

WEIGHTS_NAME = "weights.npz"
CHANGEABLE_MODEL_FIELDS = ("dropout", "dense_dropout")
"""Fields of `ModelSpec` that determine no weight's shape, only how the weights learn: the new run sets its own."""
COUNT_FIELDS = ("counts_order", "counts_words", "counts_max_megabytes")
"""Counts belong to one corpus and vocabulary: a new run builds its own, or has none."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The checkpoint that a run is to start from."""

    uri: str
    """A checkpoint, or a run, which stands for its best checkpoint."""
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the section `model` that were given with it, by `model.field`; all except dropout must equal the
    checkpoint's."""

    @property
    def absolute_uri(self) -> str:
        """The URI, independent of the working directory."""
        return storage.absolute(self.uri)


def source_of(uri: str | None, settings: Mapping[str, Any]) -> Source | None:
    """Returns the source that a command line names, with the given settings of the model; None if it names none."""
    if uri is None:
        return None
    return Source(uri=uri, model_settings={k: value for k, value in settings.items() if k.startswith("model.")})


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The checkpoint that a run started from; stored in `run.json`, and in every checkpoint of the run as `from`."""

    uri: str
    given_uri: str
    """The URI as given, for example of a run, whose best checkpoint at that time is `uri`."""
    weights_sha256: str
    run_name: str
    step: int
    manifest_hash: str
    num_known_ids: int
    """Ids whose entries in the weights were kept."""
    num_added_ids: int
    """Ids that the checkpoint did not have."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the lineage as a JSON-ready dictionary."""
        return dataclasses.asdict(self)


def lineage_of(source: Source, vocabulary: Vocabulary) -> tuple[Lineage, Checkpoint]:
    """Returns the lineage of a run that starts from `source`, and the source's checkpoint.

    Raises:
        UserError: there is no such checkpoint, or its vocabulary is of another kind.
    """
    checkpoint = find_checkpoint(source.uri)
    ids = known_ids(checkpoint.vocabulary, vocabulary)
    if checkpoint.spec.model.input == "scaled" and checkpoint.vocabulary != vocabulary:
        raise UserError(
            f"{checkpoint.uri} reads ids as numbers (model.input=scaled), which differ between vocabularies; "
            "start from a checkpoint with model.input=embedding or one_hot"
        )
    if vocabulary.unit == "words" and checkpoint.vocabulary != vocabulary:
        raise UserError(
            f"{checkpoint.uri} identifies words by their rank, and these windows rank other words; leave out --from, "
            "or use windows with the same words"
        )
    lineage = Lineage(
        uri=checkpoint.uri,
        given_uri=source.absolute_uri,
        weights_sha256=checkpoint.hashes[WEIGHTS_NAME],
        run_name=checkpoint.run_name,
        step=checkpoint.step,
        manifest_hash=checkpoint.manifest_hash,
        num_known_ids=len(ids.new),
        num_added_ids=ids.num_added,
    )
    return lineage, checkpoint


def with_model(spec: RunSpec, model: ModelSpec, source: Source) -> RunSpec:
    """Returns the spec with the layers of the source's model; dropout, which shapes no weights, stays the spec's own.

    Raises:
        UserError: a setting requires other layers.
    """
    given = override_section("model", model, {k.removeprefix("model."): v for k, v in source.model_settings.items()})
    differing = [
        f"model.{name} is {getattr(given, name)} but the checkpoint has {getattr(model, name)}"
        for name in model.__dataclass_fields__
        if name not in (*CHANGEABLE_MODEL_FIELDS, *COUNT_FIELDS) and getattr(given, name) != getattr(model, name)
    ]
    if differing:
        raise UserError(
            f"{'; '.join(differing)}; with --from, the layers are those of {source.uri}: leave the setting out"
        )
    own = {name: getattr(spec.model, name) for name in (*CHANGEABLE_MODEL_FIELDS, *COUNT_FIELDS)}
    return dataclasses.replace(spec, model=dataclasses.replace(model, **own))


def first_weights(lineage: Lineage, model: LanguageModel, vocabulary: Vocabulary, *, seed: int) -> dict[str, Any]:
    """Returns the weights that a run starts with: the source's, fitted to the run's vocabulary.

    Raises:
        UserError: the source no longer exists, or was overwritten.
    """
    checkpoint = Checkpoint.load(lineage.uri)
    if checkpoint.hashes[WEIGHTS_NAME] != lineage.weights_sha256:
        raise UserError(f"{lineage.uri} was overwritten after this run was started; start another --run-name")
    return transferred(
        checkpoint.weights,
        model.get_weights_by_name(),
        ids=known_ids(checkpoint.vocabulary, vocabulary),
        axes=model.vocabulary_axes(),
        seed=seed,
    )
