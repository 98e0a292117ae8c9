"""The steps of a sweep, without running experiments."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import ASHAScheduler

from tests.written_windows import tiny_spec, written_manifest
from textgen import storage
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.spec import SamplingSpec
from textgen.sweep import search
from textgen.sweep.experiment import Outcome
from textgen.windows.vocabulary import Vocabulary


def saved_checkpoint(uri: str, *, bits: float = 2.5) -> Checkpoint:
    checkpoint = Checkpoint(
        uri=uri,
        spec=tiny_spec(),
        vocabulary=Vocabulary(unit="characters", symbols=(97, 98)),
        run_name="units-6",
        manifest_uri="windows",
        manifest_hash="0123",
        position={"step": 5},
        metrics={"val_bits_per_character": bits},
    )
    arrays = {"logits/bias": np.arange(4.0)}
    return checkpoint.save(weights=arrays, training_arrays={"state/0": np.ones((2, 3))})


def test_best_is_a_checkpoint_with_the_best_settings(tmp_path: object) -> None:
    original = saved_checkpoint(f"{tmp_path}/run/checkpoints/step-00000005")
    sampling = SamplingSpec(temperature=0.85, stop=("\n",))
    for _ in range(2):  # Writing it again replaces it.
        uri = search._write_best(original, sampling, f"{tmp_path}/best")
    best = find_checkpoint(uri)
    assert best.spec.sampling == sampling
    assert (best.spec.model, best.vocabulary, best.metrics) == (
        original.spec.model,
        original.vocabulary,
        original.metrics,
    )
    np.testing.assert_array_equal(best.weights["logits/bias"], np.arange(4.0))
    content = json.loads(storage.read_bytes(f"{uri}/sampling.json"))
    assert SamplingSpec(**content | {"stop": tuple(content["stop"])}) == sampling


def test_a_refused_size_is_reported_and_not_selected(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["abcd efgh"] * 20
    manifest = written_manifest(f"{tmp_path}/windows", {"train": texts, "val": texts[:3]})
    for units in (6, 9):
        uri = f"{tmp_path}/runs/units-{units}"
        saved_checkpoint(f"{uri}/checkpoints/step-00000005")
        storage.write_bytes(f"{uri}/best.json", json.dumps({"checkpoint": "step-00000005"}).encode())
    outcomes = [
        Outcome(config={"units": 6}, metrics={"step": 5, "val_bits_per_character": 2.5}),
        Outcome(config={"units": 9}, error=UserError("it was begun with other settings")),
    ]
    monkeypatch.setattr(search, "run_experiment", lambda *_, **__: outcomes)
    monkeypatch.setattr(search, "_trial_resources", lambda *_: {"CPU": 1.0})
    candidates, lines = search._sweep_units(
        tiny_spec(), manifest, str(tmp_path), driver="own", num_steps=10, num_workers=1, say=[].append
    )
    assert [candidate.units for candidate in candidates] == [6]
    assert [line.get("error") for line in lines] == [None, "it was begun with other settings"]


def test_sizes_with_a_nan_score_come_last_and_having_no_size_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["abcd efgh"] * 20
    manifest = written_manifest(f"{tmp_path}/windows", {"train": texts, "val": texts[:3]})
    bits = {5: math.nan, 6: 2.5, 9: 2.25}
    for units, value in bits.items():
        uri = f"{tmp_path}/runs/units-{units}"
        saved_checkpoint(f"{uri}/checkpoints/step-00000005", bits=value)
        storage.write_bytes(f"{uri}/best.json", json.dumps({"checkpoint": "step-00000005"}).encode())
    monkeypatch.setattr(search, "run_experiment", lambda _, configs, **__: [Outcome(config=one) for one in configs])
    monkeypatch.setattr(search, "_trial_resources", lambda *_: {"CPU": 1.0})

    def found(*sizes: int) -> list[int]:
        spec = tiny_spec(sweep__units=sizes)
        more: dict[str, Any] = {"driver": "own", "num_steps": 10, "num_workers": 1, "say": [].append}
        candidates, _ = search._sweep_units(spec, manifest, str(tmp_path), **more)
        return [candidate.units for candidate in candidates]

    assert found(5, 6, 9) == [9, 6, 5]
    with pytest.raises(UserError, match=r"no validation gave a number; lower training\.learning_rate"):
        found(7)


def test_nan_divergences_are_never_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = written_manifest(f"{tmp_path}/windows", {"train": ["abcd efgh"] * 20})
    candidate = search.Candidate(units=6, checkpoint=saved_checkpoint(f"{tmp_path}/run"))
    divergences = {0.5: math.nan, 0.7: 0.25, 1.0: 0.125}
    monkeypatch.setattr(
        search,
        "run_experiment",
        lambda _, configs, **__: [
            Outcome(config=one, metrics={"divergence": divergences[one["temperature"]]}) for one in configs
        ],
    )
    monkeypatch.setattr(search, "_trial_resources", lambda *_: {"CPU": 1.0})
    spec = tiny_spec(sweep__temperatures=tuple(divergences))
    _, best, _ = search._sweep_temperatures(spec, manifest, [candidate], say=[].append)
    assert best.config["temperature"] == 1.0


def test_a_result_is_valid_while_its_best_exists_and_the_settings_are_equal(tmp_path: Path) -> None:
    output, manifest = str(tmp_path), written_manifest(f"{tmp_path}/windows", {"train": ["abcd efgh"] * 20})
    assert search._finished(output, tiny_spec(), manifest) is None
    best_uri = search._write_best(saved_checkpoint(f"{output}/run"), SamplingSpec(), f"{output}/best")
    stored = tiny_spec().to_dict()
    content: dict[str, Any] = {"request": {"spec": stored, "manifest_hash": manifest.hash}}
    content["result"] = {"best_uri": best_uri}
    storage.write_bytes(f"{output}/sweep.json", json.dumps(content).encode())
    assert search._finished(output, tiny_spec(), manifest) == {"best_uri": best_uri}
    assert search._finished(output, tiny_spec(sweep__units=(3,)), manifest) is None
    del stored["version"], stored["training"]["fresh_share"]  # As written by an older version.
    storage.write_bytes(f"{output}/sweep.json", json.dumps(content).encode())
    assert search._finished(output, tiny_spec(), manifest) == {"best_uri": best_uri}
    content["request"]["manifest_hash"] = "another"
    storage.write_bytes(f"{output}/sweep.json", json.dumps(content).encode())
    assert search._finished(output, tiny_spec(), manifest) is None


def test_a_sweep_needs_text_in_val(tmp_path: object) -> None:
    manifest = written_manifest(f"{tmp_path}/windows", {"train": ["abc"], "val": ["ab", ""]})
    with pytest.raises(UserError, match=r"val .* has no text to compare with.*val_share"):
        search.sweep(tiny_spec(), windows_uri=manifest.uri, output=f"{tmp_path}/sweep", say=print)


@pytest.mark.parametrize(("num_steps", "rungs"), [(1, [1]), (4, [1, 2]), (10, [3, 6]), (600, [150, 300])])
def test_sizes_are_compared_after_a_quarter_and_a_half_of_the_steps(num_steps: int, rungs: list[int]) -> None:
    scheduler = search._halving(num_steps)
    assert isinstance(scheduler, ASHAScheduler)
    assert sorted(rung for rung, _ in scheduler._brackets[0]._rungs) == rungs


@pytest.mark.parametrize(("num_workers", "address", "stops"), [(1, "", True), (2, "", False), (2, "127.0.0.1:1", True)])
def test_trials_that_start_workers_are_stopped_early_only_on_a_cluster(
    num_workers: int, address: str, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert search._can_stop_early(num_workers) == stops


def test_layers_of_different_widths_are_refused(tmp_path: object) -> None:
    spec = tiny_spec(model__num_layers=2, model__layer_units=(7, 5))
    with pytest.raises(UserError, match=r"model\.layer_units is \[7, 5\], but a sweep tries one width for all layers"):
        search.sweep(spec, windows_uri="windows", output=str(tmp_path), say=[].append)
