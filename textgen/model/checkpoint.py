"""A checkpoint: a self-describing folder or prefix, sufficient to resume training or to generate.

    weights.npz       arrays by layer and name
    training.npz      optimizer, recurrent state of every lane (absent if the checkpoint is for inference only)
    checkpoint.json   spec, vocabulary, position, metrics, lineage
    COMPLETE          hashes of the other files, written last: without it the checkpoint does not exist

A run's folder holds `checkpoints/step-XXXXXXXX/` and `best.json`, which names the best checkpoint.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from textgen import storage
from textgen.counts.store import find_table
from textgen.errors import MissingError, UserError
from textgen.spec import RunSpec
from textgen.windows.vocabulary import Vocabulary
from textgen.windows.word_vocabulary import vocabulary_from_dict

if TYPE_CHECKING:
    from textgen.model.language_model import LanguageModel

Arrays = Mapping[str, np.ndarray[Any, Any]]
MARKER_NAME = "COMPLETE"
BEST_NAME = "best.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The metadata of a checkpoint; its arrays are read on access."""

    uri: str
    spec: RunSpec
    vocabulary: Vocabulary
    run_name: str
    manifest_uri: str
    manifest_hash: str
    """Hash of the manifest that it was trained on."""
    position: Mapping[str, Any]
    """`step` (completed), `epoch`, and the other values needed to resume."""
    metrics: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    """A classifier's labels in the order of its outputs; empty for a language model."""
    lineage: Mapping[str, Any] | None = None
    """The checkpoint of another run that its run started from: `uri`, `weights_sha256` and more; `from` in the file."""
    counts: Mapping[str, Any] | None = None
    """Identifies the model's count table (`counts.store.CountsRecord`); None for a model without counts."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """sha256 of each file."""

    @property
    def step(self) -> int:
        """Completed steps."""
        return int(self.position["step"])

    @functools.cached_property
    def weights(self) -> Arrays:
        """The model's weights by layer and name."""
        return self._arrays("weights.npz")

    @property
    def training_arrays(self) -> Arrays:
        """Optimizer and recurrent state, for resuming."""
        return self._arrays("training.npz")

    def build_model(self, *, counts_alone: bool = False) -> LanguageModel:
        """Returns the language model with these weights.

        Args:
            counts_alone: True silences the layers of a model that reads counts: what the count model says alone.

        Raises:
            UserError: the checkpoint is a classifier's, or the counts that it reads are gone.
        """
        from textgen.model.counted_model import language_model  # Loads TensorFlow.

        if self.classes:
            raise UserError(
                f"{self.uri} is a classifier; give it to jobs.classify, or name the checkpoint of a language model"
            )

        vocabulary = self.vocabulary
        table = find_table(self.counts, self.run_folders, wanted_by=self.uri) if self.counts is not None else None
        model = language_model(self.spec.model, vocab_size=vocabulary.size, controls=vocabulary.controls, counts=table)
        is_silent = "counts/", "logits/"
        weights = {
            name: np.zeros_like(value) if counts_alone and name.startswith(is_silent) else value
            for name, value in self.weights.items()
        }
        model.set_weights_by_name(weights)
        return model

    @property
    def run_folders(self) -> list[str]:
        """Folders that may hold what the run's checkpoints share: this one's own, and the run's."""
        return [self.uri, self.uri.rsplit("/", 2)[0]]

    def save(self, *, weights: Arrays, training_arrays: Arrays | None = None) -> Checkpoint:
        """Writes the checkpoint to its `uri`, the marker last; returns it as `load` would."""
        files = {"weights.npz": _npz(weights), "checkpoint.json": self._json()}
        if training_arrays is not None:
            files["training.npz"] = _npz(training_arrays)
        storage.delete(storage.join(self.uri, MARKER_NAME))  # Left by an older checkpoint at the same URI.
        for name, content in files.items():
            storage.write_bytes(storage.join(self.uri, name), content)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        storage.write_bytes(storage.join(self.uri, MARKER_NAME), json.dumps(hashes).encode())
        # Not read back: workers of another, lost driver may delete it as soon as it exists.
        return dataclasses.replace(self, uri=storage.absolute(self.uri), hashes=hashes)

    @classmethod
    def load(cls, uri: str) -> Checkpoint:
        """Reads the checkpoint at exactly `uri`.

        Raises:
            UserError: the checkpoint does not exist, is incomplete, or its marker or metadata are damaged.
        """
        folder = storage.absolute(uri)
        marker = storage.join(folder, MARKER_NAME)
        text = storage.read_if_exists(marker)
        if text is None:
            raise MissingError(
                f"{folder} is not a complete checkpoint (the file {MARKER_NAME} is missing); name another"
            )
        try:
            hashes = dict(json.loads(text))
        except (TypeError, ValueError):
            raise UserError(f"{marker} differs from what was written; use another checkpoint") from None
        content = json.loads(_checked(folder, "checkpoint.json", hashes))
        if content["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"{folder} has format version {content['format_version']}; this release reads version {FORMAT_VERSION}"
            )
        return cls(
            uri=folder,
            spec=RunSpec.from_dict(content["spec"]),
            vocabulary=vocabulary_from_dict(content["vocabulary"]),
            run_name=content["run_name"],
            manifest_uri=content["manifest_uri"],
            manifest_hash=content["manifest_hash"],
            position=content["position"],
            metrics=content["metrics"],
            classes=tuple(content.get("classes", ())),
            lineage=content.get("from"),
            counts=content.get("counts"),
            hashes=hashes,
        )

    def verify(self) -> None:
        """Checks every file against its hash.

        Raises:
            UserError: a file differs from what was written.
        """
        for name in self.hashes:
            _checked(self.uri, name, self.hashes)

    def _json(self) -> bytes:
        content = {
            "format_version": FORMAT_VERSION,
            "run_name": self.run_name,
            "position": dict(self.position),
            "metrics": dict(self.metrics),
            "classes": list(self.classes),
            "manifest_uri": self.manifest_uri,
            "manifest_hash": self.manifest_hash,
            "from": dict(self.lineage) if self.lineage is not None else None,
            "spec": self.spec.to_dict(),
            "vocabulary": self.vocabulary.to_dict(),
        }
        if self.counts is not None:
            content["counts"] = dict(self.counts)
        return json.dumps(content, ensure_ascii=False, indent=1).encode()

    def _arrays(self, name: str) -> Arrays:
        if name not in self.hashes:
            raise UserError(f"{self.uri} has no {name}; name a checkpoint written by a training run")
        with np.load(io.BytesIO(_checked(self.uri, name, self.hashes)), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}


