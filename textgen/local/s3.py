"""The embedded S3 server: `rclone serve s3` for a folder of the checkout, on 127.0.0.1, with its own credentials."""

from __future__ import annotations

import http.client
import os
import secrets
from pathlib import Path

from textgen import s3_client
from textgen.errors import UserError
from textgen.local.background import Background, check_port
from textgen.local.checkout import Checkout, read_environment, this_checkout, write_environment

BUCKET = "textgen"
REGION = "us-east-1"
START_SECONDS = 30.0
NEUTRAL_VARIABLES = frozenset(
    {
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_DEFAULT_OUTPUT",
        "AWS_PAGER",
        "AWS_CA_BUNDLE",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_MAX_ATTEMPTS",
        "AWS_RETRY_MODE",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
        "AWS_RESPONSE_CHECKSUM_VALIDATION",
    }
)
"""`AWS_*` variables that select neither an S3 endpoint nor credentials."""


def uses_embedded_s3(checkout: Checkout | None = None) -> bool:
    """Returns whether jobs of this checkout use the embedded server.

    They use another S3 if `TEXTGEN_BUCKET` names a bucket, or `AWS_ENDPOINT_URL` another endpoint.
    """
    checkout = checkout or this_checkout()
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return not os.environ.get("TEXTGEN_BUCKET")
    return endpoint == read_environment(checkout.run_dir / "s3.env").get("AWS_ENDPOINT_URL")


def s3_environment(checkout: Checkout | None = None) -> dict[str, str]:
    """Returns the `AWS_*` variables of the embedded server; empty if another S3 is used or it was never started."""
    checkout = checkout or this_checkout()
    return read_environment(checkout.run_dir / "s3.env") if uses_embedded_s3(checkout) else {}


def introduce() -> None:
    """Lets `storage` use the embedded server's bucket in this process, or report how to reach it."""
    s3_client.know(s3_client.KnownServer(lead_to=lead_to_server, way_to=way_to_server))


def lead_to_server(bucket: str, checkout: Checkout | None = None) -> None:
    """Sets the `AWS_*` variables of the embedded server in this process, if a bucket must be the server's.

    That is the case if the server is running, the bucket has its bucket's name, and the user has not selected an S3,
    credentials or a profile, either by a variable or in the configuration files of the AWS tools.
    """
    if bucket == BUCKET and not _has_own_s3() and find_s3(checkout) is not None:
        os.environ.update(s3_environment(checkout))


def way_to_server(bucket: str, checkout: Checkout | None = None) -> str | None:
    """Returns advice on how to reach the embedded server's bucket; None if `bucket` is another one."""
    if bucket != BUCKET or os.environ.get("TEXTGEN_BUCKET") or os.environ.get("AWS_ENDPOINT_URL"):
        return None
    if find_s3(checkout) is None:
        return "if it is on this checkout's own S3 server, start the server: make s3"
    return 'if it is on this checkout\'s own S3 server, let this shell use it: eval "$(python -m textgen.local env)"'


def _has_own_s3() -> bool:
    """Returns whether the user has selected an S3 or credentials."""
    chosen = {name for name, value in os.environ.items() if value and name.startswith("AWS_")} - NEUTRAL_VARIABLES
    places = (Path.home() / ".aws" / name for name in ("credentials", "config"))
    return bool(chosen or os.environ.get("TEXTGEN_BUCKET") or any(place.exists() for place in places))


def bucket_uri() -> str:
    """Returns the default bucket of jobs: `TEXTGEN_BUCKET`, or the embedded server's."""
    return f"s3://{(os.environ.get('TEXTGEN_BUCKET') or BUCKET).removeprefix('s3://').rstrip('/')}"


def start_s3(checkout: Checkout | None = None) -> str:
    """Starts the server unless it is running, and returns its address.

    Raises:
        UserError: its port is taken, it does not start, or rclone is not available for this platform.
    """
    checkout = checkout or this_checkout()
    checkout.prepare()
    background = _background(checkout)
    with background.locked():
        running = background.find()
        if running:
            return running.facts["endpoint"]
        background.stop()  # Removes the record of a server whose main process died.
        check_port(checkout.s3_port, purpose="the embedded S3 server", variable="TEXTGEN_S3_PORT")
        environment = _new_environment(checkout)
        (checkout.s3_dir / BUCKET).mkdir(mode=0o700, parents=True, exist_ok=True)
        background.start(
            [
                *(str(_rclone()), "serve", "s3", "--addr", f"127.0.0.1:{checkout.s3_port}"),
                *("--config", "", "--dir-cache-time", "1s", str(checkout.s3_dir)),
            ],
            environment=_server_environment(checkout, environment),
            facts={"endpoint": environment["AWS_ENDPOINT_URL"]},
            answers=lambda: _answers(checkout.s3_port),
            timeout_seconds=START_SECONDS,
        )
        return environment["AWS_ENDPOINT_URL"]


def stop_s3(checkout: Checkout | None = None) -> bool:
    """Stops the server, keeps its data and credentials, and returns whether it was running."""
    background = _background(checkout or this_checkout())
    with background.locked():
        return background.stop()


def find_s3(checkout: Checkout | None = None) -> str | None:
    """Returns the address of the server, or None if it is not running."""
    running = _background(checkout or this_checkout()).find()
    return running.facts["endpoint"] if running else None


def _background(checkout: Checkout) -> Background:
    return Background(name="s3", run_dir=checkout.run_dir)


def _new_environment(checkout: Checkout) -> dict[str, str]:
    """Returns the variables with which clients use the server; reuses earlier credentials if there are any."""
    path = checkout.run_dir / "s3.env"
    last = read_environment(path)
    environment = {
        "AWS_ACCESS_KEY_ID": last.get("AWS_ACCESS_KEY_ID") or f"textgen-{secrets.token_hex(8)}",
        "AWS_SECRET_ACCESS_KEY": last.get("AWS_SECRET_ACCESS_KEY") or secrets.token_hex(24),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{checkout.s3_port}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        # rclone does not support the checksum trailers that newer clients send by default.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    write_environment(path, environment)
    return environment


def _server_environment(checkout: Checkout, environment: dict[str, str]) -> dict[str, str]:
    # In a variable, because all users of the machine can read command lines.
    key = f'"{environment["AWS_ACCESS_KEY_ID"]},{environment["AWS_SECRET_ACCESS_KEY"]}"'
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
    return {
        **kept,
        "RCLONE_AUTH_KEY": key,
        "RCLONE_CACHE_DIR": str(checkout.temp_dir / "rclone"),
        "TMPDIR": str(checkout.temp_dir),
    }


def _rclone() -> Path:
    try:
        from rclone_api import BINARY_PATH
    except (ImportError, AssertionError):
        raise UserError(
            "rclone is not available for this platform, so there is no embedded S3 server; set AWS_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and TEXTGEN_BUCKET to use another S3"
        ) from None
    return Path(BINARY_PATH)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()  # Any response will do: the request is not signed.
        return True
    except OSError:
        return False
    finally:
        connection.close()
