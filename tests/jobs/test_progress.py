"""No job is silent for long: the last line is repeated, and counts are said now and then."""

from __future__ import annotations

import queue

import pytest

from jobs.progress import counted, never_silent


def test_silence_is_broken_by_the_last_line_and_ends_with_the_work() -> None:
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


def test_who_speaks_is_not_repeated() -> None:
    said: list[str] = []
    with never_silent("loading", say=said.append, seconds=3600) as say:
        say("one")
        say("two")
    assert said == ["one", "two"]


def test_an_error_ends_the_watch() -> None:
    with pytest.raises(RuntimeError, match="lost"), never_silent("loading", say=print, seconds=3600):
        raise RuntimeError("lost")


def test_counts_are_said_when_it_is_time() -> None:
    said: list[str] = []
    often, never = (counted("completed", 1200, say=said.append, seconds=seconds) for seconds in (0.0, 3600.0))
    often(31)
    never(40)
    often(1100)
    assert said == ["completed 31 of 1,200", "completed 1,100 of 1,200"]
