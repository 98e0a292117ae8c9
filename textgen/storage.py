"""Reads and writes local files and `s3://` URIs. All access to S3 goes through this module.

Any S3 endpoint can be used through the standard `AWS_*` variables (`AWS_ENDPOINT_URL` for servers other than Amazon's).
Writes are atomic: local files are renamed into place, and objects on S3 appear when their last part is complete.
"""

from __future__ import annotations

import contextlib
import errno
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

GLOB = s3_objects.GLOB

REFUSALS = {
    (errno.ENOENT,): "does not exist; check the name",
    (errno.EISDIR,): "is a folder, not a file; give the name of a file in it",
    (errno.ENOTDIR, errno.EEXIST): "is not a valid path because part of it is a file, not a folder; give another name",
    (errno.EACCES, errno.EPERM): "cannot be read or written by this user; check its permissions",
    (errno.EROFS,): "is on a read-only disk; give a location that can be written",
    (errno.ENAMETOOLONG,): "has a name that is too long for this disk (255 bytes at most); give a shorter one",
    (errno.ELOOP,): "is a link that leads back to itself; give another name",
}
"""Messages for errors of the operating system."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One object or local file."""

    uri: str
    size_bytes: int
    version: str
    """Changes when the content changes: S3's ETag, or the modification time of a local file."""


def is_s3(uri: str) -> bool:
    """Returns whether `uri` is on S3."""
    return uri.startswith("s3://")


def join(uri: str, *names: str) -> str:
    """Joins names to a URI with single slashes; empty names add nothing."""
    return "/".join([uri.rstrip("/"), *filter(None, (name.strip("/") for name in names))])


def absolute(uri: str) -> str:
    """Returns `uri` in a form that does not depend on the working directory."""
    return uri.rstrip("/") if is_s3(uri) else str(_path(uri).absolute())


def read_bytes(uri: str) -> bytes:
    """Returns the whole content of a file."""
    with open_read(uri) as stream:
        return stream.read()


def read_if_exists(uri: str) -> bytes | None:
    """Returns the whole content of a file, or None if it does not exist, in one atomic request."""
    try:
        return read_bytes(uri)
    except MissingError:
        return None


@contextlib.contextmanager
def open_read(uri: str) -> Iterator[IO[bytes]]:
    """Opens a file as a stream of bytes, which holds no more than a buffer in memory."""
    with _errors_explained(uri):  # Covers only opening the file, not errors that the caller raises.
        stream: Any
        if is_s3(uri):
            bucket, key = _split(uri)
            stream = s3_objects.ObjectStream(uri, bucket=bucket, key=key)
        else:
            stream = open(_path(uri), "rb")  # noqa: SIM115 (closed below)
    with contextlib.closing(stream):
        yield stream


