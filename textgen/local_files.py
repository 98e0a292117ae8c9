"""Local files for `storage`, safe when several processes list, write and delete in the same folders."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

Found = tuple[Path, os.stat_result]
NUM_TRIES = 10
"""Attempts at an operation that another process can disturb, such as a write to a folder that it deletes."""


class FileRange(io.RawIOBase):
    """The bytes of a file at [start, stop)."""

    def __init__(self, path: Path, *, start: int, stop: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._file.seek(start)
        self._left = stop - start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


def list_below(path: Path) -> Iterator[Found]:
    """Yields a file, or all files below a folder, except temporary files of writers."""
    found: Iterable[Path] = [path]
    if path.is_dir():
        found = (Path(folder, name) for folder, names in _walk(path) for name in names)
    return _files(found)


def list_matching(path: Path) -> Iterator[Found]:
    """Yields the files that match a glob; a trailing `**` matches all files below.

    Raises:
        ValueError: The pattern is invalid.
    """
    anchor = Path(path.anchor) if path.is_absolute() else Path.cwd()
    relative = path.relative_to(anchor) if path.is_absolute() else path
    pattern = str(relative / "*" if relative.name == "**" else relative)
    return _files(_again(lambda: list(anchor.glob(pattern))))  # A vanishing folder aborts pathlib's walk.


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Writes `path` atomically: `fill` writes a temporary file beside it, which is then renamed."""
    _again(lambda: _write(path, fill), folder=path.parent)


def delete(path: Path) -> None:
    """Deletes a file, or a folder with everything below it, if it exists.

    Other processes may delete the same files at the same time. Files that they write meanwhile may remain.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_ignore_concurrent_changes)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def check_folder(path: Path) -> None:
    """Checks that files can be written below a folder, which need not exist; leaves nothing behind.

    Raises:
        OSError: Files cannot be written.
    """
    for place in (path, *path.parents):
        if os.path.lexists(place):
            with tempfile.TemporaryFile(dir=place):
                return


def _again(call: Callable[[], Any], *, folder: Path | None = None) -> Any:
    """Retries a call if a file disappears during it: any file, or only `folder`, its parents and files below it."""
    for _ in range(NUM_TRIES - 1):
        try:
            return call()
        except (FileNotFoundError, FileExistsError) as error:
            missing = Path(str(error.filename))
            if folder is not None and not (missing.is_relative_to(folder) or folder.is_relative_to(missing)):
                raise
            if isinstance(error, FileExistsError) and os.path.lexists(missing):
                raise
    return call()


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")  # Short enough for any valid `path`.
    try:
        fill(temporary)
        _flush(temporary)  # Otherwise a power failure may leave an empty file under the final name.
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _flush(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ignore_concurrent_changes(
    _: Any, __: str, raised: tuple[type[BaseException], BaseException, TracebackType]
) -> None:
    """Lets `rmtree` continue after another process has changed the folder."""
    # Already deleted; written to after it was emptied; or (without an errno) recreated after it was listed.
    if getattr(raised[1], "errno", 0) not in (errno.ENOENT, errno.ENOTEMPTY, None):
        raise raised[1]


def _walk(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields every folder below a path with the names of its files, following links, each folder once.

    Raises:
        OSError: A folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # Deleted by another process.
            raise error

    seen = set()
    for folder, folders, names in os.walk(path, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # Reached before through another link.
            folders.clear()
            continue
        seen.add(real)
        folders.sort()  # If a folder has two names, the same one is always visited first.
        yield folder, names


def _files(paths: Iterable[Path]) -> Iterator[Found]:
    for path in paths:
        try:
            about = path.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            continue  # A broken or circular link, or deleted by another process.
        if stat.S_ISREG(about.st_mode) and not _is_temporary(path):
            yield path, about


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")
