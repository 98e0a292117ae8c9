"""Stored specs of older versions keep their meaning, and every added or changed field has an entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.written_windows import tiny_spec
from textgen import presets
from textgen.errors import UserError
from textgen.spec import RunSpec, override
from textgen.spec.versions import CHANGES, LAST_WITHOUT_NUMBER, SPEC_VERSION, changed_since, completed, version_of

TESTS = Path(__file__).parents[1]
ADDED = {int(number): fields for number, fields in json.loads((TESTS / "spec_versions.json").read_text()).items()}
"""Fields that each version added and defaults that it changed: `{version: {section.field: default}}`."""


def flat(spec: dict[str, Any]) -> dict[str, Any]:
    sections = {name: section for name, section in spec.items() if isinstance(section, dict)}
    return {f"{name}.{field}": value for name, section in sections.items() for field, value in section.items()}


def written_by(version: int) -> dict[str, Any]:
    """Returns the result of `to_dict` in a version, for a spec of defaults."""
    spec: dict[str, Any] = {"preset": "mine"} | ({"version": version} if version > LAST_WITHOUT_NUMBER else {})
    for number in range(1, version + 1):
        for path, default in ADDED[number].items():
            section, field = path.split(".")
            spec.setdefault(section, {})[field] = default
    return spec


def old_run(version: int) -> dict[str, Any]:
    """Returns the `run.json` that a version wrote for `tiny_spec()`; only its path was changed."""
    run: dict[str, Any] = json.loads((TESTS / "old_runs" / f"version-{version}.json").read_text())
    return run


def test_every_field_and_default_is_listed_in_a_version() -> None:
    today = RunSpec(preset="mine").to_dict()
    assert flat(today) == flat(written_by(max(ADDED))), (
        "a field is new or has another default: add an entry of a new version to CHANGES in textgen/spec/versions.py, "
        "with the value before, and the field with its default to tests/spec_versions.json"
    )
    assert today["version"] == SPEC_VERSION == max(ADDED)


def test_every_added_field_has_a_value_for_older_versions() -> None:
    later = {(path, version) for version, fields in ADDED.items() if version > 1 for path in fields}
    assert {(change.path, change.version) for change in CHANGES} == later
    assert [change.version for change in CHANGES] == sorted(change.version for change in CHANGES)


@pytest.mark.parametrize("version", sorted(ADDED))
def test_each_version_keeps_its_meaning(version: int) -> None:
    stored = written_by(version)
    assert version_of(stored) == version
    read = flat(RunSpec.from_dict(stored).to_dict())
    before = {path: next(change for change in CHANGES if change.path == path) for path in read.keys() - flat(stored)}
    assert read == flat(stored) | {
        path: change.value_before(stored.get(change.section, {})) for path, change in before.items()
    }
    assert set(before) <= set(changed_since(version))


def test_the_value_of_an_older_version_differs_from_the_default() -> None:
    read = RunSpec.from_dict(written_by(3))
    assert (read.training.fresh_share, read.model.hold_conditions) == (0.0, False)
    assert (RunSpec(preset="mine").training.fresh_share, RunSpec(preset="mine").model.hold_conditions) == (0.05, True)


@pytest.mark.parametrize(("dense_units", "expected"), [(9, 0.3), (None, 0.0)])
def test_the_dense_layer_once_shared_the_dropout(dense_units: int | None, expected: float) -> None:
    stored = written_by(1)
    stored["model"] |= {"dropout": 0.3, "dense_units": dense_units}
    assert RunSpec.from_dict(stored).model.dense_dropout == expected


@pytest.mark.parametrize("version", [1, 3])
def test_an_old_run_is_read_with_its_original_settings(version: int) -> None:
    read = RunSpec.from_dict(old_run(version)["spec"])
    then = {"training.fresh_share": 0.0, "model.hold_conditions": False}
    assert read == override(tiny_spec(), then)


@pytest.mark.parametrize("number", [SPEC_VERSION + 1, "2"])
def test_a_spec_of_a_later_version_is_an_error(number: object) -> None:
    with pytest.raises(UserError, match=r"version .* reads versions up to"):
        RunSpec.from_dict(tiny_spec().to_dict() | {"version": number, "later": {}})


@pytest.mark.parametrize("name", presets.PRESET_NAMES)
def test_existing_fields_are_kept(name: str) -> None:
    stored = presets.preset(name).to_dict()
    for section in ("corpus", "windows", "training"):
        assert completed(section, stored[section]) == stored[section]
