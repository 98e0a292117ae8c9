"""docs/design.md names only files, functions, classes and methods that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.docs.pages import ROOT, read

NAMED = re.compile(r"(?<![\w/.])((?:[a-z0-9_]+/)*[a-z0-9_]+\.py)(?::([A-Za-z_.0-9]+\w))?")


def file_of(name: str) -> Path:
    """Returns the file of a name: below `textgen/`, or below the root."""
    return ROOT / name if name.startswith("jobs/") else ROOT / "textgen" / name


def names_in(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """Returns the functions and classes of a module, and the methods of each class."""
    found = set()
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(prefix + statement.name)
        if isinstance(statement, ast.ClassDef):
            found |= names_in(statement.body, f"{statement.name}.")
    return found


def test_every_file_and_name_exists() -> None:
    named = NAMED.findall(read("docs/design.md"))
    assert len(named) > 40
    for file, name in named:
        path = file_of(file)
        assert path.exists(), f"docs/design.md names {file}, which does not exist"
        if name:
            assert name in names_in(ast.parse(path.read_text()).body), f"docs/design.md names {file}:{name}"


def test_every_room_has_a_row() -> None:
    rooms = {path.parent.name for path in (ROOT / "textgen").glob("*/__init__.py")}
    rows = set(re.findall(r"^\| `([a-z]+)/`", read("docs/design.md"), flags=re.MULTILINE))
    assert rows == rooms - {"spec", "local"}
