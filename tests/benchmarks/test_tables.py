"""The measured tables of the documents are those of the kept results."""

from __future__ import annotations

import re

import pytest

from benchmarks.tables import DOCS, MARKED, measured_tables, with_tables

PAGES = sorted(path.name for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_tables_of_the_results(page: str) -> None:
    text = (DOCS / page).read_text()
    assert text == with_tables(text), f"docs/{page} differs from benchmarks/results; run: python -m benchmarks.tables"


def test_every_table_stands_in_one_page() -> None:
    named = [mark["name"] for page in PAGES for mark in MARKED.finditer((DOCS / page).read_text())]
    assert sorted(named) == sorted(measured_tables())


def test_every_mark_is_closed() -> None:
    for page in PAGES:
        text = (DOCS / page).read_text()
        assert len(re.findall("<!-- (?:table|end)", text)) == 2 * len(MARKED.findall(text)), page


def test_a_table_is_replaced_and_the_text_around_it_stays() -> None:
    page = "before\n\n<!-- table: one -->\n\n| old |\n\n<!-- end -->\n\nbehind\n"
    assert with_tables(page, {"one": "| new |"}) == page.replace("old", "new")
    with pytest.raises(KeyError, match="one"):
        with_tables(page, {})
