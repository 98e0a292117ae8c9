"""Names and places for what a job writes: what cannot be written is told before the work begins."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen import storage
from textgen.errors import UserError
from textgen.outputs import check_name, check_output

FAULTY_NAMES = {
    "": "is empty",
    "  ": "is empty",
    ".": "stands for another folder",
    "..": "stands for another folder",
    "a/b": "has a slash",
    "../a": "has a slash",
    "a\\b": "has a slash",
    "a\nb": "has a character that cannot be shown",
    "\x00": "has a character that cannot be shown",
    "a\u2028": "has a character that cannot be shown",
    os.fsdecode(b"\xff"): "has a character that cannot be shown",
    "é" * 128: "is longer than 255 bytes",
}


@pytest.mark.parametrize(("name", "expected"), FAULTY_NAMES.items(), ids=[repr(name) for name in FAULTY_NAMES])
def test_a_name_that_is_no_folder_of_its_own_is_refused(name: str, expected: str) -> None:
    with pytest.raises(UserError, match=f"^--run-name is .*{expected}; use one name such as ") as told:
        check_name(name, flag="--run-name")
    assert str(told.value).isprintable()


@given(st.text(max_size=300))
def test_a_name_that_is_taken_is_one_folder_below_another(name: str) -> None:
    try:
        check_name(name, flag="--run-name")
    except UserError:
        return
    assert Path("runs", name).parent == Path("runs")
    assert 0 < len(name.encode()) <= 255
    assert len(name.splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", "is empty"),
        ("s3://textgen/a//b", "is empty"),
        ("s3://textgen/a/../b", "stands for another folder"),
        ("a\nb", "has a character that cannot be shown"),
        (f"runs/{'n' * 256}/x", "is longer than 255 bytes"),
        ("s3://textgen/" + "/".join(["n" * 200] * 5), "longer than the 924 bytes"),
        ("s3:///x", "names no bucket"),
        ("https://example.com/x", "of a kind that cannot be read"),
    ],
)
def test_an_output_that_is_none_is_refused(output: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        check_output(output)


def test_an_output_need_not_be_there_and_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for output in (str(tmp_path / "a/b"), "runs/first", ".", "../x", "/", "~/runs", f"file://{tmp_path}/c"):
        check_output(output)
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_a_file_is_refused(tmp_path: Path, s3_server: str) -> None:
    for root in (str(tmp_path), storage.join(s3_server, secrets.token_hex(4))):
        storage.write_bytes(storage.join(root, "file"), b"kept")
        with pytest.raises(UserError, match="a file; give a folder or prefix"):
            check_output(storage.join(root, "file"))
        assert storage.read_bytes(storage.join(root, "file")) == b"kept"
    with pytest.raises(UserError, match="stands in a file"):
        check_output(str(tmp_path / "file" / "below"))


def test_a_prefix_that_can_be_written_stays_empty(s3_server: str) -> None:
    place = storage.join(s3_server, secrets.token_hex(4), "a")
    check_output(place)
    assert storage.list_files(place) == []
    with pytest.raises(UserError, match="there is no bucket 'never-made'"):
        check_output("s3://never-made/x")
