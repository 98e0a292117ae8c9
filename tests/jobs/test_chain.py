"""The chain as a user runs it: jobs submitted to the head that read and write a bucket and leak no secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import jobs
from tests.step_records import alone, assert_same, recorded
from textgen import storage
from textgen.local.checkout import Checkout
from textgen.local.s3 import s3_environment
from textgen.local.submit import submit
from textgen.presets import preset
from textgen.settings import parse_settings
from textgen.spec import override
from textgen.windows.manifest import Manifest

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]

ROOT = Path(jobs.__file__).resolve().parent.parent
SMALL = (
    "model.units=16",
    "model.num_layers=2",
    "model.dropout=0.3",
    "training.max_steps=20",
    "training.optimizer=adam",  # Muon amplifies the rounding by which two workers differ from one.
    "training.warmup_steps=5",
    "training.clip_norm=0.5",
    "training.global_batch_size=6",
    "training.sample_chars=8",
    "training.record_steps=true",
)
NUM_RECORDS = 400


def submitted(head: Checkout, *words: str) -> tuple[int, str]:
    """Submits a job and returns its exit code and output."""
    pieces: list[str] = []
    code = submit(["python", "-m", *words], working_dir=ROOT, checkout=head, show=pieces.append)
    return code, "".join(pieces)


def result_of(head: Checkout, output: str, *words: str, below: str = "") -> dict[str, Any]:
    """Submits a job that must succeed; returns its last line, which must equal `result.json` (in `below`)."""
    code, log = submitted(head, *words, "--output", output)
    assert code == 0, log
    result: dict[str, Any] = json.loads(log.strip().splitlines()[-1])
    assert json.loads(storage.read_bytes(storage.join(output, below, "result.json"))) == result
    return result


def test_the_chain_by_submitted_jobs_with_two_workers_that_learn_what_one_does(
    ray_head: Checkout, s3_server: str, tmp_path: Path
) -> None:
    home = storage.join(s3_server, "chain")
    rows = [
        {"text": f"Film {i % 390} was <br />good &amp; long, said {i % 7}", "label": i % 2} for i in range(NUM_RECORDS)
    ]
    storage.write_bytes(
        storage.join(home, "in", "reviews.jsonl"), "".join(json.dumps(row) + "\n" for row in rows).encode()
    )
    windows = storage.join(home, "windows")
    ingested = result_of(ray_head, windows, "jobs.ingest", "--preset", "tiny", "--source", storage.join(home, "in"))
    assert ingested["records"] == NUM_RECORDS
    outcomes = ("documents", "duplicates", "dropped", "rejected")
    assert sum(ingested[outcome] for outcome in outcomes) == NUM_RECORDS
    assert set(ingested["windows"]) == {"train", "val", "test"}
    assert {"manifest_uri", "characters", "distinct_characters", "vocab_size", "stored_bytes", "seconds"} <= set(
        ingested
    )

    assert Manifest.load(windows).preset == "tiny"  # The training uses this preset too.
    runs = storage.join(home, "runs")
    settings = [word for setting in SMALL for word in ("--set", setting)]
    trained = result_of(
        ray_head, runs, "jobs.train", "--windows", windows, "--run-name", "one",
        "--num-workers", "2", *settings, below="one",
    )  # fmt: skip
    assert trained["step"] == 20
    assert trained["run_name"] == "one"
    assert trained["num_workers"] == 2
    spec = override(preset("tiny"), parse_settings(list(SMALL)))
    assert_same(alone(spec, Manifest.load(windows), tmp_path), recorded(storage.join(runs, "one")))
    assert {
        "checkpoint_uri", "epoch", "loss", "val_loss", "val_bits_per_character", "parameters", "num_workers",
        "chars_per_second", "seconds",
    } <= set(trained)  # fmt: skip
    log = storage.read_bytes(storage.join(runs, "one", "log.txt")).decode()
    assert "temperature 0.2" in log
    assert "best so far" in log

    scored = result_of(
        ray_head, storage.join(home, "scores"), "jobs.evaluate", "--checkpoint", storage.join(runs, "one")
    )
    assert scored["checkpoint_uri"] == trained["checkpoint_uri"]
    assert scored["split"] == "test"
    assert scored["characters"] == Manifest.load(windows).split("test").num_ids
    assert set(scored["baselines"]) >= {"unigram", "order5", "xz"}
    assert scored["bits_per_byte"] == pytest.approx(scored["bits_per_character"])  # All of the text is ASCII.

    code, printed = submitted(
        ray_head, "jobs.generate", "--checkpoint", trained["checkpoint_uri"], "--prompt", "film 3",
        "--set", "sampling.max_new_chars=5", "--set", "sampling.n=3",
    )  # fmt: skip
    assert code == 0, printed
    completions = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert [row["prompt"] for row in completions] == ["film 3"] * 3
    assert_no_secret(ray_head)


def assert_no_secret(head: Checkout) -> None:
    """Searches for the S3 secret in everything stored, logged or listed, and checks that the search works."""
    secret = s3_environment(head)["AWS_SECRET_ACCESS_KEY"].encode()
    assert len(secret) >= 32
    places = [head.s3_dir, head.temp_dir / "ray"]
    files = [path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.name for path in files}
    assert {"manifest.json", "checkpoint.json", "run.json", "log.txt", "raylet.out"} <= names
    assert [str(path) for path in files if secret in path.read_bytes()] == []
    from ray.job_submission import JobSubmissionClient

    listed = JobSubmissionClient(os.environ["RAY_API_SERVER_ADDRESS"]).list_jobs()
    assert len(listed) >= 4
    assert secret.decode() not in repr(listed)


def test_a_user_error_in_a_submitted_job_is_one_sentence(ray_head: Checkout, s3_server: str) -> None:
    code, log = submitted(
        ray_head, "jobs.train", "--windows", f"{s3_server}/nothing", "--output", f"{s3_server}/nowhere"
    )
    assert code == 2
    assert log.startswith("error: s3://textgen/nothing holds no manifest.json; run jobs.ingest")
    assert len(log.strip().splitlines()) == 1
