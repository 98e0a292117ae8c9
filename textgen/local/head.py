"""The local Ray head: a single node on 127.0.0.1 that accepts jobs and requires a token."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from textgen.errors import UserError
from textgen.local.background import Background, Record, check_port, free_port
from textgen.local.checkout import Checkout, read_environment, this_checkout, write_environment, write_private
from textgen.local.s3 import s3_environment, start_s3, uses_embedded_s3

START_SECONDS = 120.0

QUIET_AND_QUICK = {
    # Disables actors and loops of Ray Train that watch for preemption and poll for its dashboard page.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    # Two slow cores may take more than a minute to import TensorFlow in all workers at once.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    # By default, `ray job stop` kills after three seconds, before a training has saved its state.
    "RAY_JOB_STOP_WAIT_TIME_S": "300",
    "RAY_DEDUP_LOGS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
"""Environment of the head and everything that runs on it."""


def ray_environment(checkout: Checkout | None = None) -> dict[str, str]:
    """Returns the variables with which drivers and `ray job submit` use the head; empty if it was never started."""
    return read_environment((checkout or this_checkout()).run_dir / "ray.env")


def start_head(
    checkout: Checkout | None = None, *, num_cpus: int | None = None, extra_environment: Mapping[str, str] | None = None
) -> str:
    """Starts the S3 server and the head unless they are running; returns the address for submitting jobs.

    Args:
        checkout: The checkout; the one of this package by default.
        num_cpus: CPUs of the head; None lets Ray count them, with at least two for a run with two workers.
        extra_environment: Additional variables for everything that runs on the head.

    Raises:
        UserError: a port is taken, the head does not start, or it is running with other S3 settings than this shell's.
    """
    checkout = checkout or this_checkout()
    if uses_embedded_s3(checkout):
        start_s3(checkout)
    checkout.prepare()
    background = _background(checkout)
    with background.locked():
        running = background.find()
        if running:
            _check_same_s3(running, checkout)
            return running.facts["api_address"]
        background.stop()  # Removes processes left by a head whose main process died.
        check_port(checkout.ray_port, purpose="the local Ray head", variable="TEXTGEN_RAY_PORT")
        check_port(checkout.dashboard_port, purpose="Ray's dashboard", variable="TEXTGEN_DASHBOARD_PORT")
        shutil.rmtree(checkout.temp_dir / "ray", ignore_errors=True)
        environment = _driver_environment(checkout)
        record = background.start(
            _command(checkout, num_cpus=num_cpus),
            environment={**_base_environment(checkout), **environment, **(extra_environment or {})},
            facts={"api_address": environment["RAY_API_SERVER_ADDRESS"], "s3": _s3_fingerprint(checkout)},
            answers=lambda: _answers(checkout, background),
            timeout_seconds=START_SECONDS,
        )
        return record.facts["api_address"]


def stop_head(checkout: Checkout | None = None) -> bool:
    """Stops the head and all its jobs, and returns whether it was running; its logs stay until the next start."""
    background = _background(checkout or this_checkout())
    with background.locked():
        return background.stop()


def find_head(checkout: Checkout | None = None) -> str | None:
    """Returns the address for submitting jobs, or None if the head is not running."""
    running = _background(checkout or this_checkout()).find()
    return running.facts["api_address"] if running else None


def dashboard_line(checkout: Checkout | None = None) -> str:
    """Returns a line with the address of Ray's dashboard and the file with the token that it asks for."""
    checkout = checkout or this_checkout()
    environment = ray_environment(checkout)
    return (
        f"Ray's dashboard: {environment['RAY_API_SERVER_ADDRESS']} (when it asks for a token, paste the content of "
        f"{environment['RAY_AUTH_TOKEN_PATH']})"
    )


def _background(checkout: Checkout) -> Background:
    return Background(name="ray", run_dir=checkout.run_dir)


def _command(checkout: Checkout, *, num_cpus: int | None) -> list[str]:
    cpus = num_cpus or (2 if os.cpu_count() == 1 else None)
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address", "127.0.0.1", "--port", str(checkout.ray_port)),
        *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1"),
        *("--dashboard-port", str(checkout.dashboard_port)),
        # Free ports for unused services, because the defaults collide with other heads.
        *("--dashboard-agent-listen-port", "0", "--ray-client-server-port", str(free_port())),
        *("--temp-dir", str(checkout.temp_dir / "ray")),
        *(("--num-cpus", str(cpus)) if cpus else ()),
    ]


def _driver_environment(checkout: Checkout) -> dict[str, str]:
    """Creates the head's token if there is none, and returns the variables that drivers need."""
    token_path = checkout.run_dir / "ray_token"
    if not token_path.exists():
        write_private(token_path, secrets.token_hex(32))
    environment = {
        "RAY_ADDRESS": f"127.0.0.1:{checkout.ray_port}",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{checkout.dashboard_port}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        # Otherwise Ray replaces 127.0.0.1 with the machine's address and listens on all interfaces.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_TMPDIR": str(checkout.temp_dir),
    }
    write_environment(checkout.run_dir / "ray.env", environment)
    return environment


def _base_environment(checkout: Checkout) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **QUIET_AND_QUICK,
        **kept,
        **s3_environment(checkout),
        "TMPDIR": str(checkout.temp_dir),
        "KERAS_HOME": str(checkout.temp_dir / "keras"),
        # So that `python` in a job's command is this interpreter.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }


def _s3_fingerprint(checkout: Checkout) -> str:
    """Returns a hash that identifies the S3 that jobs use, without revealing its secret."""
    variables = {**os.environ, **s3_environment(checkout)}
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
    return hashlib.sha256(json.dumps([variables.get(name) for name in names]).encode()).hexdigest()


def _check_same_s3(running: Record, checkout: Checkout) -> None:
    if running.facts["s3"] != _s3_fingerprint(checkout):
        raise UserError(
            "the local Ray head is running with other S3 settings than this shell's, and its workers would use those; "
            "stop it (`make stop`) and start it again"
        )


def _answers(checkout: Checkout, background: Background) -> bool:
    """Returns whether jobs can be submitted: the head has started, and its dashboard answers."""
    if "Ray runtime started" not in background.log_path.read_text(errors="replace"):
        return False
    token = (checkout.run_dir / "ray_token").read_text()
    connection = http.client.HTTPConnection("127.0.0.1", checkout.dashboard_port, timeout=5)
    try:
        connection.request("GET", "/api/version", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
