"""The job on S3 and Ray: the same result with one CPU and two, one sentence for each user error."""

from __future__ import annotations

import gzip
import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import ingest as job
from tests.ingest_helpers import ids_of, ingested
from textgen import s3_client, storage
from textgen.errors import UserError
from textgen.ingest import exchange, grouping
from textgen.ingest import pipeline as ingest_module
from textgen.ingest.ray_tasks import run_tasks
from textgen.windows.manifest import Manifest

# Ray Data 2.60 sets deprecated fields of its context when the context is copied to a task.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")

SETTINGS: dict[str, Any] = {
    "corpus__encoding": "utf-8",
    "windows__shard_bytes": 5_000,
    "corpus__min_split_documents": 11,
}


@pytest.fixture
def bucket(s3_server: str) -> str:
    """An S3 prefix for one test."""
    return storage.join(s3_server, secrets.token_hex(4))


def put_corpus(prefix: str) -> int:
    """Writes reviews in three formats, with duplicates across objects; returns the number of records."""
    drawn = random.Random(5)
    rows = [
        (" ".join(drawn.choices(["good", "bad", "film", "תודה", "😀"], k=9)), drawn.randint(1, 5)) for _ in range(500)
    ]
    rows += rows[:70]
    tsv = "review_body\tstar_rating\n" + "".join(f"{text}\t{label}\n" for text, label in rows[:300])
    storage.write_bytes(storage.join(prefix, "in", "a.tsv.gz"), gzip.compress(tsv.encode()))
    for name, part in (("b.json.gz", rows[300:400]), ("c.json.gz", rows[400:])):
        lines = "".join(json.dumps({"reviewText": text, "overall": float(label)}) + "\n" for text, label in part)
        storage.write_bytes(storage.join(prefix, "in", name), gzip.compress(lines.encode()))
    return len(rows)


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Limits Ray Data to one of the head's two CPUs."""
    import ray.data

    options = ray.data.DataContext.get_current().execution_options
    before = options.resource_limits
    options.resource_limits = before.copy(cpu=1)
    yield
    options.resource_limits = before


@pytest.mark.ray
@pytest.mark.usefixtures("ray_head")
def test_one_cpu_and_two_give_the_same_ids(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    num_records = put_corpus(bucket)
    monkeypatch.setattr(ingest_module, "RANGE_BYTES", 20_000)
    monkeypatch.setattr(grouping, "GROUP_BYTES", 1)
    monkeypatch.setattr(exchange, "MIN_RUN_BYTES", 1)
    result, manifest = ingested([storage.join(bucket, "in")], storage.join(bucket, "two"), **SETTINGS)
    assert result["records"] == num_records
    assert result["duplicates"] >= 70
    request.getfixturevalue("one_cpu")
    listed = storage.list_files
    monkeypatch.setattr(storage, "list_files", lambda uri: listed(uri)[::-1])
    sources = [storage.join(bucket, "in", name) for name in ("c*", "a*", "b.json.gz")]
    _, other = ingested(sources, storage.join(bucket, "one"), **SETTINGS)
    assert len(manifest.split("train").shards) > 1
    assert other.hash == manifest.hash
    assert ids_of(other, tmp_path / "one") == ids_of(manifest, tmp_path / "two")


def loaded_modules(item: Any) -> Iterator[dict[str, Any]]:
    """A task that returns the modules that its worker has loaded."""
    import textgen.ingest.tasks  # noqa: F401

    yield {"item": item["number"], "tensorflow": "tensorflow" in sys.modules}


def refuse(item: Any) -> Iterator[dict[str, Any]]:
    """A task that raises a user error."""
    yield {}
    raise UserError(f"item {item['number']} is wrong; mend it")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_head")
def test_workers_load_no_tensorflow() -> None:
    found = list(run_tasks(loaded_modules, [{"number": 3}, {"number": 4}], say=print))
    assert sorted(found, key=lambda values: values["item"]) == [
        {"item": 3, "tensorflow": False},
        {"item": 4, "tensorflow": False},
    ]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_head")
def test_a_user_error_on_a_worker_arrives_as_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"^item 7 is wrong; mend it$"):
        list(run_tasks(refuse, [{"number": 7}], say=print))
    captured = capfd.readouterr()
    assert "Traceback" not in captured.out + captured.err


def run_job(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.ingest", "--preset", "tiny", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=240)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_head")
def test_the_job_prints_its_result_last_and_writes_it(bucket: str) -> None:
    num_records = put_corpus(bucket)
    source, output = storage.join(bucket, "in", "*.gz"), storage.join(bucket, "out")
    done = run_job("--source", source, "--output", output, "--set", "corpus.min_split_documents=11")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert json.loads(storage.read_bytes(storage.join(output, "result.json"))) == result
    assert list(result)[:11] == [
        "manifest_uri",
        "records",
        "documents",
        "duplicates",
        "dropped",
        "rejected",
        "characters",
        "distinct_characters",
        "vocab_size",
        "windows",
        "stored_bytes",
    ]
    assert result["records"] == num_records
    assert [(way["format"], way["columns"]["text"], way["parts"]) for way in result["read_as"]] == [
        ("json lines", "reviewText", 2),
        ("tsv", "review_body", 1),
    ]
    assert "label from 'overall' (recognised by its name)" in done.stderr
    assert Manifest.load(result["manifest_uri"]).hash == result["manifest_hash"]
    for secret in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        assert os.environ[secret] not in storage.read_bytes(storage.join(output, "manifest.json")).decode()
        assert os.environ[secret] not in done.stdout + done.stderr


@pytest.mark.ray
@pytest.mark.usefixtures("ray_head")
def test_a_truncated_object_ends_the_job_with_one_sentence(bucket: str) -> None:
    put_corpus(bucket)
    whole = storage.read_bytes(storage.join(bucket, "in", "a.tsv.gz"))
    storage.write_bytes(storage.join(bucket, "in", "d.tsv.gz"), whole[:-40])
    done = run_job("--source", storage.join(bucket, "in"), "--output", storage.join(bucket, "out"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "d.tsv.gz is truncated or damaged" in sentence
    assert "download it again" in sentence


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://no-such-bucket/reviews", "there is no bucket 'no-such-bucket'"),
        ("{bucket}/nothing/", "holds no files"),
        ("{bucket}/nothing/*.tsv", "holds no files"),
        ("gs://bucket/reviews", "use s3://bucket/path or a local path"),
        ("/no/such/file.csv", "/no/such/file.csv does not exist"),
    ],
)
def test_missing_sources_end_the_job_before_ray_starts(bucket: str, source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        job.main(["--source", source.format(bucket=bucket), "--output", storage.join(bucket, "out")])


def test_wrong_credentials_end_the_job_with_the_variable_to_check(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3_client.forget()
    try:
        with pytest.raises(UserError, match=r"check AWS_(SECRET_ACCESS_KEY|ACCESS_KEY_ID)"):
            job.main(["--source", storage.join(bucket, "in"), "--output", storage.join(bucket, "out")])
    finally:
        s3_client.forget()


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"corpus\.encoding"):
        job.main(["--source", "movie-reviews", "--output", "unused", "--set", "corpus.encodin=cp1252"])
