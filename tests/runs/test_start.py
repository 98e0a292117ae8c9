"""`run.json` stores what a run is: its spec, source and acknowledgement; a resumed run stays the same run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint
from textgen.runs import precision
from textgen.runs.lineage import Source
from textgen.runs.position import Run
from textgen.runs.start import Start, check_resumes, start_run
from textgen.spec import override
from textgen.windows.manifest import Manifest

ONE_PERSON = {"corpus__single_author": True}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return written_manifest(str(tmp_path / "windows"), {"train": ["the cat sat"] * 30})


def source_at(folder: Path, **changes: Any) -> Checkpoint:
    """Writes a checkpoint of a model with 9 units, whose weights are not read here."""
    checkpoint = Checkpoint(
        uri=str(folder),
        spec=tiny_spec(model__units=9, **changes),
        vocabulary=written_manifest(str(folder / "w"), {"train": ["a bad hat"]}).vocabulary,
        run_name="before",
        manifest_uri="",
        manifest_hash="1234",
        position={"step": 40},
        metrics={},
    )
    return checkpoint.save(weights={"logits/bias": np.zeros(3)})


def start(manifest: Manifest, tmp_path: Path, **changes: Any) -> Start:
    arguments = {"spec": tiny_spec(), "run_name": "run", **changes}
    return start_run(arguments.pop("spec"), manifest_uri=manifest.uri, output=str(tmp_path), **arguments)


def test_layers_come_from_the_source_and_everything_else_from_the_spec(manifest: Manifest, tmp_path: Path) -> None:
    checkpoint = source_at(tmp_path / "source", training__learning_rate=0.5, model__dropout=0.4)
    source = Source(uri=checkpoint.uri)
    started = start(manifest, tmp_path, source=source)
    assert started.run.spec == dataclasses.replace(tiny_spec(), model=tiny_spec(model__units=9).model)
    lineage = started.run.lineage
    assert lineage is not None
    assert (lineage.uri, lineage.run_name, lineage.step) == (checkpoint.uri, "before", 40)
    assert lineage.weights_sha256 == checkpoint.hashes["weights.npz"]
    assert lineage.manifest_hash == "1234"
    assert (lineage.num_known_ids, lineage.num_added_ids) == (6, 3)  # UNKNOWN, END, space, a, h, t; and c, e, s.
    assert json.loads((tmp_path / "run" / "run.json").read_text())["from"] == lineage.to_dict()


def test_a_run_resumes_without_its_source(manifest: Manifest, tmp_path: Path) -> None:
    checkpoint = source_at(tmp_path / "source")
    source = Source(uri=checkpoint.uri, model_settings={"model.dropout": "0.3"})
    spec = tiny_spec(model__dropout=0.3)
    started = start(manifest, tmp_path, source=source, spec=spec)
    (tmp_path / "source" / "COMPLETE").unlink()
    again = start(manifest, tmp_path, source=source, spec=spec)
    assert again == started
    assert again.run.driver != started.run.driver
    assert started.run.spec.model.dropout == 0.3
    with pytest.raises(UserError, match="is neither a checkpoint nor a run"):
        start(manifest, tmp_path, source=source, run_name="another")


def test_another_source_for_the_same_run_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    one, other = (Source(uri=source_at(tmp_path / name).uri) for name in ("one", "other"))
    start(manifest, tmp_path, source=one)
    with pytest.raises(UserError, match=r"was started from .*one, not from .*other; repeat its command"):
        start(manifest, tmp_path, source=other)
    with pytest.raises(UserError, match=r"was started from .*one; give --from .*one, or another --run-name"):
        start(manifest, tmp_path)
    start(manifest, tmp_path, run_name="fresh")
    with pytest.raises(UserError, match=r"was started without --from, not from .*one"):
        start(manifest, tmp_path, run_name="fresh", source=one)


def test_layers_that_differ_from_the_source_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    uri = source_at(tmp_path / "source").uri
    start(manifest, tmp_path, source=Source(uri=uri, model_settings={"model.units": "9"}))
    with pytest.raises(UserError, match=r"model\.units is 7 but the checkpoint has 9; with --from, the layers are"):
        start(manifest, tmp_path, run_name="x", source=Source(uri=uri, model_settings={"model.units": "7"}))
    scaled = source_at(tmp_path / "scaled", model__input="scaled").uri
    with pytest.raises(UserError, match=r"reads ids as numbers \(model\.input=scaled\)"):
        start(manifest, tmp_path, run_name="y", source=Source(uri=scaled))


def test_the_default_name_depends_on_the_source(manifest: Manifest, tmp_path: Path) -> None:
    one, other = (Source(uri=source_at(tmp_path / name).uri) for name in ("one", "other"))
    names = [start(manifest, tmp_path, source=source, run_name=None).run.run_name for source in (None, one, other, one)]
    assert len(set(names)) == 3
    assert names[1] == names[3]


@pytest.mark.parametrize("declared_by", ["spec", "windows"])
def test_one_persons_texts_require_an_acknowledgement_once(tmp_path: Path, declared_by: str) -> None:
    declaring = tiny_spec(**ONE_PERSON)
    spec = declaring if declared_by == "spec" else tiny_spec()
    ingested = declaring if declared_by == "windows" else tiny_spec()
    windows = written_manifest(str(tmp_path / "windows"), {"train": ["the cat sat"] * 30}, spec=ingested)
    with pytest.raises(
        UserError, match=r"are one person's \(corpus\.single_author\); add --acknowledge, once per run, to confirm"
    ):
        start(windows, tmp_path, spec=spec)
    assert not (tmp_path / "run").exists()
    start(windows, tmp_path, spec=spec, acknowledge=True)
    start(windows, tmp_path, spec=spec)  # The run remembers.
    assert json.loads((tmp_path / "run" / "run.json").read_text())["acknowledged"]
    with pytest.raises(UserError, match="--acknowledge"):
        start(windows, tmp_path, spec=spec, run_name="another")


def test_other_windows_and_other_settings_are_another_run(manifest: Manifest, tmp_path: Path) -> None:
    start(manifest, tmp_path)
    others = written_manifest(str(tmp_path / "others"), {"train": ["the dog ran"] * 30})
    with pytest.raises(UserError, match="was started on other windows"):
        start(others, tmp_path)
    with pytest.raises(UserError, match=r"model\.units \(6 -> 7\)"):
        start(manifest, tmp_path, spec=override(tiny_spec(), {"model.units": 7}))


def write_old_run(folder: Path, manifest: Manifest, *, version: int) -> dict[str, Any]:
    """Writes the `run.json` that an old version wrote for `tiny_spec()`, with these windows."""
    stored: dict[str, Any] = json.loads(
        (Path(__file__).parents[1] / "old_runs" / f"version-{version}.json").read_text()
    )
    stored |= {"manifest_uri": manifest.uri, "manifest_hash": manifest.hash}
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(stored))
    return stored


@pytest.mark.parametrize("version", [1, 3])
def test_an_old_run_resumes_with_the_defaults_of_its_time(manifest: Manifest, tmp_path: Path, version: int) -> None:
    write_old_run(tmp_path / "run", manifest, version=version)
    for _ in range(3):  # Each start writes `run.json` again.
        started = start(manifest, tmp_path)
        assert started.kept_settings == {"training.fresh_share": 0.0, "model.hold_conditions": False}
        assert started.run.spec == override(tiny_spec(), started.kept_settings)
        check_resumes(str(tmp_path / "run"), tiny_spec(), manifest)
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["spec"]
    assert stored["training"]["fresh_share"] == 0.0
    assert stored["version"] == version


def test_an_old_run_does_not_hide_settings_that_were_given(manifest: Manifest, tmp_path: Path) -> None:
    write_old_run(tmp_path / "run", manifest, version=3)
    given = tiny_spec(training__fresh_share=0.1, training__learning_rate=0.5)
    for refuse in (
        lambda: start(manifest, tmp_path, spec=given),
        lambda: check_resumes(str(tmp_path / "run"), given, manifest),
    ):
        with pytest.raises(
            UserError, match=r"settings: training\.fresh_share \(0\.0 -> 0\.1\), .*rate \(0\.01 -> 0\.5\)"
        ):
            refuse()


def test_a_new_run_keeps_no_old_defaults(manifest: Manifest, tmp_path: Path) -> None:
    start(manifest, tmp_path, spec=tiny_spec(training__fresh_share=0.0))
    with pytest.raises(UserError, match=r"training\.fresh_share \(0\.0 -> 0\.05\)"):
        start(manifest, tmp_path)
    assert start(manifest, tmp_path, spec=tiny_spec(training__fresh_share=0.0)).kept_settings == {}


@pytest.mark.parametrize("is_able", [True, False])
def test_precision_is_decided_when_a_run_starts_and_stays_on_another_machine(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_able: bool
) -> None:
    spec = tiny_spec(training__mixed_precision=None)
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: is_able)
    assert start(manifest, tmp_path, spec=spec).run.spec.training.mixed_precision is is_able
    assert json.loads((tmp_path / "run" / "run.json").read_text())["spec"]["training"]["mixed_precision"] is is_able
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: not is_able)
    again = start(manifest, tmp_path, spec=spec, on_gpu=lambda: pytest.fail("it has started already"))
    assert again.run.spec.training.mixed_precision is is_able
    assert again.kept_settings == {}
    check_resumes(str(tmp_path / "run"), spec, manifest)
    with pytest.raises(UserError, match=rf"training\.mixed_precision \({is_able} -> {not is_able}\)"):
        start(manifest, tmp_path, spec=tiny_spec(training__mixed_precision=not is_able))


def test_a_run_that_starts_on_gpus_keeps_32_bits(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    spec = tiny_spec(training__mixed_precision=None)
    started = start(manifest, tmp_path, spec=spec, on_gpu=lambda: True)
    assert started.run.spec.training.mixed_precision is False


def test_an_old_run_without_precision_keeps_32_bits(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    write_old_run(tmp_path / "run", manifest, version=3)
    started = start(manifest, tmp_path, spec=tiny_spec(training__mixed_precision=None))
    assert started.run.spec.training.mixed_precision is False


def test_a_finished_run_keeps_its_outcome_until_it_is_extended(manifest: Manifest, tmp_path: Path) -> None:
    spec = tiny_spec(training__max_steps=5)
    assert start(manifest, tmp_path, spec=spec).outcome is None
    (tmp_path / "run" / "outcome.json").write_text('{"step": 5}')
    assert start(manifest, tmp_path, spec=spec).outcome == {"step": 5}
    assert start(manifest, tmp_path, spec=override(spec, {"training.max_steps": 6})).outcome is None


def test_a_run_that_stopped_early_resumes_with_more_patience(manifest: Manifest, tmp_path: Path) -> None:
    spec = tiny_spec(training__max_steps=50, training__patience=3)
    start(manifest, tmp_path, spec=spec)
    outcome = {"step": 5, "stopped_early": True, "stale_validations": 3}
    (tmp_path / "run" / "outcome.json").write_text(json.dumps(outcome))
    for patience in (3, 2):
        stopped = start(manifest, tmp_path, spec=override(spec, {"training.patience": patience}))
        assert stopped.outcome == outcome
    assert start(manifest, tmp_path, spec=override(spec, {"training.patience": 4})).outcome is None
    assert start(manifest, tmp_path, spec=override(spec, {"training.patience": None})).outcome is None


def test_a_run_may_resume_with_nonfinite_steps_skipped(manifest: Manifest, tmp_path: Path) -> None:
    start(manifest, tmp_path)
    assert start(manifest, tmp_path, spec=override(tiny_spec(), {"training.nonfinite": "skip"})).outcome is None


def test_a_run_must_use_the_marks_of_its_windows(tmp_path: Path) -> None:
    marked = tiny_spec(corpus__rules=("nfc", "mark_capitals"))
    windows = written_manifest(str(tmp_path / "windows"), {"train": ["the cat sat"] * 30}, spec=marked)
    start(windows, tmp_path, spec=marked)
    with pytest.raises(UserError, match=r"are marked by these rules: mark_capitals; the run's .* set others: none"):
        start(windows, tmp_path, run_name="another")


def test_a_run_is_passed_to_its_workers_unchanged(manifest: Manifest, tmp_path: Path) -> None:
    source = Source(uri=source_at(tmp_path / "source").uri)
    for number, given in enumerate((None, source)):
        run = start(manifest, tmp_path, source=given, run_name=f"run-{number}").run
        received = Run.from_dict(json.loads(json.dumps(run.to_dict())))
        assert received == run
        assert received.driver == run.driver
