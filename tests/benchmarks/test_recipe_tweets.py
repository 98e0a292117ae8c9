"""The tweets recipe from end to end, on few tweets and with small layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.ingest_helpers import shared_file

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


def test_the_recipe_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.recipes import tweets
    from tests.recipe_helpers import quickly

    whole = np.load(shared_file("tweets/hebrew_tweets.npy"))
    (tmp_path / "data" / "tweets").mkdir(parents=True)
    np.save(tmp_path / "data" / tweets.TWEETS, whole[:200])
    quickly(
        monkeypatch,
        tweets,
        {
            "tweets": {"model.units": 7},
            "tweets_best": {"model.units": 9, "model.embedding_dim": 5, "training.validate_every_steps": 2},
        },
    )
    result = tweets.run(tmp_path / "runs", data=tmp_path / "data", scale=0.002, say=lambda _: None)
    figures = {figure.name: figure for figure in result.figures}
    bits = result.figures[0]
    assert bits.name.startswith("bits per character, test")
    for value in (bits.faithful, bits.best):
        assert value is not None
        assert 3 < value < 8
    novelty = figures["mean novelty, copied prompt included"]
    assert novelty.published == "0.42"
    assert novelty.faithful is not None
    assert 0 < novelty.faithful < 1
    corpus = result.details["corpus"]
    assert corpus["documents"] + corpus["dropped"] == corpus["records"] == 200
    sizes = [result.details["texts"][name] for name in ("faithful", "best")]
    assert [len(size["prompts"]) for size in sizes] == [10, 10]
    assert all(len(text) <= 100 for size in sizes for text in size["completions"])
    runs = result.details["runs"]
    assert runs["tweets"]["predictions"] == runs["tweets"]["steps"] * 128


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    from benchmarks.recipes import tweets
    from benchmarks.recipes.result import DataAbsentError

    with pytest.raises(DataAbsentError, match=r"hebrew_tweets\.npy"):
        tweets.run(tmp_path, data=tmp_path, scale=1.0, say=print)
