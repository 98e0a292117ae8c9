"""How `jobs.train` uses its flags; `test_chain` runs it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jobs import train as job
from tests.written_windows import written_manifest
from textgen.runs.lineage import Source
from textgen.windows.manifest import Manifest

pytestmark = pytest.mark.ray  # Imports Ray Train, but starts nothing.


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    written = written_manifest(str(tmp_path_factory.mktemp("windows")), {"train": ["the cat sat"] * 9})
    manifest = dataclasses.replace(written, preset="finetune")
    manifest.save()
    return manifest


def given(monkeypatch: pytest.MonkeyPatch, manifest: Manifest, *flags: str) -> dict[str, Any]:
    """Returns the arguments that the job passes to the training."""
    received: dict[str, Any] = {}

    def train(spec: Any, **arguments: Any) -> dict[str, Any]:
        received.update(arguments, spec=spec)
        return {"run_name": "run", "checkpoint_uri": "runs/run/checkpoints/one", "step": 3}

    monkeypatch.setattr("textgen.training.driver.train", train)
    monkeypatch.setattr(job, "connect", lambda: None)
    monkeypatch.setattr(job, "finish", lambda _, **__: None)
    job.main(["--windows", manifest.uri, "--output", "runs", *flags])
    return received


def test_a_source_is_used_with_the_given_layers(monkeypatch: pytest.MonkeyPatch, manifest: Manifest) -> None:
    received = given(
        monkeypatch, manifest, "--from", "s3://b/run", "--set", "model.units=7", "--set", "training.epochs=2"
    )
    assert received["source"] == Source(uri="s3://b/run", model_settings={"model.units": "7"})
    assert received["spec"].preset == "finetune"  # The preset of the windows.
    assert received["spec"].training.epochs == 2
    assert not received["acknowledge"]


def test_without_a_source_a_run_starts_from_new_weights(monkeypatch: pytest.MonkeyPatch, manifest: Manifest) -> None:
    received = given(monkeypatch, manifest, "--acknowledge")
    assert received["source"] is None
    assert received["acknowledge"]


def test_help_explains_acknowledge(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        job.main(["--help"])
    assert "texts by a single person" in " ".join(capsys.readouterr().out.split())
