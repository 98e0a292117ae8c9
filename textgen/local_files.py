"""Local files as `storage` uses them: several processes list, write and delete in the same folders at once."""

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
"""How often something is tried that another process undoes, such as a write into a folder that it deletes."""


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
    """Yields a file, or the files below a folder; temporary files of writers are left out."""
    found: Iterable[Path] = [path]
    if path.is_dir():
        found = (Path(folder, name) for folder, names in _walk(path) for name in names)
    return _files(found)


def list_matching(path: Path) -> Iterator[Found]:
    """Yields the files that a glob stands for; `**` at its end stands for all files below.

    Raises:
        ValueError: it is no pattern.
    """
    anchor = Path(path.anchor) if path.is_absolute() else Path.cwd()
    relative = path.relative_to(anchor) if path.is_absolute() else path
    pattern = str(relative / "*" if relative.name == "**" else relative)
    return _files(_again(lambda: list(anchor.glob(pattern))))  # A folder that vanishes ends pathlib's walk.


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Lets `fill` write a temporary file beside `path`, and renames it: `path` is there whole or not at all."""
    _again(lambda: _write(path, fill), folder=path.parent)


def delete(path: Path) -> None:
    """Deletes a file, or a folder with everything below it, if there is any.

    What another process deletes at the same time is deleted; what it writes at the same time may stay.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_pass_over)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def check_folder(path: Path) -> None:
    """Makes sure that files can be written below a folder, which need not be there; leaves nothing behind.

    Raises:
        OSError: they cannot be.
    """
    for place in (path, *path.parents):
        if os.path.lexists(place):
            with tempfile.TemporaryFile(dir=place):
                return


def _again(call: Callable[[], Any], *, folder: Path | None = None) -> Any:
    """Calls again where something vanished amid the call: anything, or what is on the way to `folder` or below it."""
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
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")  # Not longer than `path` may be itself.
    try:
        fill(temporary)
        _flush(temporary)  # Or a power cut may leave the name with nothing behind it.
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pass_over(_: Any, __: str, raised: tuple[type[BaseException], BaseException, TracebackType]) -> None:
    """Lets `rmtree` go on after what another process has done to its folder."""
    # Gone already; written into since it was emptied; or (without a number) made anew since it was listed.
    if getattr(raised[1], "errno", 0) not in (errno.ENOENT, errno.ENOTEMPTY, None):
        raise raised[1]


def _walk(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields every folder below a path and the names of its files, also behind links, each once.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # Deleted meanwhile.
            raise error

    seen = set()
    for folder, folders, names in os.walk(path, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # A link back to where it stands.
            folders.clear()
            continue
        seen.add(real)
        folders.sort()  # Of two names of a folder always the same one is seen first.
        yield folder, names


def _files(paths: Iterable[Path]) -> Iterator[Found]:
    for path in paths:
        try:
            about = path.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            continue  # A link to nothing or to itself, or deleted meanwhile.
        if stat.S_ISREG(about.st_mode) and not _is_temporary(path):
            yield path, about


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")
