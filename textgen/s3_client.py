"""The S3 client for `storage`: one per process, with retries for temporary errors and messages for permanent ones.

botocore retries requests that are throttled (503 SlowDown) or get no response. `patiently` handles connections that are
lost while the body of a response arrives.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from textgen.errors import MissingError, UnavailableError, UserError

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_s3 import S3Client

FIRST_ATTEMPTS = 5
"""Attempts until a server responds for the first time: a few seconds, since its address may be wrong."""
ATTEMPTS = 10
"""Attempts after the first response: about a minute, enough for a server to restart."""
LONGEST_WAIT_SECONDS = 20.0
CONNECT_SECONDS = 10
READ_SECONDS = 30
"""Time without data after which a request is repeated."""

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownServer:
    """An S3 server on this machine that is used without configuration, such as a checkout's embedded server."""

    lead_to: Callable[[str], None]
    """Sets the `AWS_*` variables of this process if a bucket can only be on this server."""
    way_to: Callable[[str], str | None]
    """Returns a hint how a command reaches a bucket on the server, or None for buckets of other servers."""


_known: list[KnownServer] = []


def know(server: KnownServer) -> None:
    """Makes this process find the buckets of a server without `AWS_*` variables."""
    _known[:] = [server]


def lead_to(bucket: str) -> None:
    """Sets the `AWS_*` variables for the known server if the bucket can only be there."""
    for server in _known:
        server.lead_to(bucket)


_answered = threading.Event()
_made: list[S3Client] = []
"""All clients of this process."""


def client() -> S3Client:
    """Returns this process's client."""
    return _client(num_attempts=ATTEMPTS if _answered.is_set() else FIRST_ATTEMPTS)


def forget() -> None:
    """Makes the next client read the `AWS_*` variables again, which a process otherwise reads only once."""
    while _made:
        _made.pop().close()  # Closes idle connections.
    _session.cache_clear()
    _client.cache_clear()
    _answered.clear()


def patiently(call: Callable[[], Result]) -> Result:
    """Retries a call, with exponential backoff, if a connection is lost."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except (HTTPClientError, IncompleteReadError):
            time.sleep(random.random() * min(2.0**attempt, LONGEST_WAIT_SECONDS))
    return call()


def cause_of(error: Exception) -> Exception:
    """Returns the underlying error of a failed transfer; other errors unchanged."""
    from boto3.exceptions import RetriesExceededError, S3UploadFailedError

    if isinstance(error, S3UploadFailedError | RetriesExceededError) and isinstance(error.__context__, Exception):
        return error.__context__
    return error


def client_error() -> type[Exception]:
    """Returns botocore's class for error responses."""
    from botocore.exceptions import ClientError

    return ClientError


def code_of(error: Exception) -> str:
    """Returns the code of an error response; empty for other errors."""
    from botocore.exceptions import ClientError

    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def error_of(error: Exception, uri: str) -> Exception:
    """Returns a `UserError` for an error raised by a request for `uri`; errors that it does not know are unchanged."""
    from botocore import exceptions

    error = cause_of(error)
    where = os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    if isinstance(error, exceptions.ClientError):
        return _refusal(error, uri, where)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return UserError(
            f"no credentials for {uri}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role with "
            f"access{_or_embedded(uri)}"
        )
    if isinstance(error, exceptions.ParamValidationError):
        return UserError(f"{uri!r} is not a valid bucket and key; write it as s3://bucket/path")
    if isinstance(error, ValueError) and "endpoint" in str(error):
        return UserError(f"AWS_ENDPOINT_URL is {where!r}, which is not a URL; use one such as http://127.0.0.1:9720")
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return UnavailableError(f"no S3 server responds at {where}; start it (`make s3`), or check AWS_ENDPOINT_URL")
    if isinstance(error, exceptions.HTTPClientError | exceptions.IncompleteReadError):
        return UnavailableError(
            f"the connection to the S3 server at {where} was lost at every attempt to read or write {uri}; check the "
            "server and the network, then run the same command again"
        )
    if isinstance(error, exceptions.BotoCoreError):
        return UnavailableError(f"{uri} at {where} cannot be reached: {error}; check the AWS_* variables")
    return error


def _refusal(error: Any, uri: str, where: str) -> UserError:
    """Returns the `UserError` for an error response."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    code = code_of(error)
    mistakes = {
        "NoSuchBucket": f"there is no bucket {bucket!r} at {where}; create it, or check the name and AWS_ENDPOINT_URL"
        f"{_or_embedded(uri)}",
        "KeyTooLongError": f"{uri} is longer than S3's limit of 1,024 bytes; give a shorter name",
    }
    if code in ("NoSuchKey", "404"):
        return MissingError(f"{uri} does not exist; check the name")
    if code in mistakes:
        return UserError(mistakes[code])
    refusals = {
        "AccessDenied": f"access to {uri} at {where} is denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
        "and their permissions for the bucket",
        "403": f"access to {uri} at {where} is denied; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "InvalidAccessKeyId": f"{where} does not know the access key sent for {uri}; check AWS_ACCESS_KEY_ID",
        "SignatureDoesNotMatch": f"{where} rejected the signature of a request for {uri}; check AWS_SECRET_ACCESS_KEY",
        "ExpiredToken": f"the credentials for {uri} have expired; get new ones, then run the same command again",
    }
    message = str(error.response.get("Error", {}).get("Message", "")).rstrip(".")
    other = f"the S3 server at {where} refuses to read or write {uri} ({code}: {message}); try again later"
    return UnavailableError(f"{refusals[code]}{_or_embedded(uri)}" if code in refusals else other)


def _or_embedded(uri: str) -> str:
    """Returns a hint to add to an error if the bucket may be on the checkout's embedded server, or ""."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    ways = [way for server in _known if (way := server.way_to(bucket)) is not None]
    return f"; {ways[0]}" if ways else ""


@functools.cache
def _session() -> Session:
    import boto3  # Takes 0.3 s, so it is not imported for local files.

    return boto3.session.Session()  # The default session would keep the first credentials.


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
    _made.append(made)
    return made