def weights_hash(weights: Arrays) -> str:
    """Returns the SHA-256 of weights: names, types, shapes and bits. (A file's hash also depends on timestamps.)"""
    hashed = hashlib.sha256()
    for name, value in sorted(weights.items()):
        hashed.update(json.dumps([name, value.dtype.str, value.shape]).encode())
        hashed.update(np.ascontiguousarray(value).tobytes())
    return hashed.hexdigest()


def checkpoint_uri(run_uri: str, step: int) -> str:
    """Returns the URI of a run's checkpoint after `step` steps."""
    return storage.join(run_uri, "checkpoints", f"step-{step:08d}")


def checkpoint_uris(run_uri: str) -> list[str]:
    """Returns the URIs of a run's complete checkpoints, oldest first."""
    return [uri for uri, names in _folders(run_uri).items() if MARKER_NAME in names]


def unfinished_uris(run_uri: str) -> list[str]:
    """Returns the URIs of checkpoints that were never completed or have lost their marker, oldest first."""
    return [uri for uri, names in _folders(run_uri).items() if MARKER_NAME not in names]


def step_of(uri: str) -> int:
    """Returns the number of completed steps in a checkpoint's URI."""
    return int(uri.rsplit("-", 1)[-1])


def _folders(run_uri: str) -> dict[str, set[str]]:
    """Returns the folders of a run that `checkpoint_uri` names, with the file names in each; ignores other folders."""
    place = storage.join(storage.absolute(run_uri), "checkpoints")
    found: dict[str, set[str]] = {}
    for file in storage.list_files(place):
        folder, _, name = file.uri.rpartition("/")
        if folder.rpartition("/")[0] == place and re.fullmatch(r"step-\d{8,}", folder.rpartition("/")[2]):
            found.setdefault(folder, set()).add(name)
    return dict(sorted(found.items(), key=lambda item: step_of(item[0])))


def latest_checkpoint(run_uri: str) -> Checkpoint | None:
    """Returns the newest checkpoint of a run, or None."""
    uris = checkpoint_uris(run_uri)
    return Checkpoint.load(uris[-1]) if uris else None


def best_checkpoint(run_uri: str) -> Checkpoint | None:
    """Returns the checkpoint that `best.json` names, or None without that file."""
    lost = None
    while (pointer := storage.read_if_exists(storage.join(run_uri, BEST_NAME))) is not None:
        uri = storage.join(run_uri, "checkpoints", json.loads(pointer)["checkpoint"])
        try:
            return Checkpoint.load(uri)
        except MissingError:
            if uri == lost:
                raise
            lost = uri  # A running training may have deleted this one after naming a better one.
    return None


def find_checkpoint(uri: str) -> Checkpoint:
    """Returns the checkpoint at `uri`, or the best (otherwise the newest) checkpoint of the run at `uri`.

    Raises:
        UserError: neither exists.
    """
    folder = storage.absolute(uri)
    if storage.exists(storage.join(folder, MARKER_NAME)):
        return Checkpoint.load(folder)
    found = best_checkpoint(folder) or latest_checkpoint(folder)
    if found is None:
        raise UserError(
            f"{folder} is neither a checkpoint nor a run with one; use the checkpoint_uri that jobs.train printed"
        )
    return found


def _npz(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _checked(folder: str, name: str, hashes: Mapping[str, str]) -> bytes:
    content = storage.read_bytes(storage.join(folder, name))
    if hashlib.sha256(content).hexdigest() != hashes.get(name):
        raise UserError(f"{storage.join(folder, name)} differs from what was written; use another checkpoint")
    return content
