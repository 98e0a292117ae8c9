"""Connects a job's driver to Ray.

The cluster is the one of `RAY_ADDRESS`, which `ray job submit` sets. Without it a job starts a Ray of its own on this
machine for as long as it runs, so that every job also works as a plain command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textgen.private_folders import checkout_folder, checkout_root, made_private

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Keeps a node on 127.0.0.1 there; read when Ray is imported.
    "RAY_DATA_LOG_LEVEL": "WARNING",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # It watches for spot instances from a helper process of its own.
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
"""Settings of Ray and TensorFlow that must stand before they are imported; what the user has set stays."""


def connect() -> None:
    """Connects to the cluster of `RAY_ADDRESS`, or starts a local Ray; does nothing where it is connected."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("RAY_ADDRESS") and "ray" not in sys.modules:
        _require_token(_folder() / "alone_token")  # Ray reads these settings when it is imported.
    import ray

    if ray.is_initialized():
        return
    with _keeping_sigterm():
        _initialise(ray)


def _initialise(ray: Any) -> None:
    # What workers print stays in Ray's logs: a job's progress and errors reach its driver by ways of their own.
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": True}
    if os.environ.get("RAY_ADDRESS"):
        from ray.job_config import JobConfig

        ray.init(job_config=JobConfig(metadata={"name": job_name()}), **quiet)
        return
    # Workers import this code from the driver's working directory, wherever it is installed.
    paths = os.pathsep.join(filter(None, [str(checkout_root()), os.environ.get("PYTHONPATH")]))
    os.environ["PYTHONPATH"] = paths
    ray.init(
        num_cpus=_own_cpus(),
        include_dashboard=False,
        _temp_dir=str(_folder() / "alone"),
        _node_ip_address="127.0.0.1",
        **quiet,
    )


@contextlib.contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Lets SIGTERM do what it did before, where the process has said what: Ray makes it an exit of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def job_name() -> str:
    """Returns the name that Ray's dashboard shows of this driver: `textgen-train` of `python -m jobs.train`."""
    module = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) or ""
    return "-".join(["textgen", *([module.removeprefix("jobs.")] if module.startswith("jobs.") else [])])


def _folder() -> Path:
    """Returns this checkout's folder for temporary files, for this user's eyes only.

    Raises:
        UserError: it belongs to somebody else.
    """
    return made_private(checkout_folder(), variable="TMPDIR")


def _own_cpus() -> int | None:
    """Returns the CPUs that this process may use where they are not all; None leaves the count to Ray.

    Ray heeds the share of CPUs that a container is given, and not which of them `taskset` or a cpuset leaves.
    """
    own = len(os.sched_getaffinity(0))
    return own if own < (os.cpu_count() or own) else None


def _require_token(path: Path) -> None:
    """Lets in only who holds the token of this file; Ray would write one to the home folder."""
    if "RAY_AUTH_TOKEN_PATH" in os.environ or "RAY_AUTH_MODE" in os.environ:
        return
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
    os.environ["RAY_AUTH_MODE"] = "token"


def disconnect() -> None:
    """Ends the connection, and a local Ray with it."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
