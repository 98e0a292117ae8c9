"""Header and licence of Project Gutenberg's books, in the variants used over the years."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus import books
from textgen.corpus.books import book_lines

HEADER = "The Project Gutenberg eBook of Walden\n\nTitle: Walden\n"
LICENCE = "\nSection 1. General Terms of Use\n*** a line of stars ***\n"


def between_edges(text: str) -> list[tuple[int, str]]:
    return list(book_lines(enumerate(text.splitlines(keepends=True), 1)))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("*** START OF THE PROJECT GUTENBERG EBOOK WALDEN ***", "*** END OF THE PROJECT GUTENBERG EBOOK WALDEN ***"),
        ("*** START OF THIS PROJECT GUTENBERG EBOOK WALDEN ***", "End of the Project Gutenberg EBook of Walden, by"),
        ("***START OF THE PROJECT GUTENBERG EBOOK WALDEN***", "***END OF THE PROJECT GUTENBERG EBOOK WALDEN***"),
        ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*", "End of Project Gutenberg's Walden"),
        ("*** START OF THE PROJECT GUTENBERG ETEXT WALDEN;\nOR, LIFE ***", "*** End of this Project Gutenberg Etext"),
    ],
)
def test_header_and_licence_are_removed_and_lines_keep_their_numbers(start: str, end: str) -> None:
    found = between_edges(f"{HEADER}{start}\n\nFirst line.\n* * *\nLast line.\n{end}\n{LICENCE}")
    first = HEADER.count("\n") + start.count("\n") + 2
    assert [(number, line) for number, line in found if not line.isspace()] == [
        (first + 1, "First line.\n"),
        (first + 2, "* * *\n"),
        (first + 3, "Last line.\n"),
    ]


def test_a_file_may_hold_several_books() -> None:
    one = f"{HEADER}*** START OF THE PROJECT GUTENBERG EBOOK A ***\n%s\n*** END OF THE PROJECT GUTENBERG EBOOK A ***\n"
    assert [line for _, line in between_edges((one % "one") + LICENCE + (one % "two"))] == ["one\n", "two\n"]


def test_an_unclosed_marker_removes_no_text() -> None:
    text = "*** START OF THE PROJECT GUTENBERG EBOOK A LONG\nTITLE\n\nText.\n"
    assert between_edges(text) == [(4, "Text.\n")]


def test_a_licence_without_a_header_is_removed() -> None:
    assert between_edges(f"Text.\nEnd of Project Gutenberg's Walden\n{LICENCE}") == [(1, "Text.\n")]


def test_a_marker_beyond_the_header_lines_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "HEADER_LINES", 3)
    text = "1\n2\n3\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\n5\n"
    assert [number for number, _ in between_edges(text)] == [1, 2, 3, 5]


@given(st.lists(st.text(alphabet="ab* \n", max_size=5), max_size=8))
def test_texts_without_markers_are_unchanged(lines: list[str]) -> None:
    numbered = list(enumerate(lines, 1))
    assert list(book_lines(numbered)) == numbered
