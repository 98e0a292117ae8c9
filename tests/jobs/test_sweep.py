"""The job `sweep` on S3: two experiments, `best/`, and a second run with the same output."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.jobs.job_process import mistake_of, result_of, run_job
from tests.written_windows import tiny_spec, written_manifest
from textgen import presets, storage
from textgen.model.checkpoint import Checkpoint, find_checkpoint, latest_checkpoint
from textgen.spec import override
from textgen.windows.manifest import Manifest

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow, pytest.mark.usefixtures("ray_head")]

SETTINGS = {
    "windows.context_length": "7",
    "windows.stride": "7",
    "model.embedding_dim": "5",
    "training.global_batch_size": "4",
    "training.max_steps": "8",
    "training.validate_every_steps": "2",
    "training.warmup_steps": "1",
    "sweep.units": "[4,6,9]",
    "sweep.temperatures": "[0.3,1.0,3.0]",
    "sweep.num_completions": "5",
    "sweep.completion_chars": "12",
}
FLAGS = ["--preset", "tiny", *(f for name, value in SETTINGS.items() for f in ("--set", f"{name}={value}"))]


@pytest.fixture(scope="module")
def manifest(s3_server: str) -> Manifest:
    letters = np.random.default_rng(5).choice(list("abcd "), size=(60, 11), p=[0.4, 0.3, 0.1, 0.1, 0.1])
    texts = ["".join(row) for row in letters]
    return written_manifest(
        f"{s3_server}/sweep/windows", {"train": texts[:48], "val": texts[48:]}, documents_per_shard=20
    )


def trained(manifest: Manifest, output: str, units: int) -> Checkpoint:
    """Trains one size of the sweep to its end before the sweep begins; returns its newest checkpoint."""
    from textgen.training.loop import Run, train_alone

    spec = override(presets.preset("tiny"), SETTINGS | {"model.units": units, "training.sample_temperatures": ()})
    uri = f"{output}/runs/units-{units}"
    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=uri, run_name=f"units-{units}")
    train_alone(run, say=print, report=print)
    checkpoint = latest_checkpoint(uri)
    assert checkpoint is not None
    assert checkpoint.step == 8
    return checkpoint


def test_keeps_the_best_size_and_temperature_and_resumes_finished_trials(manifest: Manifest, s3_server: str) -> None:
    output = f"{s3_server}/sweep/output"
    before = trained(manifest, output, units=4)
    command = ("sweep", *FLAGS, "--windows", manifest.uri, "--output", output)
    result = result_of(run_job(*command), output=output)
    assert latest_checkpoint(before.uri.partition("/checkpoints/")[0]) == before

    sizes = {line["units"]: line for line in result["units_trials"]}
    temperatures = {line["temperature"]: line["divergence"] for line in result["temperature_trials"]}
    assert (sorted(sizes), sorted(temperatures)) == ([4, 6, 9], [0.3, 1.0, 3.0])
    assert result["trials"] == 6
    assert {line["ended"] for line in sizes.values()} <= {"all steps", "worse than others after as many steps"}
    assert all(line["ended"] == "all steps" for line in sizes.values() if line["step"] == line["num_steps"])
    assert sizes[4]["val_bits_per_character"] == before.metrics["val_bits_per_character"]
    assert result["val_bits_per_character"] == min(line["val_bits_per_character"] or 99 for line in sizes.values())
    assert result["divergence"] == min(temperatures.values()) == temperatures[result["temperature"]]
    assert 0 < result["divergence"] < 1

    best = find_checkpoint(result["best_uri"])
    assert best.uri == f"{output}/best"
    assert best.spec.model.units == result["units"]
    assert best.spec.sampling.temperature == result["temperature"]
    assert best.metrics["val_bits_per_character"] == result["val_bits_per_character"]
    assert json.loads(storage.read_bytes(f"{output}/best/sampling.json"))["temperature"] == result["temperature"]
    best.build_model()

    assert result_of(run_job(*command), output=output) == result  # The sweep is finished and does nothing again.


def test_other_settings_for_existing_runs_are_refused(manifest: Manifest, s3_server: str) -> None:
    output = f"{s3_server}/sweep/other"
    spec = tiny_spec(model__units=4).to_dict()
    content = {"manifest_uri": manifest.uri, "manifest_hash": manifest.hash, "spec": spec}
    storage.write_bytes(f"{output}/runs/units-4/run.json", json.dumps(content).encode())
    settings = ("--set", "sweep.units=[4]", "--set", "training.learning_rate=0.5")
    mistake = mistake_of(run_job("sweep", *FLAGS, *settings, "--windows", manifest.uri, "--output", output))
    assert "training.learning_rate" in mistake
