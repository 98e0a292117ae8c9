"""The type of callbacks for progress messages: a job prints them, a worker writes them to the run's log."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Receives one line of text, without a line break."""


def silent(message: str) -> None:
    """Discards a progress message."""
