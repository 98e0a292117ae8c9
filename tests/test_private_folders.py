"""Private folders in the directory for temporary files, which all users of a machine share."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from textgen.errors import UserError
from textgen.local.checkout import Checkout
from textgen.private_folders import made_private, private_folder
from textgen.windows.shards import default_cache_dir


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provides a directory for temporary files that all users share."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TEXTGEN_CACHE_DIR", raising=False)
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_folder_is_created_and_reused(shared: Path) -> None:
    before = os.umask(0)
    try:
        place = private_folder("some")
    finally:
        os.umask(before)
    assert place.parent == shared
    assert mode(place) == 0o700
    (place / "kept").write_text("")
    place.chmod(0o755)
    assert private_folder("some") == place
    assert mode(place) == 0o700
    assert (place / "kept").exists()


def cache() -> Path:
    return default_cache_dir()


def background() -> Path:
    folder = Path(tempfile.gettempdir())
    place = folder / "background"
    Checkout(run_dir=folder / "run", s3_dir=folder / "s3", temp_dir=place).prepare()
    return place


@pytest.mark.parametrize("make", [cache, background])
def test_a_link_or_file_in_its_place_is_an_error(
    shared: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Path]
) -> None:
    place = make()
    place.rmdir()
    (shared / "elsewhere").mkdir()
    place.symlink_to(shared / "elsewhere")
    with pytest.raises(UserError, match="is a link, not a folder; remove it, or set T"):
        make()
    assert not list((shared / "elsewhere").iterdir())
    place.unlink()
    place.write_text("")
    with pytest.raises(UserError, match="is a file, not a folder; remove it, or set T"):
        make()


def test_a_folder_of_another_user_is_an_error(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = made_private(shared / "x", variable="TMPDIR")
    monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    with pytest.raises(UserError, match="belongs to another user; set TMPDIR to a folder that you own"):
        made_private(place, variable="TMPDIR")
