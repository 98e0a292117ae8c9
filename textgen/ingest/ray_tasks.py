"""Runs a function over items with Ray Data: one streaming task per item, with results as they arrive."""

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
    """Yields the results of `task(item, **arguments)` for all items, as they arrive and in any order.

    Connects to Ray if necessary and waits until a CPU is available. Items and results are dictionaries of JSON values;
    large data goes through storage.

    Raises:
        UserError: A task raised it, or no CPU became available in time. A task's error is returned as a value, so Ray
            does not log a traceback.
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
    """Disables Ray Data's output, and its merging of results into large blocks, which delays progress reports."""
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
