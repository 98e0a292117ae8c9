"""Reads and writes `s3://` and local URIs; all of S3 goes through here.

Any S3 endpoint works through the usual `AWS_*` variables (`AWS_ENDPOINT_URL` for one that is not Amazon's).
A write appears whole or not at all: locally by a rename, on S3 when its last part is there.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from textgen import local_files, s3_client, s3_objects
from textgen.errors import MissingError, UnavailableError, UserError
from textgen.s3_objects import READ_BLOCK_BYTES

GLOB = "*?["
"""Characters that make a pattern of a name."""


REFUSALS = {
    (errno.ENOENT,): "does not exist; check the name",
    (errno.EISDIR,): "is a folder, not a file; give the name of a file in it",
    (errno.ENOTDIR, errno.EEXIST): "stands in a file, not in a folder; give another name",
    (errno.EACCES, errno.EPERM): "may not be read or written by this user; check its permissions",
    (errno.EROFS,): "lies on a disk that can only be read; give a place that can be written",
    (errno.ENAMETOOLONG,): "has a name that is too long for this disk (255 bytes at most); give a shorter one",
    (errno.ELOOP,): "is a link that leads back to itself; give another name",
}
"""What a user is told of a file that the system refuses."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One object or local file."""

    uri: str
    size_bytes: int
    version: str
    """Differs where the content does: S3's tag, or when a local file was last changed."""


def is_s3(uri: str) -> bool:
    """Says whether `uri` names something on S3."""
    return uri.startswith("s3://")


def join(uri: str, *names: str) -> str:
    """Joins names to a URI with single slashes; empty names add nothing."""
    return "/".join([uri.rstrip("/"), *filter(None, (name.strip("/") for name in names))])


def absolute(uri: str) -> str:
    """Returns `uri` in the form that means the same from every working directory."""
    return uri.rstrip("/") if is_s3(uri) else str(_path(uri).absolute())


def read_bytes(uri: str) -> bytes:
    """Returns the whole content of a file."""
    with open_read(uri) as stream:
        return stream.read()


def read_if_exists(uri: str) -> bytes | None:
    """Returns the whole content of a file, None where there is none: one request, and nothing can happen between."""
    try:
        return read_bytes(uri)
    except MissingError:
        return None


@contextlib.contextmanager
def open_read(uri: str) -> Iterator[IO[bytes]]:
    """Opens a file as a stream of bytes; nothing is held beyond a buffer."""
    with _explained(uri):  # Covers the opening alone: what the caller raises is the caller's.
        stream: Any
        if is_s3(uri):
            bucket, key = _split(uri)
            stream = s3_objects.ObjectStream(uri, bucket=bucket, key=key)
        else:
            stream = open(_path(uri), "rb")  # noqa: SIM115 (closed below, as the other)
    with contextlib.closing(stream):
        yield stream


