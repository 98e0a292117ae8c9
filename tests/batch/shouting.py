"""Work that needs no model: every row is shouted, as often as it says; and pool and tasks that run in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ingest_helpers import run_serially
from textgen.batch import run, tasks
from textgen.batch.outputs import Lines, Output, Total, beside
from textgen.batch.rows import Row, Values
from textgen.batch.tasks import Work
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint
from textgen.presets import preset
from textgen.windows.vocabulary import Vocabulary


class Shouting:
    """Upper case, `n` times."""

    outputs_name = "shouts"
    done = "shouted"
    texts_left: int | None = None
    """Texts after which it breaks down; None is never."""

    def __init__(self, _: Checkpoint, settings: Mapping[str, Any]) -> None:
        self.mark = settings["mark"]

    def num_outputs(self, values: Values) -> int:
        if not isinstance(values.get("text"), str):
            raise UserError("it has no text")
        return int(values.get("n", 1))

    def outputs(self, rows: Sequence[Row]) -> Iterator[list[Output]]:
        place = 0
        finished: list[Output] = []
        for row in rows:
            if Shouting.texts_left is not None:
                Shouting.texts_left -= 1
                if Shouting.texts_left < 0:
                    raise RuntimeError("hoarse")
            for _ in range(self.num_outputs(row.values)):
                others = {name: value for name, value in row.values.items() if name not in ("text", "n")}
                line = {**beside(row, others, own={"shout"}), "shout": row.values["text"].upper() + self.mark}
                finished.append((place, line))
                place += 1
        yield finished[::-1]

    @staticmethod
    def amounts(lines: Lines) -> dict[str, int]:
        return {"characters": sum(len(line["shout"]) for line in lines)}

    @staticmethod
    def figures(total: Total, *, added: Total, seconds: float) -> dict[str, Any]:  # noqa: ARG004
        return {"texts": total.num_rows, "shouts": total.num_outputs, "added": added.num_outputs}


@pytest.fixture
def shouting(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Shouting]]:
    """Makes `shout` a kind of work, and runs tasks and pool without Ray."""

    def pool(task: Any, items: Any, *, num_workers: int | None, say: Any, **arguments: Any) -> Any:
        return run_serially(task, items, say=say, **arguments)

    monkeypatch.setattr(tasks, "KINDS", {"shout": Shouting})
    monkeypatch.setattr(run, "run_tasks", run_serially)
    monkeypatch.setattr(run, "run_in_pool", pool)
    monkeypatch.setattr(Shouting, "texts_left", None)
    yield Shouting
    tasks._kind.cache_clear()


def shout_checkpoint(folder: Path, *, weight: float = 0.0) -> str:
    """Writes a checkpoint that nothing can be built of."""
    checkpoint = Checkpoint(
        uri=str(folder),
        spec=preset("tiny"),
        vocabulary=Vocabulary(unit="characters", symbols=(97,)),
        run_name="none",
        manifest_uri="",
        manifest_hash="",
        position={"step": 0},
        metrics={},
    )
    return checkpoint.save(weights={"a": np.full(1, weight)}).uri


def shout_work(checkpoint_uri: str, *, mark: str = "!") -> Work:
    """Returns the work."""
    return Work(job="shout", checkpoint_uri=checkpoint_uri, settings={"mark": mark})


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Returns the lines of all shards of a folder, in order."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("part-*.jsonl"))
        for line in path.read_text().removesuffix("\n").split("\n")
    ]