@contextlib.contextmanager
def open_range(uri: str, *, start: int, stop: int) -> Iterator[IO[bytes]]:
    """Opens the bytes of a file at [start, stop), which must not be empty, as a stream; on S3 this is one request."""
    with _errors_explained(uri):
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
    """Opens a file for reading at any position; on S3, each read is one request for its range."""
    if not is_s3(uri):
        with open_read(uri) as stream:
            yield stream
        return
    with _errors_explained(uri):
        bucket, key = _split(uri)
        ranges = s3_objects.ObjectRanges(uri, bucket=bucket, key=key)
    with contextlib.closing(io.BufferedReader(ranges, buffer_size=READ_BLOCK_BYTES // 16)) as buffered:
        yield buffered


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a file atomically."""
    with _errors_explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            s3_objects.send(content, bucket=bucket, key=key)
        else:
            local_files.write(_path(uri), lambda temporary: temporary.write_bytes(content))


def upload(path: Path, uri: str) -> None:
    """Copies a local file to `uri`, atomically."""
    with _errors_explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            s3_objects.send(path, bucket=bucket, key=key)
        else:
            local_files.write(_path(uri), lambda temporary: shutil.copyfile(path, temporary))


def download(uri: str, path: Path) -> None:
    """Copies the file at `uri` to a local path, atomically and block by block."""

    def fill(temporary: Path) -> None:
        with open_read(uri) as source, open(temporary, "wb") as sink:
            while block := source.read(READ_BLOCK_BYTES):
                sink.write(block)

    with _errors_explained(str(path)):
        local_files.write(path, fill)


def exists(uri: str) -> bool:
    """Returns whether there is a file at exactly `uri`."""
    with _errors_explained(uri):
        if not is_s3(uri):
            return _path(uri).is_file()
        bucket, key = _split(uri)
        return s3_objects.exists(bucket=bucket, key=key)


def list_files(uri: str) -> list[File]:
    """Returns the file at `uri`, or the files below it if it is a folder or prefix, sorted by URI.

    The list may be empty. All characters of `uri` are literal.
    """
    with _errors_explained(uri):
        files = _list_s3(uri, is_glob=False) if is_s3(uri) else _local(local_files.list_below(_path(uri)))
    return sorted(files, key=lambda file: file.uri)


def list_matching(pattern: str) -> list[File]:
    """Returns the files that match a glob, sorted by URI; the list may be empty.

    `*`, `?` and `[...]` match within one name. `**` matches any number of folders, and all files below at the end of a
    pattern.

    Raises:
        UserError: The pattern is invalid.
    """
    with _errors_explained(pattern):
        files = _list_s3(pattern, is_glob=True) if is_s3(pattern) else _match_local(pattern)
    return sorted(files, key=lambda file: file.uri)


def delete(uri: str) -> None:
    """Deletes the file at `uri` and everything below it, if it exists. Several processes may do so at the same time."""
    with _errors_explained(uri):
        if not is_s3(uri):
            local_files.delete(_path(uri))
            return
        bucket, _ = _split(uri)
        s3_objects.delete([_split(file.uri)[1] for file in _list_s3(uri, is_glob=False)], bucket=bucket)


def check_writable(uri: str) -> None:
    """Checks that files can be written below a folder or prefix; leaves nothing behind.

    Raises:
        UserError: Files cannot be written.
    """
    with _errors_explained(uri):
        if not is_s3(uri):
            local_files.check_folder(_path(uri))
            return
        bucket, key = _split(uri)
        s3_objects.check_writable(bucket=bucket, key=key)


def end_unfinished_uploads(uri: str) -> int:
    """Aborts uploads below a prefix that have been unfinished for a day, because their writers were killed.

    Returns the number of aborted uploads: 0 on a local disk, or if the server does not support or permit it.
    """
    if not is_s3(uri):
        return 0
    with _errors_explained(uri):
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
        raise UserError(
            f"{pattern} is not a valid pattern; `**` must stand alone between slashes, as in 'data/**/*.txt'"
        ) from None


def _list_s3(uri: str, *, is_glob: bool) -> list[File]:
    bucket, key = _split(uri)
    if is_glob and not any(character in key for character in GLOB):
        raise UserError(f"{uri!r} has a pattern in the bucket name; give the name of one bucket")
    found = s3_objects.list_matching(key, bucket=bucket) if is_glob else s3_objects.list_below(key, bucket=bucket)
    return [
        File(uri=f"s3://{bucket}/{item['Key']}", size_bytes=item["Size"], version=item.get("ETag", ""))
        for item in found
    ]


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(f"{uri!r} has no bucket; write it as s3://bucket/path")
    s3_client.lead_to(bucket)
    return bucket, key


def _path(uri: str) -> Path:
    if "://" in uri and not uri.startswith("file://"):
        raise UserError(f"{uri!r} has an unsupported scheme; use s3://bucket/path or a local path")
    return Path(uri.removeprefix("file://")).expanduser()


@contextlib.contextmanager
def disk_full_as_user_error(place: str = "") -> Iterator[None]:
    """Converts errors for a full disk or quota to an `UnavailableError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = place or error.filename or f"temporary files ({tempfile.gettempdir()})"
        raise UnavailableError(
            f"no space is left on the disk for {place}; free some, then run the same command again"
        ) from None


@contextlib.contextmanager
def _errors_explained(uri: str) -> Iterator[None]:
    """Converts errors that a user can correct (names, credentials, connections, a full disk) to a `UserError`."""
    try:
        with disk_full_as_user_error("" if is_s3(uri) else uri):
            yield
    except UserError:
        raise
    except Exception as error:
        if is_s3(uri):
            raise s3_client.error_of(error, uri) from error
        number = error.errno if isinstance(error, OSError) else None
        message = next((message for numbers, message in REFUSALS.items() if number in numbers), None)
        if message is None:
            raise
        kind = MissingError if number == errno.ENOENT else UserError
        raise kind(f"{uri} {message}") from None
