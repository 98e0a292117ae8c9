"""Waits for CPUs and GPUs of a Ray cluster, and says what is wanted and what holds it.

Ray queues without a word what finds no room. `wait_for` looks for the room before a job starts anything, and
`reporting_waits` watches over what has been started: its workers may be queued later, after a failure.

The state comes from Ray's control store, which every driver reaches; Ray's state service needs the dashboard.
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
"""So long a job waits in silence: what has just ended gives its CPUs back a little later."""
AGAIN_SECONDS = 60.0
LOOK_SECONDS = 0.5
LET_GO_SECONDS = 1.0
"""So long Ray may take to count what has just been given back."""
NAMED = ("CPU", "GPU")
"""What is listed of what others hold."""
MAX_HOLDERS = 4
MAX_COMMAND = 100

Resources = Mapping[str, float]
_bound: float | None = None


@dataclass(frozen=True, kw_only=True)
class Need:
    """Equal shares of a cluster's resources, each of which must fit on one machine."""

    what: str
    """Who needs them: `2 training workers`."""
    resources: Resources
    """What one share has."""
    count: int = 1

    def fits(self, machines: Sequence[Resources]) -> bool:
        """Says whether machines with these resources have room for all shares."""
        return sum(self._on(machine) for machine in machines) >= self.count

    def _on(self, machine: Resources) -> float:
        shares = [machine.get(name, 0.0) / amount for name, amount in self.resources.items() if amount > 0]
        return math.floor(min(shares) + 1e-6) if shares else math.inf

    @property
    def names(self) -> list[str]:
        """The resources that it takes of what is listed."""
        return [name for name in NAMED if self.resources.get(name, 0) > 0]

    def __str__(self) -> str:
        """Returns who needs how much."""
        return f"{self.what} ({f'{self.count} x ' if self.count > 1 else ''}{_amounts(self.resources, self.names)})"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster's resources at one time."""

    total: Sequence[Resources]
    """What each machine has."""
    free: Sequence[Resources]
    """What of it nobody holds."""
    holders: Mapping[str, Resources]
    """What others hold, by their names."""

    def describe(self, need: Need) -> str:
        """Returns what is free of what is needed, and what holds the rest."""
        free = " and ".join(f"{_sum(self.free, name):g} of {_sum(self.total, name):g} {name}s" for name in need.names)
        if not need.fits(self.total):
            return f"{free} are free, and the cluster must grow before that is enough"
        held = [
            f"{who} ({_amounts(amounts, need.names)})"
            for who, amounts in self.holders.items()
            if any(amounts.get(name, 0) > 0 for name in need.names)
        ]
        more = f" and {len(held) - MAX_HOLDERS} more" if len(held) > MAX_HOLDERS else ""
        return f"{free} are free; held by {', '.join(held[:MAX_HOLDERS]) or 'work that Ray does not name'}{more}"


def bound(seconds: float | None) -> None:
    """Sets how long this process waits for resources at most, in seconds; None is without a bound.

    Raises:
        UserError: it is negative or no number.
    """
    global _bound  # Of the process, as the connection to Ray is.
    if seconds is not None and not 0 <= seconds < math.inf:
        raise UserError(f"--wait-seconds is {seconds:g}; use 0 or more, or leave it out to wait without a bound")
    _bound = seconds


