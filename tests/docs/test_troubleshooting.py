"""docs/troubleshooting.md quotes messages that the program has."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import ROOT, read

QUOTED = [re.sub(r"\\\|", "|", cell) for cell in re.findall(r"^\| `(.+?)` \|", read("docs/troubleshooting.md"), re.M)]


def texts() -> list[str]:
    """Returns every text of the program; the places that values are written into are `{}`."""
    found = []
    for folder in ("textgen", "jobs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values]
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


TEXTS = texts()


def test_the_page_quotes_enough() -> None:
    assert len(QUOTED) >= 25


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_in_the_source(quoted: str) -> None:
    assert any(quoted in text for text in TEXTS), (
        f"no text of textgen/ or jobs/ has {quoted!r}; quote today's message in docs/troubleshooting.md"
    )
