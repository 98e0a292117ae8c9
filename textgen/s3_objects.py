"""S3 objects: streaming reads, atomic writes, listing and deletion, with few requests because each one costs money."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import io
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from textgen import s3_client
from textgen.errors import UserError
from textgen.s3_client import client, code_of, error_of, patiently

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig

READ_BLOCK_BYTES = 4 * 2**20
PART_BYTES = 8 * 2**20
DELETED_AT_ONCE = 1000
ABANDONED = timedelta(days=1)
"""Age from which an unfinished upload counts as abandoned by a killed writer."""
GLOB = "*?["
"""Characters that make a name a pattern."""
PUT_VARIABLE = "TEXTGEN_S3_PUT"
AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
"""Suffixes of hosts on which an object becomes visible only when it is complete.

Other servers may differ: rclone's server shows an object sent by a single PUT while it grows, and calls itself AmazonS3
in its responses. A multipart upload is atomic on every server, but needs two more requests.
"""

_known_buckets: set[tuple[str, str]] = set()
"""Endpoint and name of buckets that are known to exist."""


class ObjectStream(io.RawIOBase):
    """Streams an object, or its bytes at [start, stop), and resumes reading when a connection is lost.

    Raises:
        UserError: The object does not exist, or was replaced while it was read.
    """

    def __init__(self, uri: str, *, bucket: str, key: str, start: int = 0, stop: int | None = None) -> None:
        self._uri = uri
        self._position = start
        self._bucket, self._key = bucket, key
        if stop is None:
            answer = client().get_object(Bucket=bucket, Key=key)
        else:
            answer = client().get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
        self._stop = start + int(answer["ContentLength"])
        self._tag = answer["ETag"]
        self._body: Any = answer["Body"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._stop:
            return 0
        try:
            piece = patiently(lambda: self._read(len(buffer)))
        except Exception as error:
            raise error_of(error, self._uri) from error
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _read(self, num_bytes: int) -> bytes:
        if self._body is None:
            rest = f"bytes={self._position}-{self._stop - 1}"
            answer = client().get_object(Bucket=self._bucket, Key=self._key, Range=rest)
            self._body = _same(answer, self._tag, self._uri)
        try:
            return bytes(self._body.read(num_bytes))
        except Exception:
            self._body.close()
            self._body = None
            raise

    def readall(self) -> bytes:
        # The inherited method reads only 8 KiB at a time.
        return b"".join(iter(lambda: self.read(READ_BLOCK_BYTES) or b"", b""))

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
        super().close()


class ObjectRanges(io.RawIOBase):
    """Random access to an object; each read is one request for its range."""

    def __init__(self, uri: str, *, bucket: str, key: str) -> None:
        self._uri = uri
        self._bucket, self._key = bucket, key
        self._position = 0
        answer = client().head_object(Bucket=bucket, Key=key)
        self._size = int(answer["ContentLength"])
        self._tag = answer["ETag"]

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

        def read() -> bytes:
            piece = f"bytes={self._position}-{stop - 1}"
            answer = client().get_object(Bucket=self._bucket, Key=self._key, Range=piece)
            with contextlib.closing(_same(answer, self._tag, self._uri)) as body:
                return bytes(body.read())

        try:
            content = patiently(read)
        except Exception as error:
            raise error_of(error, self._uri) from error
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _same(answer: Any, tag: str, uri: str) -> Any:
    """Returns a response's body if the object has not been replaced; rclone's server does not support `If-Match`."""
    if answer["ETag"] != tag:
        answer["Body"].close()
        raise UserError(f"{uri} was replaced while it was read; run the same command again")
    return answer["Body"]


def exists(*, bucket: str, key: str) -> bool:
    """Returns whether an object with exactly this key exists."""
    if not key:
        return False
    place = (client().meta.endpoint_url, bucket)
    try:
        client().head_object(Bucket=bucket, Key=key)
        _known_buckets.add(place)
        return True
    except s3_client.client_error() as error:
        if code_of(error) == "404" and place in _known_buckets:
            return False
        if code_of(error) not in ("403", "404"):
            raise
        # A HEAD response has no body. Listing tells whether the bucket is missing, or why the request is denied.
        listed = client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        _known_buckets.add(place)
        return any(item["Key"] == key for item in listed)


def list_below(key: str, *, bucket: str) -> Iterator[Any]:
    """Yields the object with this key and those below it (`a/b` does not match `a/bc`), as entries of a listing."""
    for item in _listed(key, bucket=bucket):
        if not key or item["Key"] == key or item["Key"].startswith(key.rstrip("/") + "/"):
            yield item


def list_matching(pattern: str, *, bucket: str) -> Iterator[Any]:
    """Yields the objects whose key matches a glob, as entries of a listing."""
    prefix = pattern[: min(pattern.find(character) for character in GLOB if character in pattern)]
    for item in _listed(prefix, bucket=bucket):
        if _matches(item["Key"].split("/"), pattern.split("/")):
            yield item


def _listed(prefix: str, *, bucket: str) -> Iterator[Any]:
    """Yields the objects whose key starts with a prefix, without markers of folders."""
    for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):
                yield item


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Returns whether path names match glob names with the rules of `pathlib`: `*` stays within a name."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_matches(names[start:], patterns[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def send(source: Path | bytes, *, bucket: str, key: str) -> None:
    """Writes an object atomically, in one request if the server and the size allow it.

    An interrupted upload is aborted, also if a signal interrupts it.
    """
    config = _transfer(largest_whole=PART_BYTES if _puts_whole() else 0)
    for attempt in range(s3_client.ATTEMPTS):
        try:
            if isinstance(source, bytes):
                client().upload_fileobj(io.BytesIO(source), bucket, key, Config=config)
            else:
                client().upload_file(str(source), bucket, key, Config=config)
            return
        except Exception as error:
            # The server was restarted, or the upload is complete but the response was lost. If the body with the error
            # code is lost too, the code is the HTTP status.
            if attempt == s3_client.ATTEMPTS - 1 or code_of(s3_client.cause_of(error)) not in ("NoSuchUpload", "404"):
                raise


@functools.cache
def _transfer(*, largest_whole: int) -> TransferConfig:
    """Returns the transfer settings, with multipart uploads above `largest_whole` bytes."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=largest_whole + 1, multipart_chunksize=PART_BYTES, use_threads=False)


