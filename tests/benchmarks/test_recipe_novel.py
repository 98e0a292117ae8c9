"""The novel recipe from end to end, on a few pages and with small layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ingest_helpers import shared_file

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


def test_the_recipe_runs_for_both_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.recipes import novel
    from tests.recipe_helpers import quickly

    pages = Path(shared_file("novels/frankenstein-2.txt")).read_bytes()[:20_000]
    (tmp_path / "data" / "novels").mkdir(parents=True)
    (tmp_path / "data" / novel.NOVEL).write_bytes(pages)
    quickly(
        monkeypatch,
        novel,
        {
            "novel": {
                "model.layer_units": (7, 6, 5),
                "windows.context_length": 10,
                "training.global_batch_size": 32,
                "training.validate_every_steps": 3,
            },
            "novel_best": {
                "model.units": 9,
                "model.embedding_dim": 5,
                "corpus.min_split_documents": 2,
                "training.validate_every_steps": 2,
            },
        },
    )
    monkeypatch.setattr(novel, "NUM_CHARS", 60)
    result = novel.run(tmp_path / "runs", data=tmp_path / "data", scale=0.002, say=lambda _: None)
    figures = {figure.name: figure for figure in result.figures}
    faithful = result.details["faithful"]
    assert list(faithful) == [4, 20]
    assert faithful[4]["run"]["steps"] < faithful[20]["run"]["steps"]
    for name in ("greedy", "drawn"):
        assert len(faithful[20][name]["text"]) == 60
    bits = result.figures[0]
    assert bits.faithful is not None
    assert bits.best is not None
    assert 2 < bits.faithful < 7
    assert 2 < bits.best < 7
    loops = figures["share of 1,000 greedy characters that is a closing loop"]
    assert loops.faithful is not None
    assert 0 <= loops.faithful <= 1
    assert figures["characters of the cleaned text"].faithful == result.details["corpus"]["characters"]
