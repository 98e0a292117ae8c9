"""Several processes in one local folder: deleting while others list, write or delete there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen import storage
from textgen.errors import MissingError, UserError

CALLS = ("scandir", "lstat", "open", "mkdir", "unlink", "rmdir", "replace", "stat")


@contextlib.contextmanager
def disturbed(number: int, act: Callable[[], object]) -> Iterator[list[str]]:
    """Acts before the system call of the given number, like another process; yields the calls."""
    seen: list[str] = []

    def before(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def made(*arguments: object, **named: object) -> object:
            seen.append(name)
            if len(seen) == number + 1:
                act()
            return call(*arguments, **named)

        return made

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, before(name, getattr(os, name)))
        yield seen


def written(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@given(
    names=st.lists(st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h", "f/g/i", "j/k"]), unique=True),
    number=st.integers(0, 40),
    part=st.sampled_from(["", "c", "f/g", "a", "j"]),
)
def test_files_that_another_process_deletes_meanwhile_are_deleted(names: list[str], number: int, part: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "run")
        written(folder, [*names, "c/always"])
        other = folder / part

        def delete_too() -> None:
            shutil.rmtree(other) if other.is_dir() else other.unlink(missing_ok=True)

        with disturbed(number, delete_too):
            storage.delete(str(folder))
        assert not folder.exists()


@pytest.mark.parametrize("number", range(12))
def test_files_written_while_a_folder_is_deleted_may_remain(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "run"
    written(folder, ["a", "c/d"])
    with disturbed(number, lambda: written(folder, ["c/new"])):
        storage.delete(str(folder))
    assert not (folder / "a").exists()
    assert not (folder / "c/d").exists()


@given(number=st.integers(0, 30), levels=st.integers(0, 3))
def test_a_write_succeeds_although_its_folder_is_deleted_meanwhile(number: int, levels: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        place = Path(home, "run", *"abc"[:levels], "file")
        written(place.parent, ["before"])
        with disturbed(number, lambda: shutil.rmtree(Path(home, "run"), ignore_errors=True)) as seen:
            storage.write_bytes(str(place), b"content")
        if number < seen.index("replace"):
            assert place.read_bytes() == b"content"
        assert not list(Path(home).rglob("*.tmp"))


@pytest.mark.parametrize("number", range(20))
@pytest.mark.parametrize("lister", [storage.list_files, lambda uri: storage.list_matching(f"{uri}/**/*.txt")])
def test_files_that_vanish_during_a_listing_are_not_listed(
    tmp_path: Path, number: int, lister: Callable[[str], list[storage.File]]
) -> None:
    written(tmp_path, ["a.txt", "b/c.txt", "b/d/e.txt", "f/g.txt"])
    with disturbed(number, lambda: shutil.rmtree(tmp_path / "b", ignore_errors=True)):
        listed = {Path(file.uri).relative_to(tmp_path).as_posix() for file in lister(str(tmp_path))}
    assert {"a.txt", "f/g.txt"} <= listed <= {"a.txt", "b/c.txt", "b/d/e.txt", "f/g.txt"}


@pytest.mark.parametrize("number", range(6))
def test_a_file_that_vanishes_before_it_is_read_is_missing(tmp_path: Path, number: int) -> None:
    place = tmp_path / "STOP"
    place.write_bytes(b"driver")
    with disturbed(number, lambda: place.unlink(missing_ok=True)):
        assert storage.read_if_exists(str(place)) in (b"driver", None)
    assert storage.read_if_exists(str(tmp_path / "never")) is None
    with pytest.raises(MissingError, match="does not exist; check the name"):
        storage.read_bytes(str(tmp_path / "never"))


def test_a_link_is_deleted_and_not_its_target(tmp_path: Path) -> None:
    written(tmp_path, ["there/a"])
    (tmp_path / "link").symlink_to(tmp_path / "there")
    storage.delete(str(tmp_path / "link"))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there/a").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n" * 256, "has a name that is too long"),
        ("loop/x", "is a link that leads back|part of it is a file, not a folder"),
    ],
)
def test_a_name_that_the_disk_rejects_is_an_error(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for call in (storage.read_bytes, lambda uri: storage.write_bytes(uri, b"")):
        with pytest.raises(UserError, match=expected):
            call(str(tmp_path / name))


def test_a_name_of_255_bytes_is_written(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / ("n" * 255)), b"content")
    assert storage.read_bytes(str(tmp_path / ("n" * 255))) == b"content"


def test_checking_a_folder_leaves_it_unchanged(tmp_path: Path) -> None:
    storage.check_writable(str(tmp_path / "not/yet"))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/below"):
        with pytest.raises(UserError, match="part of it is a file, not a folder"):
            storage.check_writable(str(tmp_path / name))


def test_a_read_only_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match="is on a read-only disk"):
        storage.check_writable(str(tmp_path / "runs"))
