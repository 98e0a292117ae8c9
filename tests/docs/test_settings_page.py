"""docs/settings.md is what `jobs.settings --markdown` prints."""

from __future__ import annotations

from pathlib import Path

import jobs
from jobs.settings import markdown_page
from textgen.spec.fields import paths

PAGE = Path(jobs.__file__).resolve().parent.parent / "docs" / "settings.md"


def test_the_page_is_what_the_job_prints() -> None:
    assert PAGE.read_text() == markdown_page(), (
        "docs/settings.md differs from the spec; run: python -m jobs.settings --markdown > docs/settings.md"
    )


def test_every_setting_has_a_row() -> None:
    rows = [line for line in markdown_page().splitlines() if line.startswith("| `") and "." in line.split("`")[1]]
    assert [row.split("`")[1] for row in rows] == paths()
    for row in rows:
        assert len(row.replace("\\|", "").split("|")) == 6, row
