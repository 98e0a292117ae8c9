"""Removes the header and the licence that Project Gutenberg puts around a book."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

HEADER_LINES = 1000
"""Longest header, in lines. A file without a start marker in its first lines is read as a book without a header."""

_START = re.compile(r"\s*\*+\s*(START OF (THE|THIS) PROJECT GUTENBERG|END\W+THE SMALL PRINT)", re.IGNORECASE)
_END = re.compile(
    r"\s*(\*+\s*END OF (THE|THIS) PROJECT GUTENBERG|END OF ((THE|THIS) )?PROJECT GUTENBERG)", re.IGNORECASE
)

Line = tuple[int, str]
"""Line number and text."""


def book_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yields the lines between the start and end markers of each book, or all lines if there are no markers.

    The markers are `*** START OF THE PROJECT GUTENBERG EBOOK ... ***` and `*** END OF ...`, including the variants
    used over the years: with THIS, with ETEXT, without spaces, over two lines, and those of the 1990s
    (`*END*THE SMALL PRINT!`, `End of Project Gutenberg's ...`).
    """
    place: Literal["before", "marker", "inside", "after"] = "before"
    held: list[Line] = []  # Lines that turn out to be a header if a marker follows.
    for number, line in lines:
        if _START.match(line):
            held.clear()
            place = "inside" if _closes(line) else "marker"
        elif _END.match(line):
            yield from held
            held.clear()
            place = "after"
        elif place == "marker":  # A long title continues on the next line.
            if _closes(line) or line.isspace():
                place = "inside"
        elif place == "before":
            held.append((number, line))
            if len(held) == HEADER_LINES:
                yield from held
                held.clear()
                place = "inside"
        elif place == "inside":
            yield number, line
    yield from held


def _closes(line: str) -> bool:
    return line.rstrip().endswith("*")
