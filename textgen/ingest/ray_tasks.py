"""Runs a function over items with Ray Data: one streaming task an item, results as they come."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from textgen.errors import UserError
from textgen.progress import Say
from textgen.ray_session import connect
from textgen.storage import disk_full_as_user_error
from textgen.waiting import Need, wait_for

Values = dict[str, Any]
Task = Callable[..., Iterator[Values]]


def run_tasks(task: Task, items: Sequence[Mapping[str, Any]], *, say: Say, **arguments: Any) -> Iterator[Values]:
    """Yields what `task(item, **arguments)` yields for every item, in no particular order, while it is running.

    Connects to Ray where that has not been done, and waits until it has a CPU to spare. Items and results are
    JSON-ready dictionaries: what is large goes through storage.

    Raises:
        UserError: as a task raised it. It comes back as a value, so that Ray logs no traceback of it. Or there was no
            CPU within the bound.
    """
    if not items:
        return
    connect()
    import ray.data

    wait_for(Need(what="the tasks that read and write", resources={"CPU": 1}), say=say)
    with quiet_ray_data():
        rows = ray.data.from_items(
            [{"item": json.dumps(dict(item))} for item in items], override_num_blocks=len(items)
        ).map_batches(functools.partial(_run_one, task=task, arguments=arguments), batch_size=1)
        for row in rows.iter_rows():
            values = json.loads(row["result"])
            if "user_error" in values:
                raise UserError(values["user_error"])
            yield values["value"]


def _run_one(batch: Any, task: Task, arguments: Mapping[str, Any]) -> Iterator[Any]:
    for item in batch["item"]:
        try:
            with disk_full_as_user_error():
                for value in task(json.loads(str(item)), **arguments):
                    yield {"result": [json.dumps({"value": value})]}
        except UserError as error:
            yield {"result": [json.dumps({"user_error": str(error)})]}


@contextlib.contextmanager
def quiet_ray_data() -> Iterator[None]:
    """Turns off Ray Data's own output, and its gathering of results into large blocks, which would delay progress."""
    import ray.data

    settings = {"enable_progress_bars": False, "print_on_execution_start": False, "target_max_block_size": 1}
    context = ray.data.DataContext.get_current()
    logger = logging.getLogger("ray.data")
    before = {name: getattr(context, name) for name in settings}
    level = logger.level
    try:
        for name, value in settings.items():
            setattr(context, name, value)
        logger.setLevel(logging.ERROR)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        logger.setLevel(level)
