"""The job `classify`: lines in, lines out, a conversation, and what it will not judge."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.classify import main
from tests.written_checkpoint import write_checkpoint, write_classifier
from textgen.errors import UserError

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def checkpoint_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_classifier(tmp_path_factory.mktemp("classifier"))


def labelled(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    main(list(arguments))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def sure(votes: float) -> float:
    """Returns the probability of a label that so many words speak for, at the temperature 2."""
    import math

    return 1 / (1 + math.exp(-2 * votes / 2))


def test_it_prints_a_line_a_text_and_writes_the_same(
    checkpoint_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "Dull, awful film!", "id": 7, "label": "neg"}\n\n')
    texts = ["--text", "a FINE funny film", "--text", "foo bar", "--text", "film film dull fine"]
    rows = labelled(
        capsys, "--checkpoint", checkpoint_uri, *texts, "--file", str(file), "--output", str(tmp_path / "out")
    )
    assert [row["label"] for row in rows] == ["pos", None, None, "neg"]
    assert [row["confidence"] for row in rows] == pytest.approx([sure(2), 0.5, 0.5, sure(2)], abs=1e-5)
    assert [row["reason"] for row in rows] == [
        None,
        "100% of its words are unknown",
        "the confidence 0.50 is below 0.70",
        None,
    ]
    assert [row["unknown_words"] for row in rows] == [["a"], ["foo", "bar"], [], []]
    assert (rows[3]["id"], rows[3]["given_label"]) == (7, "neg")
    assert [json.loads(line) for line in (tmp_path / "out" / "labels.jsonl").read_text().splitlines()] == rows
    assert json.loads((tmp_path / "out" / "result.json").read_text())["texts"] == 4


def test_a_terminal_shows_words_and_an_empty_file_has_no_labels(
    checkpoint_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout.isatty", lambda: True)
        main(["--checkpoint", checkpoint_uri, "--text", "great, funny zyx film", "--text", "film"])
        printed = capsys.readouterr()
        assert "great, funny zyx film" in printed.out
        assert "\n  pos, 88% sure; unknown words: zyx\n\n" in printed.out
        assert "1 of 2 texts have a label" in printed.err
        assert len(labelled(capsys, "--checkpoint", checkpoint_uri, "--text", "film", "--json")) == 1
    (tmp_path / "empty.txt").write_text("")
    flags = ("--checkpoint", checkpoint_uri, "--file", str(tmp_path / "empty.txt"), "--output", str(tmp_path / "out"))
    assert labelled(capsys, *flags) == []
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["texts"], result["labelled"]) == (0, 0)


def test_lines_of_text_and_objects_from_stdin(
    checkpoint_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\ufefffine great film\r\n\nworst, dull\n")
    rows = labelled(capsys, "--checkpoint", checkpoint_uri, "--file", str(file))
    assert [(row["text"], row["label"]) for row in rows] == [("fine great film", "pos"), ("worst, dull", "neg")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "fine great"}\n')))
    assert [row["label"] for row in labelled(capsys, "--checkpoint", checkpoint_uri, "--file", "-")] == ["pos"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "caf\xe9"}\n')))
    with pytest.raises(UserError, match="stdin is not UTF-8; convert it first"):
        main(["--checkpoint", checkpoint_uri, "--file", "-"])


def test_without_texts_it_asks_for_them(
    checkpoint_uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("great, funny zyx film\nfilm\nfoo\n"))
    main(["--checkpoint", checkpoint_uri])
    assert capsys.readouterr().out.splitlines() == [
        "pos, 88% sure; unknown words: zyx",
        "don't know: the confidence 0.50 is below 0.70",
        "don't know: 100% of its words are unknown; unknown words: foo",
    ]


def test_mistakes_are_explained(checkpoint_uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a language model; name the checkpoint of a classifier"):
        main(["--checkpoint", write_checkpoint(tmp_path / "other"), "--text", "a"])
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "fine"}\n{"body": "dull"}\n')
    with pytest.raises(UserError, match=r'line 2 of .*texts\.jsonl is not of the form {"text": "a text"}'):
        main(["--checkpoint", checkpoint_uri, "--file", str(file)])
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"latin\.txt is not UTF-8"):
        main(["--checkpoint", checkpoint_uri, "--file", str(tmp_path / "latin.txt")])
    with pytest.raises(UserError, match="which is not a character"):
        main(["--checkpoint", checkpoint_uri, "--text", "ab\udcff"])
