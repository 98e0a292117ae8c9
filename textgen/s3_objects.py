"""Objects of S3: read as streams, written whole or not at all, deleted, looked for; with few requests, which cost."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Sequence
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
"""Age of an upload whose writer must have been killed."""
PUT_VARIABLE = "TEXTGEN_S3_PUT"
AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
"""How the names of hosts end that show an object when all of it has arrived, and not before.

Of others that is not known: rclone's server shows an object that is put in one piece while it grows, and calls itself
AmazonS3 in its answers. An object in parts appears everywhere when it is complete, for two requests more.
"""

_known_buckets: set[tuple[str, str]] = set()
"""Endpoint and name of buckets that were there."""


class ObjectStream(io.RawIOBase):
    """An object's bytes from first to last, or those at [start, stop); reading goes on where a connection is lost.

    Raises:
        UserError: there is no such object, or it was replaced while it was read.
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
        # Inherited, it would ask for 8 KiB at a time.
        return b"".join(iter(lambda: self.read(READ_BLOCK_BYTES) or b"", b""))

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
        super().close()


class ObjectRanges(io.RawIOBase):
    """An object that is read at any position, by a request for that range alone."""

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
    """Returns an answer's body, of the object that the others were of; rclone's server does not know `If-Match`."""
    if answer["ETag"] != tag:
        answer["Body"].close()
        raise UserError(f"{uri} was replaced while it was read; give the same command again")
    return answer["Body"]


def exists(*, bucket: str, key: str) -> bool:
    """Says whether there is an object of exactly this key."""
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
        # An answer to HEAD has no body: whether the bucket is missing, or why a request is refused, another one says.
        listed = client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        _known_buckets.add(place)
        return any(item["Key"] == key for item in listed)


def send(source: Path | bytes, *, bucket: str, key: str) -> None:
    """Puts an object that nobody sees before it is whole, in one request where the server and its size allow that.

    An upload that is interrupted, by a signal too, is ended.
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
            # The server was restarted; or the upload is complete, and the answer that said so was lost. The body that
            # has the code may be lost too: then its status stands for it.
            if attempt == s3_client.ATTEMPTS - 1 or code_of(s3_client.cause_of(error)) not in ("NoSuchUpload", "404"):
                raise


@functools.cache
def _transfer(*, largest_whole: int) -> TransferConfig:
    """Returns how objects are sent: in parts from one byte above `largest_whole` on."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=largest_whole + 1, multipart_chunksize=PART_BYTES, use_threads=False)


def _puts_whole() -> bool:
    """Says whether an object that is put in one piece appears when it is whole."""
    way = os.environ.get(PUT_VARIABLE, "")
    if way not in ("", "whole", "parts"):
        raise UserError(
            f"{PUT_VARIABLE} is {way!r}; use 'whole' where the server shows an object when all of it has arrived, "
            "'parts' where it may show it before, or leave it unset"
        )
    return way == "whole" if way else (urlsplit(client().meta.endpoint_url).hostname or "").endswith(AMAZON)


def delete(keys: Sequence[str], *, bucket: str) -> None:
    """Deletes objects, many by one request."""
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
            failed = [{"Key": key} for key in some]  # The server does not know the request, or not such keys in it.
        for item in failed:  # One by one, with an error that says why.
            client().delete_object(Bucket=bucket, Key=item["Key"])


def check_writable(*, bucket: str, key: str) -> None:
    """Makes sure that objects can be put below a key, by an upload that is begun and ended."""
    below = f"{key}/writable".lstrip("/")
    upload = client().create_multipart_upload(Bucket=bucket, Key=below)["UploadId"]
    with contextlib.suppress(s3_client.client_error()):
        client().abort_multipart_upload(Bucket=bucket, Key=below, UploadId=upload)


def end_unfinished(*, bucket: str, prefix: str) -> int:
    """Ends the abandoned uploads below a prefix, and returns how many; a server that refuses keeps them."""
    oldest = datetime.now(UTC) - ABANDONED
    num_ended = 0
    with contextlib.suppress(s3_client.client_error()):
        pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
        for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
            if upload["Initiated"] < oldest and upload["Key"].startswith(prefix):
                client().abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                num_ended += 1
    return num_ended
