"""Names and locations of a job's output: invalid ones are errors before the work starts."""

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
    ".": "refers to another folder",
    "..": "refers to another folder",
    "a/b": "has a slash",
    "../a": "has a slash",
    "a\\b": "has a slash",
    "a\nb": "contains a character that cannot be displayed",
    "\x00": "contains a character that cannot be displayed",
    "a\u2028": "contains a character that cannot be displayed",
    os.fsdecode(b"\xff"): "contains a character that cannot be displayed",
    "é" * 128: "is longer than 255 bytes",
}


@pytest.mark.parametrize(("name", "expected"), FAULTY_NAMES.items(), ids=[repr(name) for name in FAULTY_NAMES])
def test_an_invalid_name_of_a_folder_is_an_error(name: str, expected: str) -> None:
    with pytest.raises(UserError, match=f"^--run-name is .*{expected}; use one name such as ") as told:
        check_name(name, flag="--run-name")
    assert str(told.value).isprintable()


@given(st.text(max_size=300))
def test_a_valid_name_gives_one_folder_below_another(name: str) -> None:
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
        ("s3://textgen/a/../b", "refers to another folder"),
        ("a\nb", "contains a character that cannot be displayed"),
        (f"runs/{'n' * 256}/x", "is longer than 255 bytes"),
        ("s3://textgen/" + "/".join(["n" * 200] * 5), "exceeds the limit of 924 bytes"),
        ("s3:///x", "has no bucket"),
        ("https://example.com/x", "has an unsupported scheme"),
    ],
)
def test_an_invalid_output_is_an_error(output: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        check_output(output)


def test_an_output_need_not_exist_and_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for output in (str(tmp_path / "a/b"), "runs/first", ".", "../x", "/", "~/runs", f"file://{tmp_path}/c"):
        check_output(output)
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_a_file_is_an_error(tmp_path: Path, s3_server: str) -> None:
    for root in (str(tmp_path), storage.join(s3_server, secrets.token_hex(4))):
        storage.write_bytes(storage.join(root, "file"), b"kept")
        with pytest.raises(UserError, match="a file; give a folder or prefix"):
            check_output(storage.join(root, "file"))
        assert storage.read_bytes(storage.join(root, "file")) == b"kept"
    with pytest.raises(UserError, match="part of it is a file, not a folder"):
        check_output(str(tmp_path / "file" / "below"))


def test_checking_a_prefix_leaves_it_empty(s3_server: str) -> None:
    place = storage.join(s3_server, secrets.token_hex(4), "a")
    check_output(place)
    assert storage.list_files(place) == []
    with pytest.raises(UserError, match="there is no bucket 'never-made'"):
        check_output("s3://never-made/x")
