from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.generate import main
from tests.written_checkpoint import write_checkpoint
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint
from textgen.spec import override
from textgen.windows.conditions import Condition

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def checkpoint_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), max_new_chars=9)


def generated(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Runs the job and returns its lines and what it said on stderr."""
    main(list(arguments))
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_it_prints_a_line_a_completion_and_writes_the_same(
    checkpoint_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "cab"}\n')
    settings = ["--set", "sampling.n=2", "--set", "sampling.seed=3", "--set", "sampling.temperature=0.5"]
    prompts = ["--prompt", "a", "--prompt", "The Xa", "--prompts", str(file)]
    rows, said = generated(
        capsys, "--checkpoint", checkpoint_uri, *prompts, *settings, "--output", str(tmp_path / "out")
    )
    assert [(row["prompt"], row["index"]) for row in rows] == [
        (prompt, index) for prompt in ("a", "The Xa", "cab") for index in (0, 1)
    ]
    assert {(row["temperature"], row["seed"]) for row in rows} == {(0.5, 3)}
    assert all(len(row["completion"]) == 9 or row["finish_reason"] == "end" for row in rows)
    # The checkpoint's corpus is in lower case, and so the prompt is read.
    assert [row.get("unknown_characters") for row in rows] == [None, None, ["x"], ["x"], None, None]
    assert said.count("never saw 'x' of the prompt 'The Xa'") == 1
    assert [json.loads(line) for line in (tmp_path / "out/completions.jsonl").read_text().splitlines()] == rows
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert (result["completions"], result["checkpoint_uri"]) == (6, checkpoint_uri)
    assert result["characters"] == sum(len(row["completion"]) for row in rows)


def test_an_empty_file_of_prompts_gives_no_completions(
    checkpoint_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("empty.txt", ""), ("blank.jsonl", "\n \n")):
        (tmp_path / name).write_text(content)
        prompts = ["--prompts", str(tmp_path / name)]
        rows, said = generated(capsys, "--checkpoint", checkpoint_uri, *prompts, "--output", str(tmp_path / "out"))
        assert rows == []
        assert f"{name} holds no prompt" in said
        assert "0 completions of 0 prompts" in said
        assert (tmp_path / "out" / "completions.jsonl").read_bytes() == b""
        assert json.loads((tmp_path / "out" / "result.json").read_text())["completions"] == 0
    rows, said = generated(capsys, "--checkpoint", checkpoint_uri, *prompts, "--prompt", "a")
    assert [row["prompt"] for row in rows] == ["a"]
    assert "1 completion of 1 prompt, " in said


def test_common_settings_are_flags(checkpoint_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--checkpoint", checkpoint_uri, "--prompt", "ab"]
    flags = [
        "--temperature",
        "0.5",
        "--max-new-chars",
        "7",
        "--n",
        "2",
        "--seed",
        "4",
        "--top-p",
        "0.9",
        "--top-k",
        "5",
    ]
    names = ("temperature=0.5", "max_new_chars=7", "n=2", "seed=4", "top_p=0.9", "top_k=5")
    settings = [word for name in names for word in ("--set", f"sampling.{name}")]
    by_flags, _ = generated(capsys, *common, *flags)
    by_settings, _ = generated(capsys, *common, *settings)
    assert by_flags == by_settings
    assert {(row["temperature"], row["seed"], len(row["completion"]) <= 7) for row in by_flags} == {(0.5, 4, True)}
    with pytest.raises(UserError, match=r"sampling\.n is 3 by --set and 2 by the flag"):
        main([*common, *flags, "--set", "sampling.n=3"])
    with pytest.raises(UserError, match=r"'temp'; did you mean sampling\.temperature\? Type --set sampling\."):
        main([*common, "--set", "temp=1"])


def test_a_terminal_shows_text_and_a_file_has_the_same(
    checkpoint_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--checkpoint", checkpoint_uri, "--prompt", "ab", "--n", "2", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(arguments)
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in (tmp_path / "completions.jsonl").read_text().splitlines()]
    assert [block.endswith(row["completion"]) for block, row in zip(printed.out.split("\n\n"), rows, strict=False)] == [
        True,
        True,
    ]
    assert f"next: python -m jobs.serve --checkpoint {checkpoint_uri}" in printed.err.splitlines()
    as_json, _ = generated(capsys, *arguments, "--json")
    assert as_json == rows


def test_a_seed_gives_the_same_text_again(checkpoint_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--checkpoint", checkpoint_uri, "--set", "sampling.max_new_chars=60", "--set", "sampling.seed=8"]
    (alone,), _ = generated(capsys, *arguments, "--prompt", "ab")
    _, beside, _ = generated(capsys, *arguments, "--prompt", "c", "--prompt", "ab", "--prompt", "")[0]
    assert beside == alone
    assert generated(capsys, *arguments)[0][0]["prompt"] == ""


def test_what_is_told_is_printed_and_changes_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stars = Condition(column="label", values=("1", "5"))
    uri = write_checkpoint(tmp_path / "told", conditions=(stars,), max_new_chars=40)
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a", "condition": {"stars": 5}}\n{"prompt": "a"}\n')
    arguments = ["--checkpoint", uri, "--prompts", str(file)]
    rows, _ = generated(capsys, *arguments)
    assert [row.get("condition") for row in rows] == [{"stars": 5}, None]
    asked, _ = generated(capsys, "--checkpoint", uri, "--prompt", "a", "--condition", "label=5")
    assert asked[0]["condition"] == {"label": "5"}
    assert asked[0]["completion"] == rows[0]["completion"] != rows[1]["completion"]
    with pytest.raises(UserError, match=r"label='3' does not occur in train; the values are 1, 5, or none"):
        main(["--checkpoint", uri, "--condition", "stars=3"])
    leaning, _ = generated(capsys, "--checkpoint", uri, "--prompt", "a", "--condition", "label=5", "--guidance", "90")
    assert leaning[0]["completion"] != asked[0]["completion"]


def test_a_held_unit_changes_the_text(checkpoint_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--checkpoint", checkpoint_uri, "--set", "sampling.max_new_chars=60"]
    free, _ = generated(capsys, *arguments)
    held, _ = generated(capsys, *arguments, "--unit", "3=+9", "--unit", "2:12=-9")
    assert held[0]["completion"] != free[0]["completion"]
    with pytest.raises(UserError, match=r"names 1:13, but layer 1 has units 0 to 12"):
        main([*arguments, "--unit", "13=1"])
    with pytest.raises(UserError, match=r"received '3:1'; write unit=value"):
        main([*arguments, "--unit", "3:1"])
    written = Checkpoint.load(checkpoint_uri)
    last = override(written.spec, {"training.order": "shuffled", "training.loss_at": "last"})
    uri = dataclasses.replace(written, uri=str(tmp_path), spec=last).save(weights=written.weights).uri
    with pytest.raises(UserError, match=r"no unit can be held"):
        main(["--checkpoint", uri, "--unit", "3=1"])


def test_only_sampling_can_change(checkpoint_uri: str) -> None:
    with pytest.raises(UserError, match=r"sampling\.\*"):
        main(["--checkpoint", checkpoint_uri, "--set", "model.units=3"])
    with pytest.raises(UserError, match="neither a checkpoint nor a run"):
        main(["--checkpoint", checkpoint_uri + "/none"])
