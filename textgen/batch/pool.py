"""Runs a function over items in a pool of Ray Data's actors, each of which keeps its model from item to item."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from textgen.errors import UserError
from textgen.ingest.ray_tasks import Task, Values, quiet_ray_data
from textgen.progress import Say
from textgen.ray_session import connect
from textgen.storage import disk_full_as_user_error
from textgen.waiting import LET_GO_SECONDS, Need, wait_for

MAX_RESTARTS = 10
"""How often a lost worker is restarted, so that rows that crash it end the job."""


def run_in_pool(
    task: Task, items: Sequence[Mapping[str, Any]], *, num_workers: int | None, say: Say, **arguments: Any
) -> Iterator[Values]:
    """Yields what `task(item, **arguments)` yields for every item, in no particular order, while it is running.

    An item that a lost worker had begun is done again by another one. What is yielded of it again is dropped, so that a
    task must yield the same number of values every time.

    Args:
        task: Is called in actors that last as long as there are items.
        items: JSON-ready.
        num_workers: Actors, one CPU each; None takes the CPUs that are free.
        say: Receives what is waited for.
        arguments: Of every call.

    Raises:
        UserError: as a task raised it, or there was no room within the bound, or workers were lost too often.
    """
    if not items:
        return
    connect()
    from ray.exceptions import RayActorError

    wait_for(Need(what="the workers", resources={"CPU": 1}, count=num_workers or 1), say=say)
    num_workers = min(num_workers or _free_cpus(), len(items))
    say(f"starting {num_workers} worker{'s' * (num_workers != 1)}")
    with quiet_ray_data():
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # What it logs as an error, it raises too.
        rows = _in_actors(task, items, num_workers=num_workers, arguments=arguments)
        try:
            for row in rows.iter_rows():
                values = json.loads(row["result"])
                if "user_error" in values:
                    raise UserError(values["user_error"])
                yield values["value"]
        except RayActorError as error:
            raise UserError(
                f"a worker was lost more than {MAX_RESTARTS} times: {str(error).strip().splitlines()[0]} What is "
                "finished is kept, and the same command continues; where memory was short, take fewer --num-workers"
            ) from error


def _free_cpus() -> int:
    """Returns the number of free CPUs, at least 1; waits for tasks that have just ended to release theirs."""
    import ray

    total = ray.cluster_resources().get("CPU", 1)
    started = time.monotonic()
    while (free := ray.available_resources().get("CPU", 0)) < total and time.monotonic() - started < LET_GO_SECONDS:
        time.sleep(0.1)
    return max(1, int(free))


def _in_actors(task: Task, items: Sequence[Mapping[str, Any]], *, num_workers: int, arguments: Any) -> Any:
    """Returns the dataset of what `task` yields."""
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    rows = ray.data.from_items([{"item": json.dumps(dict(item))} for item in items], override_num_blocks=len(items))
    with warnings.catch_warnings():
        # `max_restarts` has no other way in with Ray 2.60, and without it a row that kills its worker does so for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return rows.map_batches(
            _Worker,
            fn_constructor_args=(task, arguments),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=num_workers, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            max_restarts=MAX_RESTARTS,
        )


class _Worker:
    def __init__(self, task: Task, arguments: Mapping[str, Any]) -> None:
        self._task, self._arguments = task, arguments

    def __call__(self, batch: Any) -> Iterator[Any]:
        for item in batch["item"]:
            try:
                with disk_full_as_user_error():
                    for value in self._task(json.loads(str(item)), **self._arguments):
                        yield {"result": [json.dumps({"value": value})]}
            except UserError as error:  # As a value, so that Ray logs no traceback of it.
                yield {"result": [json.dumps({"user_error": str(error)})]}
