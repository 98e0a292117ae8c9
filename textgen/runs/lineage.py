"""Where a run's first weights come from, if not from chance: a checkpoint of another run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textgen import storage
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.runs.transfer import known_ids, transferred
from textgen.spec import ModelSpec, RunSpec, override
from textgen.windows.vocabulary import Vocabulary

if TYPE_CHECKING:
    from textgen.model.language_model import LanguageModel

WEIGHTS_NAME = "weights.npz"
CHANGEABLE_MODEL_FIELDS = ("dropout", "dense_dropout")
"""Fields of `ModelSpec` that shape no weight: they say how the weights learn, and so are the new run's own."""
COUNT_FIELDS = ("counts_order", "counts_max_megabytes")
"""Counts belong to one corpus and vocabulary: a new run makes its own, or has none."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The checkpoint that a run is asked to begin from."""

    uri: str
    """A checkpoint, or a run: its best one."""
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the section `model` that were given beside it, by `model.field`: all but dropout must be the
    checkpoint's own."""

    @property
    def absolute_uri(self) -> str:
        """The same, whatever the working directory."""
        return storage.absolute(self.uri)


def source_of(uri: str | None, settings: Mapping[str, Any]) -> Source | None:
    """Returns the source that a command line names, with those of its settings that shape a model; None without one."""
    if uri is None:
        return None
    return Source(uri=uri, model_settings={k: value for k, value in settings.items() if k.startswith("model.")})


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The checkpoint that a run began from: kept in `run.json`, and in every checkpoint of the run as `from`."""

    uri: str
    given_uri: str
    """As it was asked for: a run, say, whose best checkpoint it was then."""
    weights_sha256: str
    run_name: str
    step: int
    manifest_hash: str
    num_known_ids: int
    """Ids whose entries were kept."""
    num_added_ids: int
    """Ids that the checkpoint did not have."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the lineage as a JSON-ready dictionary."""
        return dataclasses.asdict(self)


def lineage_of(source: Source, vocabulary: Vocabulary) -> tuple[Lineage, Checkpoint]:
    """Looks the source up and returns what is kept of it, and the checkpoint itself.

    Raises:
        UserError: there is no such checkpoint, or its vocabulary is of another kind.
    """
    checkpoint = find_checkpoint(source.uri)
    ids = known_ids(checkpoint.vocabulary, vocabulary)
    if checkpoint.spec.model.input == "scaled" and checkpoint.vocabulary != vocabulary:
        raise UserError(
            f"{checkpoint.uri} reads ids as numbers (model.input=scaled), which another vocabulary numbers anew; "
            "begin from a checkpoint with model.input=embedding or one_hot"
        )
    if vocabulary.unit == "words" and checkpoint.vocabulary != vocabulary:
        raise UserError(
            f"{checkpoint.uri} knows words by their ranks, and these windows have other words at them; begin without "
            "--from, or with windows of the same words"
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
    """Returns the spec with the layers of the source's model; dropout, which shapes none, stays the spec's own.

    Raises:
        UserError: a setting asks for other layers.
    """
    asked = override(RunSpec(preset="", model=model), source.model_settings).model
    differing = [
        f"model.{name} is {getattr(asked, name)} and the checkpoint's {getattr(model, name)}"
        for name in model.__dataclass_fields__
        if name not in (*CHANGEABLE_MODEL_FIELDS, *COUNT_FIELDS) and getattr(asked, name) != getattr(model, name)
    ]
    if differing:
        raise UserError(
            f"{'; '.join(differing)}: with --from the layers are those of {source.uri}; leave the setting out"
        )
    own = {name: getattr(spec.model, name) for name in (*CHANGEABLE_MODEL_FIELDS, *COUNT_FIELDS)}
    return dataclasses.replace(spec, model=dataclasses.replace(model, **own))


def first_weights(lineage: Lineage, model: LanguageModel, vocabulary: Vocabulary, *, seed: int) -> dict[str, Any]:
    """Returns the weights that a run begins with: the source's, fitted to the run's vocabulary.

    Raises:
        UserError: the source is gone, or has been written anew since.
    """
    checkpoint = Checkpoint.load(lineage.uri)
    if checkpoint.hashes[WEIGHTS_NAME] != lineage.weights_sha256:
        raise UserError(f"{lineage.uri} has been written anew since this run was begun; begin another --run-name")
    return transferred(
        checkpoint.weights,
        model.get_weights_by_name(),
        ids=known_ids(checkpoint.vocabulary, vocabulary),
        axes=model.vocabulary_axes(),
        seed=seed,
    )
