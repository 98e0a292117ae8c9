"""No job is silent for long: the last line is repeated, and counts are reported from time to time."""

from __future__ import annotations

import queue

import pytest

from jobs.progress import counted, never_silent


def test_the_last_line_is_repeated_until_the_work_ends() -> None:
    said: queue.Queue[str] = queue.Queue()
    with never_silent("loading", say=said.put, seconds=0.01) as say:
        assert said.get(timeout=60).startswith("loading ... ")
        say("reading 3 files")
        while (line := said.get(timeout=60)).startswith("loading"):
            pass
        assert line == "reading 3 files"
        assert said.get(timeout=60).startswith("reading 3 files ... ")
    while not said.empty():
        said.get_nowait()
    with pytest.raises(queue.Empty):
        said.get(timeout=0.05)


def test_a_job_that_reports_often_repeats_nothing() -> None:
    said: list[str] = []
    with never_silent("loading", say=said.append, seconds=3600) as say:
        say("one")
        say("two")
    assert said == ["one", "two"]


def test_an_error_ends_the_watch() -> None:
    with pytest.raises(RuntimeError, match="lost"), never_silent("loading", say=print, seconds=3600):
        raise RuntimeError("lost")


def test_counts_are_reported_at_intervals() -> None:
    said: list[str] = []
    often, never = (counted("completed", 1200, say=said.append, seconds=seconds) for seconds in (0.0, 3600.0))
    often(31)
    never(40)
    often(1100)
    assert said == ["completed 31 of 1,200", "completed 1,100 of 1,200"]
