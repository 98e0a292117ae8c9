"""Makes the paths in a job's command valid in the copy of the checkout in which the job runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

PATH_FLAGS = frozenset(
    {"--source", "--windows", "--output", "--checkpoint", "--from", "--prompts", "--file", "--input"}
)
"""The jobs' flags for paths and URIs; `tests/local/test_paths.py` compares them with the jobs' help."""
NAMES = frozenset({"movie-reviews", "-"})
"""Values of these flags that are not paths: the built-in corpus, and stdin."""
URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def with_absolute_paths(entrypoint: Sequence[str], *, base: Path) -> list[str]:
    """Returns a job's command with absolute paths in place of relative ones; other commands are returned unchanged.

    A job of the local head runs in a copy of the checkout without the files that `.rayignore` excludes. The copy is
    deleted later, so relative paths would not exist there, and output would be lost.

    Args:
        entrypoint: `python -m jobs.NAME` and its arguments.
        base: the folder that relative paths refer to.
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
