"""What a job reports while a cluster lacks resources for it, and how it fails or continues."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen import waiting
from textgen.errors import UserError
from textgen.ingest.ray_tasks import run_tasks
from textgen.waiting import Cluster, Need, reporting_waits, wait_for

# Ray Data 2.60 sets deprecated fields of its own context when it copies the context to a task.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


@pytest.mark.parametrize(
    ("resources", "count", "machines", "fits"),
    [
        ({"CPU": 1}, 3, [{"CPU": 2}, {"CPU": 1}], True),
        (
            {"CPU": 2},
            2,
            [{"CPU": 3}, {"CPU": 1}],
            False,
        ),  # 4 in total, but one share would be spread over two machines.
        ({"CPU": 1, "GPU": 1}, 2, [{"CPU": 8, "GPU": 1}, {"CPU": 8}], False),
        ({"CPU": 1, "GPU": 1}, 2, [{"CPU": 8, "GPU": 1}, {"CPU": 1, "GPU": 4}], True),
        ({"CPU": 0.1}, 3, [{"CPU": 0.3}], True),  # 0.3 / 0.1 is slightly less than 3.
        ({"CPU": 0.5}, 1, [], False),
        ({"CPU": 0, "memory": 5}, 2, [{"memory": 9}], False),
    ],
)
def test_each_share_fits_on_one_machine(
    resources: dict[str, float], count: int, machines: list[dict[str, float]], fits: bool
) -> None:
    assert Need(what="workers", resources=resources, count=count).fits(machines) == fits


def test_the_description_names_free_resources_and_holders() -> None:
    machines = [{"CPU": 4.0, "GPU": 1.0, "memory": 9.0}, {"CPU": 2.0}]
    cluster = Cluster(
        total=machines,
        free=[{"CPU": 0.5}, {"CPU": 1.0}],
        holders={"`python -m jobs.train`": {"CPU": 4.0, "GPU": 1.0}, "the endpoint small": {"CPU": 0.5, "GPU": 0.0}},
    )
    on_cpus = cluster.describe(Need(what="workers", resources={"CPU": 2}, count=2))
    assert on_cpus.startswith("1.5 of 6 CPUs are free")
    assert "`python -m jobs.train` (4 CPU)" in on_cpus
    assert "the endpoint small (0.5 CPU)" in on_cpus
    on_gpus = cluster.describe(Need(what="workers", resources={"GPU": 1}))
    assert on_gpus.startswith("0 of 1 GPUs are free")
    assert "endpoint" not in on_gpus  # It holds no GPUs.
    assert "must grow" in cluster.describe(Need(what="workers", resources={"GPU": 1}, count=2))


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_an_invalid_time_limit_is_an_error(seconds: float) -> None:
    with pytest.raises(UserError, match=r"^--wait-seconds is "):
        waiting.bound(seconds)


def test_a_command_is_shortened_and_shown_without_folders() -> None:
    assert waiting._command("/a/b/bin/python -m jobs.serve") == "`python -m jobs.serve`"
    assert len(waiting._command("python " + "x" * 500)) == waiting.MAX_COMMAND + 2


class Sitter:
    """Holds its resources until it is killed."""

    def sit(self) -> None:
        """Returns once the actor has started."""


def echo(item: Any) -> Iterator[dict[str, Any]]:
    """A task."""
    yield {"number": item["number"]}


@pytest.fixture
def sitter(ray_head: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts a named actor that holds both CPUs of the head, and makes waits be reported immediately."""
    import ray

    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "LET_GO_SECONDS", 0.0)
    wait_for(Need(what="the sitter", resources={"CPU": 2}), say=print)
    actor = ray.remote(num_cpus=2)(Sitter).options(name="couch").remote()  # type: ignore[attr-defined]
    ray.get(actor.sit.remote())
    yield actor
    ray.kill(actor)
    waiting.bound(None)


def unplaced() -> list[str]:
    """Returns the placement groups that wait for resources."""
    return [group.name for group in waiting._groups() if group.state in (group.PENDING, group.RESCHEDULING)]


@pytest.mark.ray
@pytest.mark.usefixtures("sitter")
def test_waiting_tasks_report_the_holders_and_fail_at_the_time_limit() -> None:
    said: list[str] = []
    waiting.bound(1.0)
    with pytest.raises(UserError, match=r"--wait-seconds 1.*the actor couch \(2 CPU\)"):
        list(run_tasks(echo, [{"number": 3}], say=said.append))
    assert "the actor couch (2 CPU)" in said[0]
    assert not unplaced()


@pytest.mark.ray
def test_tasks_continue_when_resources_become_free(sitter: Any) -> None:
    import ray

    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            ray.kill(sitter)

    waiting.bound(120.0)
    found = run_tasks(echo, [{"number": 3}, {"number": 4}], say=say)
    assert sorted(value["number"] for value in found) == [3, 4]
    assert "the actor couch (2 CPU)" in said[0]
    assert "became free" in said[-1]


@pytest.mark.ray
@pytest.mark.usefixtures("sitter")
def test_a_training_without_resources_starts_nothing(tmp_path: Path) -> None:
    from textgen.training.driver import train

    texts = ["the red dog ran", "a blue dog sat", "the dog"]
    manifest = written_manifest(str(tmp_path / "windows"), {"train": texts * 9, "val": texts, "test": texts[:2]})
    said: list[str] = []
    waiting.bound(0.0)
    with pytest.raises(UserError, match=r"2 training workers \(2 x 1 CPU\).*the actor couch"):
        train(tiny_spec(), manifest_uri=manifest.uri, output=str(tmp_path / "runs"), num_workers=2, say=said.append)
    assert not unplaced()


@pytest.mark.ray
def test_queued_work_is_reported(sitter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    reported = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        reported.set()

    group = placement_group([{"CPU": 1}])  # Like Ray Train's after losing a worker.
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.05)
    with reporting_waits(Need(what="1 training worker", resources={"CPU": 1}), say=say):
        assert reported.wait(60)
    assert "the actor couch (2 CPU)" in said[0]
    ray.kill(sitter)
    assert group.wait(60)
    assert not waiting._is_queued()
    remove_placement_group(group)
