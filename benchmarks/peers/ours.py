"""Our training step on random windows, as a single worker or, with TF_CONFIG, as one of several."""

from __future__ import annotations

import argparse
import json
import os

import numpy as np

from benchmarks.peers.protocol import answer
from textgen import presets
from textgen.spec import override
from textgen.training.threads import share_threads
from textgen.windows.batches import Batch


def main() -> None:
    """Builds the step that the flags describe and runs it as often as requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", dest="settings", metavar="SECTION.FIELD=VALUE", action="append", default=[])
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    spec = override(presets.preset("reviews_best"), dict(setting.split("=", 1) for setting in arguments.settings))
    share_threads(arguments.threads, spec.training)
    from textgen.model.language_model import LanguageModel
    from textgen.training.collective import Alone, Workers
    from textgen.training.step import TrainingStep, parts_of

    workers = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker", [])
    collective = Workers() if len(workers) > 1 else Alone()
    parts = parts_of(spec.training, collective)
    shape = (parts[-1].stop - parts[0].start, spec.windows.context_length)
    model = LanguageModel(
        spec.model, vocab_size=arguments.vocab_size, seed=0, mixed_precision=bool(spec.training.mixed_precision)
    )
    step = TrainingStep(model, spec.training, collective, parts=parts)
    ids = np.random.default_rng(collective.rank).integers(0, arguments.vocab_size, (*shape, 2), np.int32)
    weights = np.ones(shape, np.float32)
    number = 0

    def make() -> float:
        nonlocal number
        batch = Batch(step=number, inputs=ids[..., 0], targets=ids[..., 1], weights=weights)
        step(batch, learning_rate=1e-3)
        number += 1
        return float(weights.sum()) if spec.training.loss_at == "every" else float(shape[0])

    answer(make)


if __name__ == "__main__":
    main()
