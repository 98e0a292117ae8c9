"""Background writes run in order and one at a time, and no failure is lost."""

from __future__ import annotations

import threading

import pytest

from textgen.runs.saving import BackgroundWriter


def test_writes_run_in_the_background_one_at_a_time_and_in_order() -> None:
    may_write, written = threading.Event(), []

    def first() -> None:
        assert may_write.wait(30)
        written.append("first")

    with BackgroundWriter() as writer:
        writer.write(first)
        assert written == []  # The caller does not wait.
        may_write.set()
        writer.write(lambda: written.append("second"))
        assert "first" in written  # At most one is pending.
        writer.write(lambda: written.append("third"))
        writer.wait()
        assert written == ["first", "second", "third"]
        writer.write(lambda: written.append("last"))
    assert written[-1] == "last"


def fail() -> None:
    raise OSError("the disk is full")


def test_a_failure_reaches_the_caller_at_the_next_write_or_the_end() -> None:
    written: list[str] = []
    with BackgroundWriter() as writer:
        writer.write(fail)
        with pytest.raises(OSError, match="disk is full"):
            writer.write(lambda: written.append("never"))
        writer.wait()  # Raised only once.
        writer.write(lambda: written.append("again"))
    assert written == ["again"]
    with pytest.raises(OSError, match="disk is full"), BackgroundWriter() as writer:
        writer.write(fail)


def test_another_error_is_not_hidden_by_the_writes() -> None:
    def interrupted() -> None:
        with BackgroundWriter() as writer:
            writer.write(fail)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
