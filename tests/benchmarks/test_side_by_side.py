"""Contenders are measured in turn, and one that exits is reported."""

from __future__ import annotations

import json

import pytest

from benchmarks.environment import ROOT
from benchmarks.side_by_side import SPEED, Contender, Measured, cores, measure

SGEMM = ("benchmarks.peers.sgemm",)


def test_contenders_take_turns_and_each_round_starts_with_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    contenders = [Contender(name=name, command=SGEMM) for name in "ab"]
    measured = measure(contenders, rounds=3, seconds=0.05)
    turns = [line.split(": ")[:2] for line in capsys.readouterr().err.splitlines()]
    assert [name for _, name in turns] == ["a", "b", "b", "a", "a", "b"]
    for name in "ab":
        assert len(measured[name].rates) == 3
        assert min(measured[name].rates) > 1e6


def test_the_documents_show_the_measured_tables() -> None:
    document = (ROOT / "docs" / "benchmarks.md").read_text()
    results = {path.stem: json.loads(path.read_text()) for path in SPEED.glob("*.json")}
    assert results.keys() == {"ingest", "ingest_growth", "scaling", "starting", "training"}
    for name, result in results.items():
        for table in "\n".join(result["table"]).split("\n\n"):
            assert f"\n\n{table}\n\n" in document, name
        for what in ("command", "date", "commit"):
            assert result[what] in document, name


def test_processes_of_one_contender_work_together() -> None:
    if len(cores()) < 2:
        pytest.skip("needs two cores")
    one, two = (Contender(name=str(n), command=SGEMM, num_processes=n) for n in (1, 2))
    measured = measure([one, two], rounds=1, seconds=0.05)
    assert measured["2"].median > 0


def test_a_contender_that_exits_is_reported() -> None:
    with pytest.raises(SystemExit, match=r"(?s)the following arguments are required.*this contender exited"):
        measure([Contender(name="x", command=("benchmarks.peers.ours",))], rounds=1, seconds=0.01)


def test_too_many_cores_are_refused() -> None:
    many = Contender(name="many", command=SGEMM, num_threads=len(cores()) + 1)
    with pytest.raises(SystemExit, match="many needs more cores than the"):
        measure([many], rounds=1, seconds=0.01)


def test_figures_are_a_median_with_its_range() -> None:
    assert Measured(name="x", rates=(3e6, 1e6, 2e6)).words(1e6) == "2 (1 to 3)"
