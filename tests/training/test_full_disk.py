"""A training whose disk is full ends with a message, keeps its last checkpoint, and resumes when there is room."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.small_disk import small_disk
from tests.written_windows import tiny_spec, written_manifest
from textgen.errors import UnavailableError
from textgen.model.checkpoint import Checkpoint, checkpoint_uris, weights_hash
from textgen.runs.position import Run

pytestmark = pytest.mark.tensorflow


def test_a_training_resumes_when_its_disk_has_room_again(tmp_path: Path) -> None:
    from textgen.training.loop import train_alone

    texts = [f"the cat sat {number % 7} times" for number in range(60)]
    splits = {"train": texts, "val": texts[:7], "test": texts[:5]}
    manifest = written_manifest(str(tmp_path / "windows"), splits, documents_per_shard=20)
    spec = tiny_spec(
        training__global_batch_size=10,
        training__max_steps=15,
        training__validate_every_steps=4,
        training__sample_temperatures=(),
    )

    def run_in(folder: Path) -> Run:
        return Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(folder), run_name="run")

    undisturbed = train_alone(run_in(tmp_path / "whole"), say=[].append, report=[].append)
    with small_disk(tmp_path / "small", kilobytes=4096) as disk:
        filler = disk / "filler"

        def fill(figures: Mapping[str, Any]) -> None:
            if figures["step"] == 8:
                with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as stream:
                    while stream.write(bytes(1024)):
                        pass

        with pytest.raises(UnavailableError, match=r"no space is left on the disk for \S+; free some, then run the"):
            train_alone(run_in(disk / "run"), say=[].append, report=fill)
        kept = Checkpoint.load(checkpoint_uris(str(disk / "run"))[-1])
        kept.verify()
        assert kept.step == 8
        filler.unlink()
        lines: list[str] = []
        outcome = train_alone(run_in(disk / "run"), say=lines.append, report=[].append)
        assert "resumed run from step 8" in lines
        last = Checkpoint.load(checkpoint_uris(str(disk / "run"))[-1])
        assert weights_hash(dict(last.weights)) == outcome["weights_sha256"] == undisturbed["weights_sha256"]
