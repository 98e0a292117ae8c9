"""Every relative link of the documents leads to a file, and every anchor to a heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, prose, read

LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_something(page: str) -> None:
    for target, anchor in LINK.findall(prose(read(page))):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(path.read_text()), f"{page} links to {target}#{anchor}, which no heading has"


def test_the_index_names_every_page() -> None:
    linked = {Path(target).name for target, _ in LINK.findall(read("docs/README.md"))}
    assert {Path(page).name for page in PAGES if page.startswith("docs/")} <= linked | {"README.md"}


def test_anchors_are_those_of_headings_outside_of_code() -> None:
    text = "# One, two\n\n    # no heading\n\n```\n# none either\n```\n\n## `make` it\n"
    assert anchors(text) == {"one-two", "make-it"}
