"""The search for rates: the runs of a command line, and the table of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import rates
from textgen import presets
from textgen.errors import UserError


def run(bits: float, *, rate: str, seed: int) -> dict[str, Any]:
    settings = {"training.learning_rate": rate, "training.seed": str(seed)}
    return {"settings": settings, "val_bits_per_character": bits, "steps": 7, "cpu_seconds": 10.0 * (seed + 1)}


def test_every_combination_is_listed() -> None:
    tries = rates.parsed(["training.learning_rate=4e-3,8e-3", "windows.stride=9", "training.clip_norm=1,2,3"])
    made = rates.combinations(tries)
    assert len(made) == 6
    assert made[1] == {"training.learning_rate": "4e-3", "windows.stride": "9", "training.clip_norm": "2"}


@pytest.mark.parametrize("words", ["training.learning_rate", "training.learning_rate=", "training.learning_rate=1,"])
def test_invalid_values_are_refused(words: str) -> None:
    with pytest.raises(UserError, match="write it as"):
        rates.parsed([words])


def test_a_run_validates_once_at_its_end() -> None:
    spec = rates.spec_of(presets.demo(), {"training.max_steps": "70", "training.learning_rate": "0.5"})
    assert (spec.training.max_steps, spec.training.learning_rate) == (70, 0.5)
    assert spec.training.validate_every_steps == 70
    assert spec.training.sample_temperatures == ()


def test_the_table_has_means_over_seeds_best_first() -> None:
    runs = [run(2.5, rate="4e-3", seed=0), run(2.1, rate="8e-3", seed=0), run(2.3, rate="8e-3", seed=1)]
    lines = rates.table(runs).splitlines()[2:]
    assert lines == [
        "| 2.200 | 2.100 to 2.300 | 2 | 15 | training.learning_rate=8e-3 |",
        "| 2.500 | 2.500 to 2.500 | 1 | 10 | training.learning_rate=4e-3 |",
    ]


def test_runs_in_the_result_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def trained(spec: Any, settings: dict[str, str], *, windows: str) -> dict[str, Any]:
        asked.append(settings["training.learning_rate"])
        return run(2.0, rate=settings["training.learning_rate"], seed=int(settings["training.seed"]))

    monkeypatch.setattr(rates, "trained", trained)
    result = tmp_path / "rates.json"
    for tries in ("training.learning_rate=1e-3", "training.learning_rate=1e-3,2e-3"):
        assert rates.main(["--windows", "w", "--result", str(result), "--try", tries]) == 0
    assert asked == ["1e-3", "2e-3"]
    assert [one["settings"]["training.learning_rate"] for one in json.loads(result.read_text())["runs"]] == asked
