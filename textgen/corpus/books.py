"""Where a book begins and ends in a file of Project Gutenberg, which puts a header before it and a licence after it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

HEADER_LINES = 1000
"""Lines before the first marker that can be its header; a file without a marker among them has none."""

_START = re.compile(r"\s*\*+\s*(START OF (THE|THIS) PROJECT GUTENBERG|END\W+THE SMALL PRINT)", re.IGNORECASE)
_END = re.compile(
    r"\s*(\*+\s*END OF (THE|THIS) PROJECT GUTENBERG|END OF ((THE|THIS) )?PROJECT GUTENBERG)", re.IGNORECASE
)

Line = tuple[int, str]
"""Number and text of a line."""


def book_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yields the lines between the markers of each book; all of them where there are no markers.

    The markers are `*** START OF THE PROJECT GUTENBERG EBOOK ... ***` and `*** END OF ...`, in the spellings of all
    years: with THIS, with ETEXT, without spaces, over two lines, and those of the nineties (`*END*THE SMALL PRINT!`,
    `End of Project Gutenberg's ...`).
    """
    place: Literal["before", "marker", "inside", "after"] = "before"
    held: list[Line] = []  # The header, if a marker follows.
    for number, line in lines:
        if _START.match(line):
            held.clear()
            place = "inside" if _closes(line) else "marker"
        elif _END.match(line):
            yield from held
            held.clear()
            place = "after"
        elif place == "marker":  # A long title goes on in the next line.
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
