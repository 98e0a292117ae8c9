"""The documents, and what is found in them."""

from __future__ import annotations

import re
from pathlib import Path

import jobs

ROOT = Path(jobs.__file__).resolve().parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


def read(page: str) -> str:
    """Returns a document."""
    return (ROOT / page).read_text()


def prose(text: str) -> str:
    """Returns a document without its blocks of code, where a `#` begins no heading and brackets no link."""
    fenced = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<=\n\n)(?: {4}.*\n?|\n(?= {4}))+", "", fenced)


def anchors(text: str) -> set[str]:
    """Returns the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def commands(text: str, *, of: str) -> list[str]:
    """Returns the commands `python -m <of>...` of a document, lines that a backslash continues joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [found.strip() for found in re.findall(rf"python -m {of}[^\n`|>#;&)]*", joined)]
