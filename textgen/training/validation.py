"""Validation on a fixed part of `val`, distributed over the workers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import astuple, fields

import numpy as np

from textgen.evaluation.original_text import OriginalSizes
from textgen.evaluation.scoring import CHUNK_IDS, NUM_LANES, Scorer
from textgen.evaluation.tally import Tally
from textgen.model.language_model import LanguageModel
from textgen.model.sliding import SlidingModel
from textgen.training.collective import HostSum
from textgen.windows.batches import Batch, scoring_batches
from textgen.windows.lanes import ScoringLanes, worker_parts, worker_rows
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader


class Validator:
    """Scores the first characters of `val`; each worker scores some parts of the lanes, and all receive the sums."""

    def __init__(
        self,
        model: LanguageModel | SlidingModel,
        manifest: Manifest,
        host_sum: HostSum,
        *,
        max_ids: int,
        num_parts: int,
    ) -> None:
        self._scorer = Scorer(model, manifest.vocabulary)
        self._lead_ids = model.lead_ids
        self._manifest = manifest
        self._sum = host_sum
        self._num_parts = num_parts
        self._first_part, _ = worker_rows(num_parts, host_sum.rank, host_sum.num_workers)
        self._parts = worker_parts(NUM_LANES, host_sum.rank, host_sum.num_workers, num_parts=num_parts)
        self._num_ids = min(manifest.split("val").num_ids, max_ids)
        self._original = OriginalSizes(manifest, "val", max_ids=max_ids)

    def tally(self) -> Tally | None:
        """Returns the tally of all lanes, the same on every worker; None if `val` is empty."""
        if not self._num_ids:
            return None
        tallies = np.zeros((self._num_parts, len(fields(Tally))))
        for number, part in enumerate(self._parts, self._first_part):
            if part:  # There may be more parts than lanes.
                tallies[number] = astuple(self._scorer.score(self._batches(part)))
        sums = functools.reduce(np.add, self._sum(tallies)).tolist()
        values = dict(zip([field.name for field in fields(Tally)], sums, strict=True))
        tally = Tally(**{name: value if name == "nats" else int(value) for name, value in values.items()})
        return self._original.counted(tally)

    def _batches(self, part: range) -> Iterator[Batch]:
        lanes = ScoringLanes(
            num_ids=self._num_ids, context_length=CHUNK_IDS, num_lanes=NUM_LANES, lead_ids=self._lead_ids
        )
        rows = slice(part.start, part.stop)
        with IdReader(self._manifest, "val") as reader:
            for batch in scoring_batches(reader, lanes, start_id=self._manifest.vocabulary.start_id):
                yield Batch(
                    step=batch.step,
                    inputs=batch.inputs[rows],
                    targets=batch.targets[rows],
                    weights=batch.weights[rows],
                )
