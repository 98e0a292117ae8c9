"""Makes the paths in a job's command mean the same in the copy of the checkout that the job runs in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

PATH_FLAGS = frozenset(
    {"--source", "--windows", "--output", "--checkpoint", "--from", "--prompts", "--file", "--input"}
)
"""Flags of the jobs that take a place; `tests/local/test_paths.py` compares them with the jobs' own help."""
NAMES = frozenset({"movie-reviews", "-"})
"""Values of these flags that are no places: the built-in corpus, and stdin."""
URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def with_absolute_paths(entrypoint: Sequence[str], *, base: Path) -> list[str]:
    """Returns the command of a job with its relative paths made absolute; other commands are left alone.

    A job of the local head runs in a copy of the checkout, which lacks what `.rayignore` names and is deleted later: a
    relative path would name nothing there, and what is written would be lost.

    Args:
        entrypoint: `python -m jobs.NAME` and its arguments.
        base: what relative paths are relative to.
    """
    words = list(entrypoint)
    if not any(option == "-m" and module.startswith("jobs.") for option, module in itertools.pairwise(words)):
        return words
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if equals and flag in PATH_FLAGS:
            words[index] = f"{flag}={_absolute(value, base)}"
        elif index and words[index - 1] in PATH_FLAGS:
            words[index] = _absolute(word, base)
    return words


def _absolute(value: str, base: Path) -> str:
    if not value or value in NAMES or URI.match(value) or value.startswith(("/", "~")):
        return value
    return str(base / value)
