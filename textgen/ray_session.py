"""Connects a job's driver to Ray.

It connects to the cluster at `RAY_ADDRESS`, which `ray job submit` sets. Without the variable, it starts a local Ray
that ends with the job, so every job can also be run directly.
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
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Keeps nodes on 127.0.0.1 there; read on import.
    "RAY_DATA_LOG_LEVEL": "WARNING",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # It would start a process that watches for spot preemption.
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
"""Settings of Ray and TensorFlow that must be set before their import. Values set by the user take precedence."""


def connect() -> None:
    """Connects to the cluster at `RAY_ADDRESS`, or starts a local Ray; does nothing if already connected."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("RAY_ADDRESS") and "ray" not in sys.modules:
        _require_token(_folder() / "alone_token")  # Ray reads these settings on import.
    import ray

    if ray.is_initialized():
        return
    with _keeping_sigterm():
        _initialise(ray)


def _initialise(ray: Any) -> None:
    # Output of workers stays in Ray's logs. Progress and errors of a job reach the driver by other means.
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": True}
    if os.environ.get("RAY_ADDRESS"):
        from ray.job_config import JobConfig

        ray.init(job_config=JobConfig(metadata={"name": job_name()}), **quiet)
        return
    # Makes workers import this package even if it is not installed.
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
    """Restores the process's SIGTERM handler, which Ray replaces with its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def job_name() -> str:
    """Returns this driver's name for Ray's dashboard, such as `textgen-train` for `python -m jobs.train`."""
    module = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) or ""
    return "-".join(["textgen", *([module.removeprefix("jobs.")] if module.startswith("jobs.") else [])])


def _folder() -> Path:
    """Returns this checkout's private folder for temporary files.

    Raises:
        UserError: It belongs to another user.
    """
    return made_private(checkout_folder(), variable="TMPDIR")


def _own_cpus() -> int | None:
    """Returns the number of CPUs that this process may use if it is restricted; None leaves the count to Ray.

    Ray respects a container's CPU quota, but not CPU affinity (`taskset` or a cpuset).
    """
    own = len(os.sched_getaffinity(0))
    return own if own < (os.cpu_count() or own) else None


def _require_token(path: Path) -> None:
    """Requires the token in this file for connections. By default, Ray would write one to the home folder."""
    if "RAY_AUTH_TOKEN_PATH" in os.environ or "RAY_AUTH_MODE" in os.environ:
        return
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
    os.environ["RAY_AUTH_MODE"] = "token"


def disconnect() -> None:
    """Disconnects, and stops a local Ray."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
