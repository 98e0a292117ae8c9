"""S3 as `storage` uses it: one client a process, which waits for what passes, and words for what does not.

botocore sends a request again that was refused for a while (503 SlowDown) or got no answer; a connection that is lost
while an answer's body arrives is `patiently`'s affair.
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
"""Tries until a server has answered for the first time: some seconds, since its address may be wrong."""
ATTEMPTS = 10
"""Tries from then on: about a minute, in which a server is restarted."""
LONGEST_WAIT_SECONDS = 20.0
CONNECT_SECONDS = 10
READ_SECONDS = 30
"""Silence after which an answer is no longer expected, and asked for again."""

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownServer:
    """An S3 server of this machine that the user need not name, such as a checkout's embedded one."""

    lead_to: Callable[[str], None]
    """Sets the `AWS_*` variables of this process where the server alone can be meant by a bucket."""
    way_to: Callable[[str], str | None]
    """Returns what to type so that a command reaches a bucket on it; None for a bucket of another server."""


_known: list[KnownServer] = []


def know(server: KnownServer) -> None:
    """Lets this process find the buckets of a server without being led there by variables."""
    _known[:] = [server]


def lead_to(bucket: str) -> None:
    """Sets the `AWS_*` variables of the known server where it alone can be meant by a bucket."""
    for server in _known:
        server.lead_to(bucket)


_answered = threading.Event()
_made: list[S3Client] = []
"""All clients of this process."""


def client() -> S3Client:
    """Returns this process's client."""
    return _client(num_attempts=ATTEMPTS if _answered.is_set() else FIRST_ATTEMPTS)


def forget() -> None:
    """Makes the next client read the `AWS_*` variables anew; a process reads them once otherwise."""
    while _made:
        _made.pop().close()  # Its connections, which wait for another request.
    _session.cache_clear()
    _client.cache_clear()
    _answered.clear()


def patiently(call: Callable[[], Result]) -> Result:
    """Calls again, after a while, where a connection was lost on the way."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except (HTTPClientError, IncompleteReadError):
            time.sleep(random.random() * min(2.0**attempt, LONGEST_WAIT_SECONDS))
    return call()


def cause_of(error: Exception) -> Exception:
    """Returns what stopped a transfer; other errors as they are."""
    from boto3.exceptions import RetriesExceededError, S3UploadFailedError

    if isinstance(error, S3UploadFailedError | RetriesExceededError) and isinstance(error.__context__, Exception):
        return error.__context__
    return error


def client_error() -> type[Exception]:
    """Returns the class of answers that are errors."""
    from botocore.exceptions import ClientError

    return ClientError


def code_of(error: Exception) -> str:
    """Returns the code of an answer that is an error; that of another error is empty."""
    from botocore.exceptions import ClientError

    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def error_of(error: Exception, uri: str) -> Exception:
    """Returns what a user is to read of an error that a request for `uri` raised; other errors as they are."""
    from botocore import exceptions

    error = cause_of(error)
    where = os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    if isinstance(error, exceptions.ClientError):
        return _refusal(error, uri, where)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return UserError(
            f"no credentials for {uri}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role that has "
            f"them{_or_embedded(uri)}"
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
    code = code_of(error)
    mistakes = {
        "NoSuchBucket": f"there is no bucket {bucket!r} at {where}; create it, or check the name and AWS_ENDPOINT_URL"
        f"{_or_embedded(uri)}",
        "KeyTooLongError": f"{uri} is longer than the 1,024 bytes that S3 takes; give a shorter name",
    }
    if code in ("NoSuchKey", "404"):
        return MissingError(f"{uri} does not exist; check the name")
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
    return UnavailableError(f"{refusals[code]}{_or_embedded(uri)}" if code in refusals else other)


def _or_embedded(uri: str) -> str:
    """Returns what follows a refusal where the checkout's own server may have been meant; nothing elsewhere."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    ways = [way for server in _known if (way := server.way_to(bucket)) is not None]
    return f"; {ways[0]}" if ways else ""


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
    _made.append(made)
    return made
