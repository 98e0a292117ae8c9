"""A checkpoint of a small, untrained model, for tests of what reads one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textgen.model.checkpoint import Checkpoint
from textgen.presets import preset
from textgen.spec import override
from textgen.windows.conditions import Condition
from textgen.windows.vocabulary import Vocabulary


def write_checkpoint(folder: Path, *, conditions: tuple[Condition, ...] = (), **sampling: Any) -> str:
    """Writes a checkpoint of the run `untrained` with these sampling settings and returns its URI."""
    from textgen.model.language_model import LanguageModel

    changes = {"model.embedding_dim": 5, "model.units": 13, "model.num_layers": 2}
    spec = override(preset("tiny"), {**changes, **{f"sampling.{name}": value for name, value in sampling.items()}})
    vocabulary = Vocabulary(unit="characters", symbols=tuple(map(ord, sorted(" abcehté"))), conditions=conditions)
    model = LanguageModel(spec.model, vocab_size=vocabulary.size, controls=vocabulary.controls, seed=3)
    checkpoint = Checkpoint(
        uri=str(folder),
        spec=spec,
        vocabulary=vocabulary,
        run_name="untrained",
        manifest_uri="",
        manifest_hash="",
        position={"step": 0},
        metrics={},
    )
    return checkpoint.save(weights=model.get_weights_by_name()).uri
