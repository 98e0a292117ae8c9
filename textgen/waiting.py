"""Waits for CPUs and GPUs of a Ray cluster, and reports what is needed and who holds the resources.

Ray queues work silently while resources are missing. `wait_for` waits for resources before a job starts anything, and
`reporting_waits` watches running work, whose workers may be queued again after a failure.

The state comes from Ray's global control store, which every driver can access; Ray's state API needs the dashboard.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgen.errors import UserError
from textgen.progress import Say

FIRST_SECONDS = 5.0
"""Time before a wait is reported, because work that has just ended releases its CPUs with a delay."""
AGAIN_SECONDS = 60.0
LOOK_SECONDS = 0.5
LET_GO_SECONDS = 1.0
"""Time that Ray may need to register released resources."""
NAMED = ("CPU", "GPU")
"""Resources that are listed in reports."""
MAX_HOLDERS = 4
MAX_COMMAND = 100

Resources = Mapping[str, float]
_bound: float | None = None


@dataclass(frozen=True, kw_only=True)
class Need:
    """A number of equal shares of resources, each of which must fit on one machine."""

    what: str
    """Description of what needs them, such as `2 training workers`."""
    resources: Resources
    """Resources of one share."""
    count: int = 1

    def fits(self, machines: Sequence[Resources]) -> bool:
        """Returns whether all shares fit on machines with these resources."""
        return sum(self._on(machine) for machine in machines) >= self.count

    def _on(self, machine: Resources) -> float:
        shares = [machine.get(name, 0.0) / amount for name, amount in self.resources.items() if amount > 0]
        return math.floor(min(shares) + 1e-6) if shares else math.inf

    @property
    def names(self) -> list[str]:
        """The listed resources that a share needs."""
        return [name for name in NAMED if self.resources.get(name, 0) > 0]

    def __str__(self) -> str:
        """Returns what needs how much."""
        return f"{self.what} ({f'{self.count} x ' if self.count > 1 else ''}{_amounts(self.resources, self.names)})"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A snapshot of a cluster's resources."""

    total: Sequence[Resources]
    """All resources, by machine."""
    free: Sequence[Resources]
    """Free resources, by machine."""
    holders: Mapping[str, Resources]
    """Resources in use, by the name of the holder."""

    def describe(self, need: Need) -> str:
        """Returns how much of the needed resources is free, and who holds the rest."""
        free = " and ".join(f"{_sum(self.free, name):g} of {_sum(self.total, name):g} {name}s" for name in need.names)
        if not need.fits(self.total):
            return f"{free} are free; the cluster is too small and must grow"
        held = [
            f"{who} ({_amounts(amounts, need.names)})"
            for who, amounts in self.holders.items()
            if any(amounts.get(name, 0) > 0 for name in need.names)
        ]
        more = f" and {len(held) - MAX_HOLDERS} more" if len(held) > MAX_HOLDERS else ""
        return f"{free} are free; the rest is held by {', '.join(held[:MAX_HOLDERS]) or 'unknown work'}{more}"


def bound(seconds: float | None) -> None:
    """Sets the longest time, in seconds, that this process waits for resources; None means no limit.

    Raises:
        UserError: The value is negative or not finite.
    """
    global _bound  # Applies to the process, like the connection to Ray.
    if seconds is not None and not 0 <= seconds < math.inf:
        raise UserError(f"--wait-seconds is {seconds:g}; use 0 or more, or omit it to wait without a limit")
    _bound = seconds


