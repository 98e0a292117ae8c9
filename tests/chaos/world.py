"""The environment of the disturbed jobs: S3 behind a faulty proxy, or a local disk, and a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.ray_workers import ray_workers
from tests.faulty_s3 import FaultyS3, Rule
from textgen.local.background import free_port
from textgen.local.checkout import Checkout, this_checkout, write_private
from textgen.local.s3 import BUCKET, s3_environment, start_s3, stop_s3
from textgen.ray_session import ENVIRONMENT

Storage = Literal["s3", "local"]
ROOT = Path(__file__).resolve().parents[2]
NUM_NODES = 2
NODE_CPUS = 2
"""As counted by Ray; the machine may have fewer."""
PATIENCE_SECONDS = 300.0
"""Time for a job to recover from a fault, after which the test fails."""


def log(line: str) -> None:
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)


class World:
    """A context that keeps everything in one temporary folder, and whose processes reach S3, if used, by the proxy."""

    def __init__(self, *, storage: Storage) -> None:
        self._storage = storage
        self.s3: FaultyS3 | None = None
        """The proxy that the jobs use for S3; None on the local disk."""

    def __enter__(self) -> World:
        with contextlib.ExitStack() as stack:
            base = this_checkout().temp_dir
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Short, because the path of a Unix socket has at most 107 bytes.
            self.folder = Path(tempfile.mkdtemp(prefix="c", dir=base))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.checkout = Checkout(
                run_dir=self.folder / "run", s3_dir=self.folder / "s3", temp_dir=self.folder, s3_port=free_port()
            )
            if self._storage == "s3":
                start_s3(self.checkout)
                stack.callback(stop_s3, self.checkout)
                self.s3 = stack.enter_context(FaultyS3(self.checkout.s3_port))
            self._set_environment()
            self._cluster = self._start_cluster()
            stack.callback(self._cluster.shutdown)
            self.address: str = self._cluster.address
            self.at_end = stack.pop_all()
            """Callbacks that run in reverse order when the context ends."""
        return self

    def __exit__(self, *error: Any) -> None:
        self.at_end.__exit__(*error)

    @property
    def bucket_folder(self) -> Path:
        """The folder in which the S3 server stores the bucket, or to which the jobs write on a local disk."""
        return self.checkout.s3_dir / BUCKET

    @property
    def home(self) -> str:
        """The same folder as the jobs address it."""
        return f"s3://{BUCKET}" if self.s3 is not None else str(self.bucket_folder)

    def under(self, rule: Rule) -> contextlib.AbstractContextManager[None]:
        """Applies a rule to requests to S3 within the context; does nothing on a local disk."""
        return self.s3.under(rule) if self.s3 is not None else contextlib.nullcontext()

    def set_rule(self, rule: Rule) -> None:
        """Applies a rule to requests to S3 from now on; does nothing on a local disk."""
        if self.s3 is not None:
            self.s3.rule = rule

    def restart_s3(self) -> None:
        """Stops the S3 server and starts it again."""
        stop_s3(self.checkout)
        start_s3(self.checkout)

    def replace_node(self, number: int) -> None:
        """Kills a node with everything on it, and adds another one."""
        nodes = sorted(self._cluster.worker_nodes, key=lambda node: node.node_id)
        self.remove_node(nodes[number % len(nodes)])
        self._add_node()

    def drain_node(self, number: int) -> Any:
        """Announces the preemption of a node, adds another one, and returns the announced node."""
        from ray._raylet import GcsClient
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        nodes = sorted(self._cluster.worker_nodes, key=lambda node: node.node_id)
        node = nodes[number % len(nodes)]
        self._add_node()
        deadline = round(1000 * (time.time() + PATIENCE_SECONDS))
        reason = DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
        accepted, why = GcsClient(address=self.address).drain_node(node.node_id, reason, "preempted", deadline)
        assert accepted, why
        return node

    def remove_node(self, node: Any) -> None:
        """Kills a node with everything on it."""
        self._cluster.remove_node(node, allow_graceful=False)

    def processes(self, name: str) -> list[psutil.Process]:
        """Returns the Ray workers of this cluster whose task or actor starts with `name`."""
        return ray_workers(self.folder, name)

    def _set_environment(self) -> None:
        for name in list(os.environ):
            if name.startswith(("AWS_", "RAY_", "TEXTGEN_")):
                del os.environ[name]
        token = self.folder / "token"
        write_private(token, os.urandom(32).hex())
        os.environ.update(ENVIRONMENT)
        if self.s3 is not None:
            os.environ.update(s3_environment(self.checkout) | {"AWS_ENDPOINT_URL": self.s3.endpoint})
        os.environ.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(token),
            RAY_USAGE_STATS_ENABLED="0",
            TMPDIR=str(self.folder),
            KERAS_HOME=str(self.folder / "keras"),
            PYTHONPATH=str(ROOT),
        )

    def _start_cluster(self) -> Any:
        from ray.cluster_utils import Cluster  # After the variables that Ray reads at import.

        cluster = Cluster()
        # The head computes nothing, because a cluster cannot survive its loss.
        self._node: dict[str, Any] = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
        cluster.add_node(num_cpus=0, gcs_server_port=free_port(), temp_dir=str(self.folder / "ray"), **self._node)
        self._cluster = cluster
        for _ in range(NUM_NODES):
            self._add_node()
        return cluster

    def _add_node(self) -> None:
        self._cluster.add_node(num_cpus=NODE_CPUS, **self._node)