def _puts_whole() -> bool:
    """Returns whether a single PUT is atomic on this server."""
    way = os.environ.get(PUT_VARIABLE, "")
    if way not in ("", "whole", "parts"):
        raise UserError(
            f"{PUT_VARIABLE} is {way!r}; use 'whole' if the server shows objects only when they are complete, 'parts' "
            "if it may show them before, or unset it"
        )
    return way == "whole" if way else (urlsplit(client().meta.endpoint_url).hostname or "").endswith(AMAZON)


def delete(keys: Sequence[str], *, bucket: str) -> None:
    """Deletes objects, many per request."""
    if len(keys) == 1:
        client().delete_object(Bucket=bucket, Key=keys[0])
        return
    for start in range(0, len(keys), DELETED_AT_ONCE):
        some = keys[start : start + DELETED_AT_ONCE]
        try:
            objects: Any = {"Objects": [{"Key": key} for key in some], "Quiet": True}
            failed = client().delete_objects(Bucket=bucket, Delete=objects).get("Errors", [])
        except s3_client.client_error() as error:
            if code_of(error) in ("AccessDenied", "NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
                raise
            failed = [{"Key": key} for key in some]  # The server does not support the request, or these keys in it.
        for item in failed:  # Deletes one at a time, which raises the specific error.
            client().delete_object(Bucket=bucket, Key=item["Key"])


def check_writable(*, bucket: str, key: str) -> None:
    """Checks that objects can be written below a key, by starting and aborting an upload."""
    below = f"{key}/writable".lstrip("/")
    upload = client().create_multipart_upload(Bucket=bucket, Key=below)["UploadId"]
    with contextlib.suppress(s3_client.client_error()):
        client().abort_multipart_upload(Bucket=bucket, Key=below, UploadId=upload)


def end_unfinished(*, bucket: str, prefix: str) -> int:
    """Aborts abandoned uploads below a prefix, if the server permits it, and returns how many."""
    oldest = datetime.now(UTC) - ABANDONED
    num_ended = 0
    with contextlib.suppress(s3_client.client_error()):
        pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
        for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
            if upload["Initiated"] < oldest and upload["Key"].startswith(prefix):
                client().abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                num_ended += 1
    return num_ended
