"""What is imported is declared: a package that comes with another one today may not come with it tomorrow."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"textgen", "jobs", "benchmarks", "tests"}
ELSEWHERE = {"torch"}
"""Packages of the environment of benchmarks/peers, which has a list of its own."""
TYPES_ALONE = {"mypy_boto3_s3": "mypy-boto3-s3"}


def names(requirements: list[str]) -> set[str]:
    """Returns the names of distributions, as indexes compare them."""
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def imported(*folders: str) -> dict[str, set[str]]:
    """Returns the packages of others that modules import, and the modules that do."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
                modules = [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            for module in modules:
                package = module.partition(".")[0]
                if package not in sys.stdlib_module_names and package not in OWN | ELSEWHERE:
                    found.setdefault(package, set()).add(str(path.relative_to(ROOT)))
    return found


def undeclared(packages: dict[str, set[str]], declared: set[str]) -> dict[str, set[str]]:
    """Returns the packages of which no distribution is declared."""
    known = packages_distributions()
    by_package = {name: names([*known.get(name, ()), *filter(None, [TYPES_ALONE.get(name)])]) for name in packages}
    return {name: packages[name] for name, distributions in by_package.items() if not distributions & declared}


RUN, DEVELOPMENT = names(PROJECT["dependencies"]), names(PROJECT["optional-dependencies"]["dev"])


def test_what_the_library_and_its_jobs_import_is_declared() -> None:
    found = imported("textgen", "jobs", "benchmarks")
    assert {"numpy", "ray", "tensorflow"} <= set(found)
    for name in TYPES_ALONE:  # Under TYPE_CHECKING, where development's packages may be named.
        found.pop(name, None)
    assert undeclared(found, RUN) == {}


def test_what_the_tests_import_is_declared() -> None:
    found = imported("tests")
    assert {"pytest", "hypothesis"} <= set(found)
    assert undeclared(found, RUN | DEVELOPMENT) == {}


def test_a_package_that_is_not_declared_is_found() -> None:
    assert undeclared({"numpy": {"x.py"}, "yaml": {"y.py"}, "never_made": {"z.py"}}, {"numpy"}) == {
        "yaml": {"y.py"},
        "never_made": {"z.py"},
    }


def test_every_dependency_has_its_line_of_why() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in RUN | DEVELOPMENT:
        assert f"`{name}`" in text, f"CONTRIBUTING.md does not say why {name} is here"


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-cuda.lock"])
def test_the_locked_versions_are_those_that_are_declared(file: str) -> None:
    from packaging.requirements import Requirement

    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", (ROOT / file).read_text(), re.MULTILINE))
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert requirement.specifier.contains(locked[re.sub(r"[-_.]+", "-", requirement.name).lower()])
