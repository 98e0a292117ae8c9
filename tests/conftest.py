"""What the tests of a session share: one S3 server, one Ray head, both with folders and ports of their own."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from textgen import s3_client
from textgen.local.background import free_port
from textgen.local.checkout import Checkout, this_checkout
from textgen.local.head import ray_environment, start_head, stop_head
from textgen.local.s3 import s3_environment, start_s3, stop_s3

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Keeps the session's temporary files in the checkout's own folder, and the user's settings out of the tests."""
    settings.register_profile("textgen", deadline=None)  # How long an example takes is the machine's affair.
    settings.load_profile("textgen")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # As Ctrl-C: fixtures stop what they started.
    # A shell has it ignored in what it starts in the background, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    checkout = this_checkout()
    checkout.prepare()
    for name in list(os.environ):
        if name.startswith(("AWS_", "RAY_", "TEXTGEN_")):
            del os.environ[name]
    tempfile.tempdir = str(checkout.temp_dir)
    os.environ.update(
        TMPDIR=str(checkout.temp_dir),
        KERAS_HOME=str(checkout.temp_dir / "keras"),
        TF_CPP_MIN_LOG_LEVEL="2",
        AWS_EC2_METADATA_DISABLED="true",  # Nobody here has an instance's role, and asking for one takes seconds.
        # Ray reads these two when it is imported, which test modules do before any fixture runs.
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # Stay on 127.0.0.1.
        RAY_AUTH_MODE="token",
    )


WHOLE_FILE = re.compile(r"^pytestmark = .*pytest\.mark\.(ray|tensorflow)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out the files whose every test `-m "not tensorflow"` leaves out: importing them would load TensorFlow."""
    if collection_path.suffix != ".py":
        return None
    mark = WHOLE_FILE.search(collection_path.read_text())
    return True if mark and f"not {mark[1]}" in config.option.markexpr else None


GROUPS = ("ray", "chaos", "tensorflow", "slow")
"""Marks, the one that takes longest first: two processes are busy until the end then."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the tests begin with the groups that take longest."""
    items.sort(key=lambda item: [*GROUPS, ""].index(group_of(item.path)))


@functools.cache
def group_of(path: Path) -> str:
    """Returns the first of `GROUPS` that a file of tests has a mark of; an empty text where it has none."""
    marks = set(re.findall(r"pytest\.mark\.(\w+)", path.read_text()))
    return "chaos" if "chaos" in marks else next((mark for mark in GROUPS if mark in marks), "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives a file of tests to one process, and all that need Ray to the same one: they share a head."""
    from xdist.scheduler import LoadScopeScheduling

    class OneHead(LoadScopeScheduling):  # By marks, `--dist loadgroup` groups nothing with pytest 9.2.
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if group_of(ROOT / file) == "ray" else file

    config.option.loadscopereorder = False
    return OneHead(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stops what the processes of pytest-xdist left running: where they are interrupted, their fixtures may not end."""
    if not hasattr(session.config, "workerinput"):
        basetemp = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        for run_dir in basetemp.glob("popen-gw*/local*/run"):
            checkout = dataclasses.replace(this_checkout(), run_dir=run_dir)
            stop_head(checkout)
            stop_s3(checkout)


@pytest.fixture(scope="session")
def local_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Folders and free ports of the session's S3 server and Ray head."""
    folder = tmp_path_factory.mktemp("local")
    temp_dir = this_checkout().temp_dir / f"t{os.getpid()}"  # Short: the path of a Unix socket ends at 107 bytes.
    yield Checkout(
        run_dir=folder / "run",
        s3_dir=folder / "s3",
        temp_dir=temp_dir,
        s3_port=free_port(),
        ray_port=free_port(),
        dashboard_port=free_port(),
    )
    shutil.rmtree(temp_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server(local_checkout: Checkout) -> Iterator[str]:
    """Starts the S3 server, leads this process to it by the `AWS_*` variables, and yields the bucket's URI."""
    with pytest.MonkeyPatch.context() as patch:
        start_s3(local_checkout)
        for name, value in s3_environment(local_checkout).items():
            patch.setenv(name, value)
        s3_client.forget()
        yield "s3://textgen"
        stop_s3(local_checkout)
    s3_client.forget()


@pytest.fixture(scope="session")
def ray_head(local_checkout: Checkout, s3_server: str) -> Iterator[Checkout]:
    """Starts the Ray head with 2 CPUs and connects this process to it; workers import from this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            start_head(local_checkout, num_cpus=2, extra_environment={"PYTHONPATH": str(ROOT)})
            for name, value in ray_environment(local_checkout).items():
                patch.setenv(name, value)
            import ray

            ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
            yield local_checkout
            ray.shutdown()
        finally:
            stop_head(local_checkout)