def wait_for(need: Need, *, say: Say) -> None:
    """Returns when the connected cluster has enough free resources for all of `need` at the same time.

    Raises:
        UserError: The resources did not become free within the time limit.
    """
    started = time.monotonic()
    limit = math.inf if _bound is None else _bound
    while not need.fits(_free()):
        if time.monotonic() - started >= min(LET_GO_SECONDS, limit):
            break
        time.sleep(0.02)
    else:
        return
    next_report = min(FIRST_SECONDS, limit)
    has_reported = False
    with _requested(need) as is_available:
        while not is_available():
            waited = time.monotonic() - started
            if waited < next_report:
                continue
            cluster = look()
            state = cluster.describe(need)
            if waited >= limit:
                advice = "end the work that holds them" if need.fits(cluster.total) else "add machines"
                raise UserError(
                    f"the cluster had no free resources for {need} within --wait-seconds {limit:g}: {state}; "
                    f"{advice}, or wait longer"
                )
            say(_report(need, state, waited))
            has_reported = True
            next_report = min(waited + AGAIN_SECONDS, limit)
    if has_reported:
        say(f"resources for {need.what} became free after {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _requested(need: Need) -> Iterator[Callable[[], bool]]:
    """Requests resources with a placement group, which the autoscaler also sees, and releases it at the end."""
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([dict(need.resources)] * need.count)
    try:
        yield lambda: bool(group.wait(LOOK_SECONDS))
    finally:
        remove_placement_group(group)


def _report(need: Need, state: str, waited: float) -> str:
    until = "without a limit (--wait-seconds sets one)" if _bound is None else f"up to {_bound - waited:.0f} s longer"
    return f"waiting for resources for {need}: {state}; waiting {until}"


@contextlib.contextmanager
def reporting_waits(need: Need, *, say: Say) -> Iterator[None]:
    """Reports, within the context, when all placement groups of this job are waiting for resources."""
    ended = threading.Event()

    def watch() -> None:
        waiting_since = None
        next_report = 0.0
        while not ended.wait(FIRST_SECONDS):
            now = time.monotonic()
            try:
                state = look().describe(need) if _is_queued() else None
            except Exception:  # The cluster is shutting down; the work itself will fail with an error.
                continue
            if state is None:
                waiting_since = None
            elif waiting_since is None:  # The work may just be starting.
                waiting_since = next_report = now
            elif now >= next_report:
                say(f"waiting for resources for {need}, for {now - waiting_since + FIRST_SECONDS:.0f} s: {state}")
                next_report = now + AGAIN_SECONDS

    watcher = threading.Thread(target=watch, name="reporting-waits", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def look() -> Cluster:
    """Returns the resources of the connected cluster and who holds them."""
    import ray

    own = ray.get_runtime_context().get_job_id()
    free = _free()
    total = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    jobs = _job_names(own)
    holders: dict[str, dict[str, float]] = {}

    def add(who: str, amounts: Resources) -> None:
        held = holders.setdefault(who, {})
        for name in NAMED:
            held[name] = held.get(name, 0.0) + amounts.get(name, 0.0)

    for group in _groups():
        if group.state == group.CREATED:
            for bundle in group.bundles:
                add(_of_job(jobs, group.creator_job_id.hex(), "a placement group"), bundle.unit_resources)
    for actor in _actors():
        if actor.state == actor.ALIVE and not any(actor.placement_group_id.strip(b"\xff")):
            who = _actor_name(actor) or _of_job(jobs, actor.job_id.hex(), f"an actor {actor.class_name}")
            add(who, actor.required_resources)
    unnamed = {name: _sum(total, name) - _sum(free, name) - _sum(list(holders.values()), name) for name in NAMED}
    if any(amount > 1e-6 for amount in unnamed.values()):
        named = [name for job, name in jobs.items() if job != own and name not in holders] or list(jobs.values())
        add("tasks of " + " or ".join(named) if named else "tasks", {k: max(0.0, v) for k, v in unnamed.items()})
    return Cluster(total=total, free=free, holders={who: held for who, held in holders.items() if any(held.values())})


def _free() -> list[Resources]:
    import ray

    return list(ray._private.state.available_resources_per_node().values())


def _is_queued() -> bool:
    """Returns whether placement groups of this job wait for CPUs or GPUs and none has received any."""
    import ray

    own = ray.get_runtime_context().get_job_id()
    groups = [
        group
        for group in _groups()
        if group.creator_job_id.hex() == own
        and any(bundle.unit_resources.get(name, 0) > 0 for bundle in group.bundles for name in NAMED)
    ]
    return any(group.state in (group.PENDING, group.RESCHEDULING) for group in groups) and not any(
        group.state == group.CREATED for group in groups
    )


def _accessor() -> Any:
    import ray

    return ray._private.state.state._connect_and_get_accessor()  # Ray's public tables lack resources.


def _messages() -> Any:
    from ray.core.generated import gcs_pb2  # Generated by protoc, without types.

    return gcs_pb2


def _groups() -> list[Any]:
    gcs_pb2 = _messages()
    return [gcs_pb2.PlacementGroupTableData.FromString(row) for row in _accessor().get_placement_group_table()]


def _actors() -> list[Any]:
    gcs_pb2 = _messages()
    return [gcs_pb2.ActorTableData.FromString(row) for row in _accessor().get_actor_table(None, "ALIVE")]


def _job_names(own: str) -> dict[str, str]:
    """Returns the commands of running jobs by Ray's job id, without Ray's internal jobs."""
    gcs_pb2 = _messages()
    names = {}
    table = _accessor().get_job_table(skip_submission_job_info_field=True, skip_is_running_tasks_field=True)
    for job in map(gcs_pb2.JobTableData.FromString, table):
        if not job.is_dead and not job.config.ray_namespace.startswith("_ray_internal"):
            names[job.job_id.hex()] = "this job" if job.job_id.hex() == own else _command(job.entrypoint)
    return names


def _of_job(jobs: Mapping[str, str], job: str, otherwise: str) -> str:
    return jobs.get(job, otherwise)


def _actor_name(actor: Any) -> str | None:
    """Returns a readable name for an actor, or None if it has no name."""
    kind, _, rest = actor.class_name.partition(":")
    if kind == "ServeReplica":  # Followed by the application and the deployment.
        return f"the endpoint {rest.partition(':')[0]}"
    return f"the actor {actor.name}" if actor.name else None


def _sum(machines: Sequence[Resources], name: str) -> float:
    return round(sum(machine.get(name, 0.0) for machine in machines), 4)


def _amounts(resources: Resources, names: Sequence[str]) -> str:
    return ", ".join(f"{resources[name]:g} {name}" for name in names if resources.get(name, 0) > 0)


def _command(entrypoint: str) -> str:
    """Returns a job's command without the path of the interpreter, shortened."""
    program, *arguments = entrypoint.split() or [""]
    command = " ".join([program.rpartition("/")[2], *arguments])
    return f"`{command if len(command) <= MAX_COMMAND else command[: MAX_COMMAND - 4].rstrip() + ' ...'}`"
