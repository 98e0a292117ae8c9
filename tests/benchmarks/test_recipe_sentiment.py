"""The sentiment recipe on few tweets and with small layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ingest_helpers import shared_file

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


def test_the_tweets_are_measured_with_several_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.recipes import sentiment
    from tests.recipe_helpers import quickly

    lines = Path(shared_file(sentiment.TWEETS)).read_bytes().split(b"\n")
    source = tmp_path / "tweets.csv"
    source.write_bytes(b"\n".join([*lines[:250], *lines[-251:]]))  # Sorted by label.
    small = {"classifier.hidden_units": (8, 6), "training.max_steps": 30, "training.validate_every_steps": 15}
    quickly(monkeypatch, sentiment, {"sentiment_tweets": small})
    measured = sentiment._tweets(tmp_path / "runs", source, num_seeds=2, say=lambda _: None)
    figures = sentiment._figures_of_tweets(measured)
    assert [figure.better for figure in figures] == ["higher", "lower"]
    assert "mean of 2 seeds" in figures[0].name
    accuracies = [seed["last"]["accuracy"] for seed in measured]
    assert figures[0].faithful == pytest.approx(sum(accuracies) / 2)
    assert all(0.3 < accuracy < 0.95 for accuracy in accuracies)
    assert measured[0]["last"]["step"] == 30
    again = sentiment._tweets(tmp_path / "runs", source, num_seeds=2, say=lambda _: None)
    assert again == measured


def test_without_tweets_only_the_reviews_are_measured(tmp_path: Path) -> None:
    from benchmarks.recipes import sentiment

    said: list[str] = []
    assert sentiment._tweets(tmp_path, tmp_path / "none.csv", num_seeds=2, say=said.append) == []
    assert sentiment._figures_of_tweets([]) == []
    assert said == [f"data absent: {tmp_path / 'none.csv'}"]
