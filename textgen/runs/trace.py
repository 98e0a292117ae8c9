"""Shows what a training step learnt from: the windows of its rows, and the documents that these were cut from."""

from __future__ import annotations

import bisect
import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textgen import storage
from textgen.errors import UserError
from textgen.model.checkpoint import find_checkpoint
from textgen.runs.plan import TrainingPlan
from textgen.runs.start import RUN_NAME
from textgen.spec import RunSpec
from textgen.windows.lanes import MASKED
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The spec and the windows that a run, or a checkpoint, was trained with."""

    uri: str
    spec: RunSpec
    manifest_uri: str
    manifest_hash: str


def trained_at(uri: str) -> Trained:
    """Returns the spec and windows of the checkpoint at `uri`, or of the run, which may have no checkpoint yet.

    Raises:
        UserError: there is neither.
    """
    folder = storage.absolute(uri)
    content = storage.read_if_exists(storage.join(folder, RUN_NAME))
    if content is not None:
        run = json.loads(content)
        names = {name: run[name] for name in ("manifest_uri", "manifest_hash")}
        return Trained(uri=folder, spec=RunSpec.from_dict(run["spec"]), **names)
    checkpoint = find_checkpoint(folder)
    return Trained(
        uri=checkpoint.uri,
        spec=checkpoint.spec,
        manifest_uri=checkpoint.manifest_uri,
        manifest_hash=checkpoint.manifest_hash,
    )


def trace(trained: Trained, manifest: Manifest, *, step: int, row: int | None) -> list[dict[str, Any]]:
    """Returns what the rows of the global batch at a step consist of, JSON-ready; omits rows whose lane has ended.

    Args:
        trained: the run, whose spec determines the layout of windows.
        manifest: the windows that it was trained on.
        step: counted from 0; may lie beyond what was trained.
        row: a row of the global batch; None traces all.

    Raises:
        UserError: there is no such step or row, or the windows are not the run's.
    """
    spec = trained.spec
    if trained.manifest_hash != manifest.hash:
        raise UserError(f"{trained.uri} was trained on other windows than {manifest.uri}; give those as --windows")
    if step < 0:
        raise UserError(f"--step is {step}; the first step is 0")
    plan = TrainingPlan.of(spec, manifest)
    rows = range(plan.lanes.global_batch_size) if row is None else [row]
    if row is not None and not 0 <= row < plan.lanes.global_batch_size:
        raise UserError(f"--row is {row}; the global batch has rows 0 to {plan.lanes.global_batch_size - 1}")
    found = _Documents(manifest)
    traced = []
    for number in rows:
        window = plan.lanes.window(step, number)
        if window == MASKED:
            continue
        if plan.documents is not None:
            documents = [found.of_number(int(plan.documents.places[window]))]
            traced.append({"row": number, "documents": documents})
            continue
        first = window * spec.windows.stride
        stop = first + spec.windows.context_length + 1
        traced.append(
            {
                "row": number,
                "window": window,
                "first_id": first,
                "text": found.text(first, stop),
                "documents": found.of_ids(first, stop),
            }
        )
    return traced


class _Documents:
    """The documents of `train` by their number or their ids; shards are read when they are needed."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._shards = manifest.split("train").shards
        self._first_ids = [0, *itertools.accumulate(shard.num_ids for shard in self._shards)]
        self._first_documents = [0, *itertools.accumulate(shard.num_documents for shard in self._shards)]
        self._read: dict[int, tuple[Sequence[dict[str, Any]], np.ndarray[Any, np.dtype[np.int64]]]] = {}

    def text(self, first: int, stop: int) -> str:
        """Returns the text of ids [first, stop), with a line break for END and without conditions."""
        vocabulary = self._manifest.vocabulary
        with IdReader(self._manifest, "train") as reader:
            ids = reader.read(first, stop)
        pieces = np.split(ids, np.flatnonzero(ids == vocabulary.end_id))
        return "\n".join(map(vocabulary.decode, pieces))

    def of_number(self, number: int) -> dict[str, Any]:
        """Returns a document by its number in the split."""
        shard = bisect.bisect_right(self._first_documents, number) - 1
        return self._of_shard(shard)[0][number - self._first_documents[shard]]

    def of_ids(self, first: int, stop: int) -> list[dict[str, Any]]:
        """Returns the documents that hold any of the ids [first, stop)."""
        found: list[dict[str, Any]] = []
        shard = bisect.bisect_right(self._first_ids, first) - 1
        while shard < len(self._shards) and self._first_ids[shard] < stop:
            documents, ends = self._of_shard(shard)
            begin = self._first_ids[shard]
            first_place, last_place = np.searchsorted(ends, [first - begin, stop - 1 - begin], side="right").tolist()
            found += documents[first_place : last_place + 1]
            shard += 1
        return found

    def _of_shard(self, shard: int) -> tuple[Sequence[dict[str, Any]], np.ndarray[Any, np.dtype[np.int64]]]:
        """Returns a shard's documents, and the cumulative number of ids at the end of each."""
        if shard not in self._read:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "shard.parquet"
                storage.download(storage.join(self._manifest.uri, self._shards[shard].name), path)
                table = pq.read_table(path)
            lengths = pc.binary_length(table["ids"]).to_numpy() // self._manifest.vocabulary.id_dtype.itemsize
            documents = table.select(["document_id", "label", "category"]).to_pylist()
            self._read[shard] = documents, np.cumsum(lengths, dtype=np.int64)
        return self._read[shard]