@contextlib.contextmanager
def open_range(uri: str, *, start: int, stop: int) -> Iterator[IO[bytes]]:
    """Opens the bytes of a file at [start, stop), not empty, as a stream; on S3 that is one request."""
    with _explained(uri):
        stream: Any
        if is_s3(uri):
            bucket, key = _split(uri)
            stream = s3_objects.ObjectStream(uri, bucket=bucket, key=key, start=start, stop=stop)
        else:
            stream = local_files.FileRange(_path(uri), start=start, stop=stop)
    with contextlib.closing(io.BufferedReader(stream, buffer_size=READ_BLOCK_BYTES // 16)) as buffered:
        yield buffered


@contextlib.contextmanager
def open_seekable(uri: str) -> Iterator[IO[bytes]]:
    """Opens a file for reading at any position; on S3 each read is a request for that range alone."""
    if not is_s3(uri):
        with open_read(uri) as stream:
            yield stream
        return
    with _explained(uri):
        bucket, key = _split(uri)
        ranges = s3_objects.ObjectRanges(uri, bucket=bucket, key=key)
    with contextlib.closing(io.BufferedReader(ranges, buffer_size=READ_BLOCK_BYTES // 16)) as buffered:
        yield buffered


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with _explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            s3_objects.send(content, bucket=bucket, key=key)
        else:
            local_files.write(_path(uri), lambda temporary: temporary.write_bytes(content))


def upload(path: Path, uri: str) -> None:
    """Copies a local file to `uri`, whole or not at all."""
    with _explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            s3_objects.send(path, bucket=bucket, key=key)
        else:
            local_files.write(_path(uri), lambda temporary: shutil.copyfile(path, temporary))


def download(uri: str, path: Path) -> None:
    """Copies the file at `uri` to a local path, whole or not at all, block by block."""

    def fill(temporary: Path) -> None:
        with open_read(uri) as source, open(temporary, "wb") as sink:
            while block := source.read(READ_BLOCK_BYTES):
                sink.write(block)

    with _explained(str(path)):
        local_files.write(path, fill)


def exists(uri: str) -> bool:
    """Says whether a file stands at exactly `uri`."""
    with _explained(uri):
        if not is_s3(uri):
            return _path(uri).is_file()
        bucket, key = _split(uri)
        return s3_objects.exists(bucket=bucket, key=key)


def list_files(uri: str) -> list[File]:
    """Returns the files at `uri`, a file, a folder or a prefix, or below it, in the order of their URIs.

    None where there are none. No character of `uri` means anything else than itself.
    """
    with _explained(uri):
        files = _list_s3(uri, is_glob=False) if is_s3(uri) else _local(local_files.list_below(_path(uri)))
    return sorted(files, key=lambda file: file.uri)


def list_matching(pattern: str) -> list[File]:
    """Returns the files that a glob stands for, in the order of their URIs; none where there are none.

    `*`, `?` and `[...]` stand for what is within one name, `**` for any number of folders, and at the end for all
    files below them.

    Raises:
        UserError: it is no pattern.
    """
    with _explained(pattern):
        files = _list_s3(pattern, is_glob=True) if is_s3(pattern) else _match_local(pattern)
    return sorted(files, key=lambda file: file.uri)


def delete(uri: str) -> None:
    """Deletes the file at `uri` and everything below it, if there is any; several may delete the same at once."""
    with _explained(uri):
        if not is_s3(uri):
            local_files.delete(_path(uri))
            return
        bucket, _ = _split(uri)
        s3_objects.delete([_split(file.uri)[1] for file in _list_s3(uri, is_glob=False)], bucket=bucket)


def check_writable(uri: str) -> None:
    """Makes sure that files can be written below a folder or prefix; leaves nothing behind.

    Raises:
        UserError: they cannot be.
    """
    with _explained(uri):
        if not is_s3(uri):
            local_files.check_folder(_path(uri))
            return
        bucket, key = _split(uri)
        s3_objects.check_writable(bucket=bucket, key=key)


def end_unfinished_uploads(uri: str) -> int:
    """Ends the uploads below a prefix that have not ended for a day, because who made them was killed.

    Returns how many; none on a local disk, where a server does not know uploads, or does not let this user end them.
    """
    if not is_s3(uri):
        return 0
    with _explained(uri):
        bucket, key = _split(uri)
        return s3_objects.end_unfinished(bucket=bucket, prefix=key.rstrip("/") + "/" if key else "")


def _local(found: Iterable[local_files.Found]) -> list[File]:
    return [
        File(uri=str(path.absolute()), size_bytes=about.st_size, version=str(about.st_mtime_ns))
        for path, about in found
    ]


def _match_local(pattern: str) -> list[File]:
    try:
        return _local(local_files.list_matching(_path(pattern)))
    except ValueError:
        raise UserError(f"{pattern} is no pattern; `**` stands alone between slashes, as in 'data/**/*.txt'") from None


def _list_s3(uri: str, *, is_glob: bool) -> list[File]:
    bucket, key = _split(uri)
    if is_glob and not any(character in key for character in GLOB):
        raise UserError(f"{uri!r} has a pattern in the bucket's name; name one bucket")
    prefix = key
    if is_glob:
        prefix = key[: min(key.find(character) for character in GLOB if character in key)]
    pages = s3_client.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    files = []
    for page in pages:
        for item in page.get("Contents", []):
            name = item["Key"]
            if is_glob:
                matches = _matches(name.split("/"), key.split("/"))
            else:  # A prefix ends where a name ends: `a/b` does not mean `a/bc`.
                matches = not key or name == key or name.startswith(key.rstrip("/") + "/")
            if matches and not name.endswith("/"):
                files.append(File(uri=f"s3://{bucket}/{name}", size_bytes=item["Size"], version=item.get("ETag", "")))
    return files


def _matches(names: list[str], patterns: list[str]) -> bool:
    """Matches the names of a path with those of a glob, as `pathlib` does: `*` stays within one name."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_matches(names[start:], patterns[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(f"{uri!r} names no bucket; write it as s3://bucket/path")
    s3_client.lead_to(bucket)
    return bucket, key


def _path(uri: str) -> Path:
    if "://" in uri and not uri.startswith("file://"):
        raise UserError(f"{uri!r} is of a kind that cannot be read; use s3://bucket/path or a local path")
    return Path(uri.removeprefix("file://")).expanduser()


@contextlib.contextmanager
def disk_full_as_user_error(place: str = "") -> Iterator[None]:
    """Turns the lack of space, wherever it was met, into an `UnavailableError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = place or error.filename or f"temporary files ({tempfile.gettempdir()})"
        raise UnavailableError(
            f"no space is left on the disk for {place}; free some, then give the same command again"
        ) from None


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turns what a user can mend (names, credentials, connections, a full disk) into a `UserError`."""
    try:
        with disk_full_as_user_error("" if is_s3(uri) else uri):
            yield
    except UserError:
        raise
    except Exception as error:
        if is_s3(uri):
            raise s3_client.error_of(error, uri) from error
        number = error.errno if isinstance(error, OSError) else None
        words = next((words for numbers, words in REFUSALS.items() if number in numbers), None)
        if words is None:
            raise
        kind = MissingError if number == errno.ENOENT else UserError
        raise kind(f"{uri} {words}") from None
