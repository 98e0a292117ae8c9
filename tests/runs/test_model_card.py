"""The card of a finished run: data, figures, lineage, limits and ethics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.model.checkpoint import Checkpoint, checkpoint_uri
from textgen.runs import model_card
from textgen.runs.lineage import Source
from textgen.runs.model_card import CARD_NAME, write_model_card
from textgen.runs.start import Start, start_run

TEXTS = ["write to ann@mail.example", "or @bob, or http://a.example", "@carl"] * 9
OUTCOME = {"step": 12, "epoch": 1.5, "stopped_early": False}


def finished(tmp_path: Path, *, source: Source | None = None, **changes: Any) -> Start:
    """Returns a run with one checkpoint of made-up weights."""
    spec = tiny_spec(**changes)
    manifest = written_manifest(
        str(tmp_path / "windows"),
        {"train": TEXTS, "test": TEXTS[:4]},
        unit=spec.windows.unit,
        separator=spec.windows.separator,
        spec=spec,
        labels={"train": ["pos", "neg", "pos"] * 9, "test": ["neg"] * 4},
    )
    start = start_run(
        spec, manifest_uri=manifest.uri, output=str(tmp_path), run_name="run", source=source, acknowledge=True
    )
    saved_at(checkpoint_uri(start.run.run_uri, 12), start)
    return start


def saved_at(uri: str, start: Start) -> Checkpoint:
    return Checkpoint(
        uri=uri,
        spec=start.run.spec,
        vocabulary=start.manifest.vocabulary,
        run_name="run",
        manifest_uri=start.manifest.uri,
        manifest_hash=start.manifest.hash,
        position={"step": 12},
        metrics={"loss": 1.25, "val_loss": None},
    ).save(weights={"logits/bias": np.zeros(1234)})


def card_of(start: Start, tmp_path: Path) -> str:
    write_model_card(start, OUTCOME)
    return (tmp_path / "run" / CARD_NAME).read_text()


def test_the_card_shows_what_the_run_stores(tmp_path: Path) -> None:
    start = finished(tmp_path)
    card = card_of(start, tmp_path)
    assert card.startswith("# Model card: run\n")
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == [
        "Data", "Figures", "Lineage", "Limits", "ETHICS", "Settings",
    ]  # fmt: skip
    assert "1,234 weights" in card
    assert start.manifest.hash in card
    assert "| train | 27 |" in card
    assert "| loss | 1.2500 |" in card
    assert "val_loss" not in card
    assert "12 steps, 1.50 epochs." in card
    assert "Its first weights were random" in card
    assert "`model.units` = `6`" in card
    assert "made in a test" in card


def test_personal_data_is_counted_and_never_shown(tmp_path: Path) -> None:
    card = card_of(finished(tmp_path), tmp_path)
    assert "9 e-mail addresses, 0 phone numbers, 18 @handles, 9 URLs" in card
    assert not any(found in card for found in ("ann", "bob", "carl", "a.example"))


def test_statements_depend_on_the_preset_and_the_splits(tmp_path: Path) -> None:
    held_out = card_of(finished(tmp_path), tmp_path)
    assert "was chosen by the training loss, because no text was held out as `val`" in held_out
    assert "only `jobs.evaluate` on `test` measures it" in held_out
    assert "reads all characters that its training texts lack as the same one" in held_out
    (tmp_path / "joined").mkdir()
    joined = card_of(finished(tmp_path / "joined", windows__separator=" "), tmp_path / "joined")
    assert "It refuses prompts with a character that its training texts lack." in joined
    (tmp_path / "words").mkdir()
    changes = {"windows__unit": "words", "classifier__features": "bag_of_words", "training__order": "shuffled"}
    words = card_of(finished(tmp_path / "words", **changes), tmp_path / "words")
    assert "Not searched: the windows keep words" in words
    assert "windows of" not in words.partition("## Limits")[2].partition("## ETHICS")[0]


def test_only_a_part_of_a_large_corpus_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_card, "MAX_SCANNED_IDS", 50)
    card = card_of(finished(tmp_path), tmp_path)
    assert "the first 50 of 549 ids of `train`: 1 e-mail addresses, 0 phone numbers, 1 @handles, 1 URLs." in card


@pytest.mark.parametrize("single_author", [False, True])
def test_consent_is_what_was_acknowledged(tmp_path: Path, single_author: bool) -> None:
    card = card_of(finished(tmp_path, corpus__single_author=single_author), tmp_path)
    assert ("**one person's**" in card) == single_author
    assert ("no acknowledgement was required" in card) == (not single_author)


def test_lineage_names_the_checkpoint_that_the_run_started_from(tmp_path: Path) -> None:
    source = saved_at(str(tmp_path / "source"), finished(tmp_path))
    (tmp_path / "second").mkdir()
    start = finished(tmp_path / "second", source=Source(uri=source.uri))
    card = card_of(start, tmp_path / "second")
    assert source.uri in card
    assert source.hashes["weights.npz"] in card


def test_a_card_is_written_once_for_each_end_of_a_run(tmp_path: Path) -> None:
    start = finished(tmp_path)
    place = tmp_path / "run" / CARD_NAME
    card_of(start, tmp_path)
    place.write_text("by hand")
    (tmp_path / "run" / "outcome.json").write_text('{"step": 600}')
    again = start_run(start.run.spec, manifest_uri=start.manifest.uri, output=str(tmp_path), run_name="run")
    assert card_of(again, tmp_path) == "by hand"
    assert card_of(start, tmp_path) != "by hand"
