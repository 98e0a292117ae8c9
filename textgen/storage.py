"""Reads and writes `s3://` and local URIs; the only place that makes S3 clients.

Any S3 endpoint works through the usual `AWS_*` variables (`AWS_ENDPOINT_URL` for one that is not Amazon's).
A write appears whole or not at all: locally by a rename, on S3 when its last part is there.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from textgen.errors import UserError

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig
    from mypy_boto3_s3 import S3Client

READ_BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class File:
    """One object or local file: its URI and its size in bytes."""

    uri: str
    size_bytes: int


def is_s3(uri: str) -> bool:
    """Says whether `uri` names something on S3."""
    return uri.startswith("s3://")


def join(uri: str, *names: str) -> str:
    """Joins names to a URI with single slashes."""
    return "/".join([uri.rstrip("/"), *(name.strip("/") for name in names)])


def absolute(uri: str) -> str:
    """Returns `uri` in the form that means the same from every working directory."""
    return uri.rstrip("/") if is_s3(uri) else str(_path(uri).absolute())


def read_bytes(uri: str) -> bytes:
    """Returns the whole content of a file."""
    with open_read(uri) as stream:
        return stream.read()


@contextlib.contextmanager
def open_read(uri: str) -> Iterator[IO[bytes]]:
    """Opens a file as a stream of bytes; nothing is held beyond a buffer."""
    with _explained(uri):  # Covers the opening alone: what the caller raises is the caller's.
        stream: Any
        if is_s3(uri):
            bucket, key = _split(uri)
            stream = _s3().get_object(Bucket=bucket, Key=key)["Body"]
        else:
            stream = open(_path(uri), "rb")  # noqa: SIM115 (closed below, as the other)
    with contextlib.closing(stream):
        yield stream


@contextlib.contextmanager
def open_seekable(uri: str) -> Iterator[IO[bytes]]:
    """Opens a file for reading at any position; on S3 each read is a request for that range alone."""
    if not is_s3(uri):
        with open_read(uri) as stream:
            yield stream
        return
    with contextlib.closing(io.BufferedReader(_S3Ranges(uri), buffer_size=READ_BLOCK_BYTES // 16)) as buffered:
        yield buffered


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with _explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            _s3().upload_fileobj(io.BytesIO(content), bucket, key, Config=_in_parts())
        else:
            with _renamed_into_place(_path(uri)) as temporary:
                temporary.write_bytes(content)


def upload(path: Path, uri: str) -> None:
    """Copies a local file to `uri`, whole or not at all."""
    with _explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            _s3().upload_file(str(path), bucket, key, Config=_in_parts())
        else:
            with _renamed_into_place(_path(uri)) as temporary:
                shutil.copyfile(path, temporary)


def download(uri: str, path: Path) -> None:
    """Copies the file at `uri` to a local path, whole or not at all, block by block."""
    with open_read(uri) as source, _renamed_into_place(path) as temporary, open(temporary, "wb") as sink:
        while block := source.read(READ_BLOCK_BYTES):
            sink.write(block)


def exists(uri: str) -> bool:
    """Says whether a file stands at exactly `uri`."""
    if not is_s3(uri):
        return _path(uri).is_file()
    with _explained(uri):
        return any(file.uri == uri for file in _list_s3(uri, is_glob=False))


def list_files(uri: str) -> list[File]:
    """Returns the files at or under `uri` in the order of their URIs; none where there are none.

    `uri` is a file, a folder or prefix (all files below it), or a glob: `*`, `?` and `[...]` within one name, `**`
    for any number of folders.
    """
    is_glob = any(character in uri for character in "*?[")
    with _explained(uri):
        files = _list_s3(uri, is_glob) if is_s3(uri) else _list_local(uri, is_glob)
    return sorted(files, key=lambda file: file.uri)


def delete(uri: str) -> None:
    """Deletes the file at `uri` and everything below it, if there is any."""
    with _explained(uri):
        if not is_s3(uri):
            path = _path(uri)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            return
        bucket, _ = _split(uri)
        for file in _list_s3(uri, is_glob=False):
            _s3().delete_object(Bucket=bucket, Key=_split(file.uri)[1])


class _S3Ranges(io.RawIOBase):
    """An S3 object that is read by ranges."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._bucket, self._key = _split(uri)
        self._position = 0
        with _explained(uri):
            self._size = int(_s3().head_object(Bucket=self._bucket, Key=self._key)["ContentLength"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._size)
        if stop <= self._position:
            return 0
        with _explained(self._uri):
            piece = f"bytes={self._position}-{stop - 1}"
            content = _s3().get_object(Bucket=self._bucket, Key=self._key, Range=piece)["Body"].read()
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _list_local(uri: str, is_glob: bool) -> list[File]:
    path = _path(uri)
    if is_glob:
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = list(anchor.glob(str(path.relative_to(anchor))))
    elif path.is_dir():
        found = list(path.rglob("*"))
    else:
        found = [path]
    return [
        File(uri=str(item.absolute()), size_bytes=item.stat().st_size)
        for item in found
        if item.is_file() and not _is_temporary(item)
    ]


def _list_s3(uri: str, is_glob: bool) -> list[File]:
    bucket, key = _split(uri)
    prefix = key
    if is_glob:
        prefix = key[: min(key.find(character) for character in "*?[" if character in key)]
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    files = []
    for page in pages:
        for item in page.get("Contents", []):
            name = item["Key"]
            if is_glob:
                matches = _matches(name.split("/"), key.split("/"))
            else:  # A prefix ends where a name ends: `a/b` does not mean `a/bc`.
                matches = not key or name == key or name.startswith(key.rstrip("/") + "/")
            if matches and not name.endswith("/"):
                files.append(File(uri=f"s3://{bucket}/{name}", size_bytes=item["Size"]))
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
    return bucket, key


def _path(uri: str) -> Path:
    if "://" in uri and not uri.startswith("file://"):
        raise UserError(f"{uri!r} is of a kind that cannot be read; use s3://bucket/path or a local path")
    return Path(uri.removeprefix("file://")).expanduser()


@contextlib.contextmanager
def _renamed_into_place(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def forget_clients() -> None:
    """Makes the next call read the `AWS_*` variables anew; this process reads them once otherwise."""
    _s3.cache_clear()


@functools.cache
def _s3() -> S3Client:
    import boto3  # Takes 0.3 s, which a run on local files need not pay.
    from botocore.config import Config

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return boto3.session.Session().client(  # A session of its own: the default one keeps the first credentials.
        "s3",
        region_name=region,
        config=Config(retries={"max_attempts": 5, "mode": "standard"}, max_pool_connections=32, connect_timeout=10),
    )


@functools.cache
def _in_parts() -> TransferConfig:
    """Sends an object in parts, even where one part is enough.

    A server over a file system, such as rclone's, shows an object that is put in one piece while it grows; one in
    parts appears when it is complete.
    """
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=1, use_threads=False)


def _s3_problem(code: str, uri: str) -> str | None:
    bucket = uri.removeprefix("s3://").partition("/")[0]
    where = os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    return {
        "NoSuchBucket": f"there is no bucket {bucket!r} at {where}; create it, or check the name and AWS_ENDPOINT_URL",
        "NoSuchKey": f"{uri} does not exist; check the name",
        "404": f"{uri} does not exist; check the name",
        "AccessDenied": f"access to {uri} at {where} is denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
        "and what they may do in that bucket",
        "403": f"access to {uri} at {where} is denied; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "InvalidAccessKeyId": f"{where} does not know the access key that was sent for {uri}; check AWS_ACCESS_KEY_ID",
        "SignatureDoesNotMatch": f"{where} refused the signature of a request for {uri}; check AWS_SECRET_ACCESS_KEY",
    }.get(code)


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turns what a user can mend (names, credentials, connections) into a `UserError`."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{uri} does not exist; check the name") from None
    except IsADirectoryError:
        raise UserError(f"{uri} is a folder, not a file; give the name of a file in it") from None
    except (NotADirectoryError, FileExistsError):
        raise UserError(f"{uri} stands in a file, not in a folder; give another name") from None
    except PermissionError:
        raise UserError(f"{uri} may not be read or written by this user; check its permissions") from None
    except Exception as error:
        if not is_s3(uri):
            raise
        raise _s3_error(error, uri) from error


def _s3_error(error: Exception, uri: str) -> Exception:
    from boto3.exceptions import S3UploadFailedError
    from botocore import exceptions

    if isinstance(error, S3UploadFailedError) and isinstance(error.__context__, Exception):
        error = error.__context__  # What stopped the upload.
    where = os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    if isinstance(error, exceptions.ClientError):
        response: Any = error.response
        problem = _s3_problem(str(response.get("Error", {}).get("Code", "")), uri)
        return UserError(problem) if problem else error
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return UserError(
            f"no credentials for {uri}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role that has "
            "them"
        )
    if isinstance(error, exceptions.ParamValidationError):
        return UserError(f"{uri!r} is not a bucket's name and a key; write it as s3://bucket/path")
    if isinstance(error, ValueError) and "endpoint" in str(error):
        return UserError(f"AWS_ENDPOINT_URL is {where!r}, which is no address; use one such as http://127.0.0.1:9720")
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return UserError(f"no S3 server answers at {where}; start it (`make s3`), or check AWS_ENDPOINT_URL")
    return error
