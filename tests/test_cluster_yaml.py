"""The AWS cluster passes Ray's own checks, keeps idle GPUs away, and has no secret in it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The configuration as Ray completes it."""
    with open(ROOT / "cluster.yaml") as stream:
        return dict(prepare_config(yaml.safe_load(stream)))


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    validate_config(cluster)


def test_gpu_workers_come_on_demand(cluster: dict[str, Any]) -> None:
    workers = {
        name: node for name, node in cluster["available_node_types"].items() if name != cluster["head_node_type"]
    }
    assert {node["min_workers"] for node in workers.values()} == {0}
    assert all(0 < node["max_workers"] <= cluster["max_workers"] for node in workers.values())


def test_every_node_reaches_s3_by_a_role_and_not_by_keys(cluster: dict[str, Any]) -> None:
    for node in cluster["available_node_types"].values():
        assert node["node_config"]["IamInstanceProfile"]["Name"] == "textgen-s3"
    assert not re.search(r"AWS_(ACCESS|SECRET|SESSION)|AKIA", json.dumps(cluster))


def test_every_node_starts_with_the_token_and_the_region(cluster: dict[str, Any]) -> None:
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [command for command in cluster[key] if "ray start" in command]
        assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" in start
        assert f"AWS_REGION={cluster['provider']['region']} " in start
    assert "--disable-usage-stats" in "".join(cluster["head_start_ray_commands"])


def test_nodes_install_the_pinned_versions(cluster: dict[str, Any]) -> None:
    assert "--require-hashes -r ~/requirements.lock" in "".join(cluster["head_setup_commands"])
    assert "--require-hashes -r ~/requirements-cuda.lock" in "".join(cluster["worker_setup_commands"])
    for target, source in cluster["file_mounts"].items():
        assert Path(source).name in ("cluster_token", Path(target).name)
        assert source.startswith(".run/") or (ROOT / source).exists()


def test_the_images_have_the_pinned_ray(cluster: dict[str, Any]) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (pinned,) = [re.sub(r".*==", "", line) for line in dependencies if line.startswith("ray[")]
    for key in ("head_image", "worker_image"):
        assert cluster["docker"][key].startswith(f"rayproject/ray:{pinned}-py311-")
