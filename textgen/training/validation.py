"""Validation on a fixed part of `val`, shared out over the workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from textgen.evaluation.original_text import OriginalSizes
from textgen.evaluation.scoring import CHUNK_IDS, NUM_LANES, Scorer
from textgen.evaluation.tally import Tally
from textgen.model.language_model import LanguageModel
from textgen.model.sliding import SlidingModel
from textgen.training.collective import HostSum
from textgen.windows.batches import Batch, scoring_batches
from textgen.windows.lanes import ScoringLanes, worker_rows
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader


class Validator:
    """Scores the first characters of `val`; each worker takes some of the lanes, and all get the sums."""

    def __init__(
        self, model: LanguageModel | SlidingModel, manifest: Manifest, host_sum: HostSum, *, max_ids: int
    ) -> None:
        self._scorer = Scorer(model, manifest.vocabulary)
        self._lead_ids = model.lead_ids
        self._manifest = manifest
        self._sum = host_sum
        self._rows = worker_rows(NUM_LANES, host_sum.rank, host_sum.num_workers)
        self._num_ids = min(manifest.split("val").num_ids, max_ids)
        self._original = OriginalSizes(manifest, "val", max_ids=max_ids)

    def tally(self) -> Tally | None:
        """Returns the tally of all lanes, the same on every worker; None where `val` is empty."""
        if not self._num_ids:
            return None
        first, last = self._rows
        own = asdict(self._scorer.score(self._own_batches()) if first < last else Tally())  # More workers than lanes.
        sums = self._sum(np.array(list(own.values()))).tolist()
        values = dict(zip(own, sums, strict=True))
        tally = Tally(**{name: value if name == "nats" else int(value) for name, value in values.items()})
        return self._original.counted(tally)

    def _own_batches(self) -> Iterator[Batch]:
        lanes = ScoringLanes(
            num_ids=self._num_ids, context_length=CHUNK_IDS, num_lanes=NUM_LANES, lead_ids=self._lead_ids
        )
        rows = slice(*self._rows)
        reader = IdReader(self._manifest, "val")
        try:
            for batch in scoring_batches(reader, lanes, start_id=self._manifest.vocabulary.start_id):
                yield Batch(
                    step=batch.step,
                    inputs=batch.inputs[rows],
                    targets=batch.targets[rows],
                    weights=batch.weights[rows],
                )
        finally:
            reader.close()
