"""Tells Ray Train's workers each other's addresses; loads no TensorFlow, so drivers and controllers start quickly."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig


@dataclass
class CollectiveConfig(BackendConfig):
    """Ray Train backend that sets TF_CONFIG on every worker and nothing else.

    Ray's own TensorFlow backend forces legacy Keras and imports TensorFlow into its controller.
    """

    @property
    def backend_cls(self) -> type[Backend]:
        """The class that sets up the workers."""
        return _CollectiveBackend


class _CollectiveBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:  # noqa: ARG002 - Ray's signature
        if len(worker_group) == 1:
            return
        addresses = worker_group.execute(_free_address)
        ray.get(
            [
                worker_group.execute_single_async(rank, _set_tf_config, addresses=addresses, index=rank)
                for rank in range(len(addresses))
            ]
        )


def _free_address() -> str:
    """Returns this worker's address with a currently free port."""
    host = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _set_tf_config(addresses: list[str], index: int) -> None:
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