def wait_for(need: Need, *, say: Say) -> None:
    """Returns when the connected cluster has had room for all of `need` at once.

    Raises:
        UserError: there was no room within the bound.
    """
    started = time.monotonic()
    limit = math.inf if _bound is None else _bound
    while not need.fits(_free()):
        if time.monotonic() - started >= min(LET_GO_SECONDS, limit):
            break
        time.sleep(0.02)
    else:
        return
    next_words = min(FIRST_SECONDS, limit)
    has_spoken = False
    with _asked_for(need) as has_room:
        while not has_room():
            waited = time.monotonic() - started
            if waited < next_words:
                continue
            cluster = look()
            state = cluster.describe(need)
            if waited >= limit:
                cure = "end what holds them" if need.fits(cluster.total) else "add machines"
                raise UserError(
                    f"the cluster had no room for {need} within --wait-seconds {limit:g}: {state}; {cure}, or "
                    "wait longer"
                )
            say(_words(need, state, waited))
            has_spoken = True
            next_words = min(waited + AGAIN_SECONDS, limit)
    if has_spoken:
        say(f"found room for {need.what} after {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _asked_for(need: Need) -> Iterator[Callable[[], bool]]:
    """Asks for room by a placement group, which the scheduler and an autoscaler heed, and gives it back at the end."""
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([dict(need.resources)] * need.count)
    try:
        yield lambda: bool(group.wait(LOOK_SECONDS))
    finally:
        remove_placement_group(group)


def _words(need: Need, state: str, waited: float) -> str:
    until = "without a bound; --wait-seconds sets one" if _bound is None else f"{_bound - waited:.0f} s longer at most"
    return f"waiting for room for {need}: {state}; waiting {until}"


@contextlib.contextmanager
def reporting_waits(need: Need, *, say: Say) -> Iterator[None]:
    """Says, while the context lasts, when placement groups of this job find no room and none of them has any."""
    ended = threading.Event()

    def watch() -> None:
        waiting_since = None
        next_words = 0.0
        while not ended.wait(FIRST_SECONDS):
            now = time.monotonic()
            try:
                state = look().describe(need) if _is_queued() else None
            except Exception:  # The cluster is going away, which the work itself will meet.
                continue
            if state is None:
                waiting_since = None
            elif waiting_since is None:  # It may just be starting.
                waiting_since = next_words = now
            elif now >= next_words:
                say(f"waiting for room for {need}, for {now - waiting_since + FIRST_SECONDS:.0f} s: {state}")
                next_words = now + AGAIN_SECONDS

    watcher = threading.Thread(target=watch, name="telling-of-waits", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def look() -> Cluster:
    """Returns the connected cluster's resources and who holds them."""
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
    untold = {name: _sum(total, name) - _sum(free, name) - _sum(list(holders.values()), name) for name in NAMED}
    if any(amount > 1e-6 for amount in untold.values()):
        named = [name for job, name in jobs.items() if job != own and name not in holders] or list(jobs.values())
        add("tasks of " + " or ".join(named) if named else "tasks", {k: max(0.0, v) for k, v in untold.items()})
    return Cluster(total=total, free=free, holders={who: held for who, held in holders.items() if any(held.values())})


def _free() -> list[Resources]:
    import ray

    return list(ray._private.state.available_resources_per_node().values())


def _is_queued() -> bool:
    """Says whether placement groups of this job wait for room, and none with CPUs or GPUs has got any."""
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

    return ray._private.state.state._connect_and_get_accessor()  # What Ray's own tables are made of lacks resources.


def _messages() -> Any:
    from ray.core.generated import gcs_pb2  # Made by protoc, without types.

    return gcs_pb2


def _groups() -> list[Any]:
    gcs_pb2 = _messages()
    return [gcs_pb2.PlacementGroupTableData.FromString(row) for row in _accessor().get_placement_group_table()]


def _actors() -> list[Any]:
    gcs_pb2 = _messages()
    return [gcs_pb2.ActorTableData.FromString(row) for row in _accessor().get_actor_table(None, "ALIVE")]


def _job_names(own: str) -> dict[str, str]:
    """Returns the names of the jobs that run, by Ray's id: their commands; Ray's own jobs have none."""
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
    """Returns the name that people know an actor by; None where it has none."""
    kind, _, rest = actor.class_name.partition(":")
    if kind == "ServeReplica":  # Then the application and the deployment.
        return f"the endpoint {rest.partition(':')[0]}"
    return f"the actor {actor.name}" if actor.name else None


def _sum(machines: Sequence[Resources], name: str) -> float:
    return round(sum(machine.get(name, 0.0) for machine in machines), 4)


def _amounts(resources: Resources, names: Sequence[str]) -> str:
    return ", ".join(f"{resources[name]:g} {name}" for name in names if resources.get(name, 0) > 0)


def _command(entrypoint: str) -> str:
    """Returns a job's command as people know it: without the folder of its interpreter, and not of any length."""
    program, *arguments = entrypoint.split() or [""]
    command = " ".join([program.rpartition("/")[2], *arguments])
    return f"`{command if len(command) <= MAX_COMMAND else command[: MAX_COMMAND - 4].rstrip() + ' ...'}`"
