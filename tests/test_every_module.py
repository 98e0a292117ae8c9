"""What holds for every module: its size, its functions' sizes and return types, and where its tests stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50
CODE = sorted([*(ROOT / "textgen").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")])

TESTED_ELSEWHERE = {}
"""Modules without a test file of their own, and the file that tests what they do."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


def functions(path: Path) -> Iterator[Function]:
    """Yields all functions of a module, nested ones and methods included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def tests_of(path: Path) -> Path:
    """Returns where the tests of a module stand: `tests/runs/test_lease.py` for `textgen/runs/lease.py`."""
    folder = path.parent.relative_to(ROOT / "textgen" if path.is_relative_to(ROOT / "textgen") else ROOT)
    return TESTS / folder / f"test_{path.stem}.py"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_modules_and_functions_are_short_and_say_what_they_return(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_MODULE_LINES
    for function in functions(path):
        place = f"{path.name}:{function.lineno} {function.name}"
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < MAX_FUNCTION_LINES, place
        assert function.returns is not None, place


def test_every_module_has_its_test_file_or_a_named_one() -> None:
    modules = {name_of(path): tests_of(path) for path in CODE if path.name != "__init__.py"}
    without = {name for name, tests in modules.items() if not tests.exists()}
    assert without == TESTED_ELSEWHERE.keys()


@pytest.mark.parametrize(("module", "tests"), TESTED_ELSEWHERE.items(), ids=TESTED_ELSEWHERE)
def test_a_named_test_file_imports_what_uses_the_module(module: str, tests: str) -> None:
    assert (TESTS / tests).exists()
