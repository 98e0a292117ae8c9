"""The repository keeps its own rules: documented targets exist, pins cover what is needed, no machine shows through."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-cuda.lock")


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):[^=\n]*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text(), flags=re.MULTILINE))


def needed(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {re.split(r"[\[~=; ]", line)[0].lower() for line in lines}


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/recipes.md", ".ci/run"])
def test_documents_name_only_targets_that_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?:^|`)\s*(?:\$ )?make ([a-z][a-z0-9-]*)", text, flags=re.MULTILINE))
    assert named, f"{document} names no target"
    assert named <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_link_only_to_files_that_exist(document: str) -> None:
    place = ROOT / document
    links = re.findall(r"\]\((?!https?://)([^)#]+)", place.read_text())
    assert [link for link in links if not (place.parent / link).exists()] == []


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_make_alone_lists_every_target() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z0-9-]+) ", shown, flags=re.MULTILINE)) == make_targets()


@pytest.mark.parametrize(("lock", "extra"), [("requirements.lock", "dev"), ("requirements-cuda.lock", "cuda")])
def test_a_lock_pins_all_that_is_needed_and_names_no_index(lock: str, extra: str) -> None:
    assert needed(extra) <= pinned(lock).keys()
    assert "://" not in (ROOT / lock).read_text()
    assert "--index" not in (ROOT / lock).read_text()


def test_both_locks_pin_the_same_versions() -> None:
    first, second = (pinned(lock) for lock in LOCKS)
    assert {
        name: (first[name], second[name]) for name in first.keys() & second.keys() if first[name] != second[name]
    } == {}


def test_contributing_says_why_each_dependency_is_here() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    missing = [name for name in needed("dev", "cuda") if f"`{name}" not in text]
    assert missing == []


def test_no_file_holds_a_path_of_somebody_s_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    pattern = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work|opt|mnt)/\w")
    found = []
    for name in listed.stdout.splitlines():
        text = (ROOT / name).read_text(errors="replace") if (ROOT / name).is_file() else ""
        if pattern.search(text):
            found.append(name)
    assert found == []


def test_ray_uploads_no_secret_and_no_environment() -> None:
    ignored = (ROOT / ".rayignore").read_text().splitlines()
    assert {".venv", ".run/", ".s3/", "/runs/"} <= set(ignored)
    assert {".venv", ".run/", ".s3/", "/runs/"} <= set((ROOT / ".gitignore").read_text().splitlines())
