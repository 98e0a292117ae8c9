"""S3 as `storage` uses it: one client a process, which waits for what passes, and words for what does not.

botocore sends a request again that was refused for a while (503 SlowDown) or got no answer; a connection that is lost
while an answer's body arrives is this module's affair.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from textgen.errors import UnavailableError, UserError

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig
    from boto3.session import Session
    from mypy_boto3_s3 import S3Client

READ_BLOCK_BYTES = 4 * 2**20
FIRST_ATTEMPTS = 5
"""Tries until a server has answered for the first time: some seconds, since its address may be wrong."""
ATTEMPTS = 10
"""Tries from then on: about a minute, in which a server is restarted."""
LONGEST_WAIT_SECONDS = 20.0
CONNECT_SECONDS = 10
READ_SECONDS = 30
"""Silence after which an answer is no longer expected, and asked for again."""

Result = TypeVar("Result")

_answered = threading.Event()


def client() -> S3Client:
    """Returns this process's client."""
    return _client(num_attempts=ATTEMPTS if _answered.is_set() else FIRST_ATTEMPTS)


def forget() -> None:
    """Makes the next client read the `AWS_*` variables anew; a process reads them once otherwise."""
    _session.cache_clear()
    _client.cache_clear()
    _answered.clear()


class ObjectStream(io.RawIOBase):
    """An object's bytes from first to last; reading goes on where a connection is lost.

    Raises:
        UserError: there is no such object, or it was replaced while it was read.
    """

    def __init__(self, uri: str, *, bucket: str, key: str) -> None:
        self._uri = uri
        self._position = 0
        self._bucket, self._key = bucket, key
        answer = client().get_object(Bucket=bucket, Key=key)
        self._size = int(answer["ContentLength"])
        self._tag = answer["ETag"]
        self._body: Any = answer["Body"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
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
            answer = client().get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._position}-")
            self._body = _same(answer, self._tag, self._uri)["Body"]
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
            with contextlib.closing(_same(answer, self._tag, self._uri)["Body"]) as body:
                return bytes(body.read())

        try:
            content = patiently(read)
        except Exception as error:
            raise error_of(error, self._uri) from error
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _same(answer: Any, tag: str, uri: str) -> Any:
    """Returns an answer that is of the object that the others were of; rclone's server does not know `If-Match`."""
    if answer["ETag"] != tag:
        raise UserError(f"{uri} was replaced while it was read; give the same command again")
    return answer


def patiently(call: Callable[[], Result]) -> Result:
    """Calls again, after a while, where a connection was lost on the way."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except (HTTPClientError, IncompleteReadError):
            time.sleep(random.random() * min(2.0**attempt, LONGEST_WAIT_SECONDS))
    return call()


def send(source: Path | bytes, *, bucket: str, key: str) -> None:
    """Puts an object in parts, even where one part is enough.

    A server over a file system, such as rclone's, shows an object that is put in one piece while it grows; one in
    parts appears when it is complete.
    """
    for attempt in range(ATTEMPTS):
        try:
            if isinstance(source, bytes):
                client().upload_fileobj(io.BytesIO(source), bucket, key, Config=_in_parts())
            else:
                client().upload_file(str(source), bucket, key, Config=_in_parts())
            return
        except Exception as error:
            # The server was restarted; or the upload is complete, and the answer that said so was lost.
            if attempt == ATTEMPTS - 1 or _code(_cause(error)) != "NoSuchUpload":
                raise


@functools.cache
def _in_parts() -> TransferConfig:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=1, use_threads=False)


def _cause(error: Exception) -> Exception:
    """Returns what stopped a transfer; other errors as they are."""
    from boto3.exceptions import RetriesExceededError, S3UploadFailedError

    if isinstance(error, S3UploadFailedError | RetriesExceededError) and isinstance(error.__context__, Exception):
        return error.__context__
    return error


def _code(error: Exception) -> str:
    """Returns the code of an answer that is an error; that of another error is empty."""
    from botocore.exceptions import ClientError

    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def error_of(error: Exception, uri: str) -> Exception:
    """Returns what a user is to read of an error that a request for `uri` raised; other errors as they are."""
    from botocore import exceptions

    error = _cause(error)
    where = os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    if isinstance(error, exceptions.ClientError):
        return _refusal(error, uri, where)
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
        return UnavailableError(f"no S3 server answers at {where}; start it (`make s3`), or check AWS_ENDPOINT_URL")
    if isinstance(error, exceptions.HTTPClientError | exceptions.IncompleteReadError):
        return UnavailableError(
            f"the S3 server at {where} lost or left the connection at every try to read or write {uri}; look after the "
            "server and the network, then give the same command again"
        )
    if isinstance(error, exceptions.BotoCoreError):
        return UnavailableError(f"{uri} at {where} cannot be reached: {error}; check the AWS_* variables")
    return error


def _refusal(error: Any, uri: str, where: str) -> UserError:
    """Returns the words for a request that was answered by an error."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    code = _code(error)
    mistakes = {
        "NoSuchBucket": f"there is no bucket {bucket!r} at {where}; create it, or check the name and AWS_ENDPOINT_URL",
        "NoSuchKey": f"{uri} does not exist; check the name",
        "404": f"{uri} does not exist; check the name",
    }
    if code in mistakes:
        return UserError(mistakes[code])
    refusals = {
        "AccessDenied": f"access to {uri} at {where} is denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
        "and what they may do in that bucket",
        "403": f"access to {uri} at {where} is denied; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "InvalidAccessKeyId": f"{where} does not know the access key that was sent for {uri}; check AWS_ACCESS_KEY_ID",
        "SignatureDoesNotMatch": f"{where} refused the signature of a request for {uri}; check AWS_SECRET_ACCESS_KEY",
        "ExpiredToken": f"the credentials for {uri} have expired; get new ones, then give the same command again",
    }
    said = str(error.response.get("Error", {}).get("Message", "")).rstrip(".")
    other = f"the S3 server at {where} refuses to read or write {uri} ({code}: {said}); try again later"
    return UnavailableError(refusals.get(code, other))


@functools.cache
def _session() -> Session:
    import boto3  # Takes 0.3 s, which a run on local files need not pay.

    return boto3.session.Session()  # A session of its own: the default one keeps the first credentials.


@functools.cache
def _client(*, num_attempts: int) -> S3Client:
    from botocore.config import Config

    def note(**_: Any) -> None:
        _answered.set()

    made = _session().client(
        "s3",
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        config=Config(
            retries={"max_attempts": num_attempts, "mode": "standard"},
            max_pool_connections=32,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        ),
    )
    made.meta.events.register("after-call.s3", note)
    return made
