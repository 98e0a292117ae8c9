"""The type of what receives lines of progress: a job prints them, a worker writes them to its run's log."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Receives one line for people, without its line break."""


def silent(message: str) -> None:
    """Discards a line of progress."""
