"""Workers of Ray, however many, write what one process writes; what they lose is done again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.job_process import result_of, run_job
from tests.written_checkpoint import write_checkpoint, write_classifier
from textgen import storage
from textgen.batch.generating import Generation
from textgen.batch.pool import run_in_pool
from textgen.batch.run import run_batch
from textgen.batch.tasks import Work
from textgen.errors import UserError
from textgen.generation.completions import sampling_of
from textgen.model.checkpoint import Checkpoint

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]


def texts_of(uri: str, name: str) -> list[Any]:
    """Returns a field of all lines of all shards."""
    files = [file.uri for file in storage.list_files(uri) if "/part-" in file.uri]
    return [json.loads(line)[name] for file in files for line in storage.read_bytes(file).decode().splitlines()]


def test_any_number_of_workers_completes_as_one_process_does(ray_head: Any, s3_server: str, tmp_path: Path) -> None:
    uri = write_checkpoint(tmp_path / "model", max_new_chars=12)
    prompts = ["a" + "".join("abceh "[(number * k) % 6] for k in range(1, 2 + number % 7)) for number in range(70)]
    place = f"{s3_server}/batch"
    for name, own in (("a.txt", prompts[:41]), ("b.txt", prompts[41:])):
        storage.write_bytes(f"{place}/in/{name}", "\n".join(own).encode())
    flags = ["--checkpoint", uri, "--input", f"{place}/in/*.txt", "--rows-per-shard", "8"]
    two = result_of(
        run_job("generate", *flags, "--output", f"{place}/two", "--num-workers", "2"), output=f"{place}/two"
    )
    assert (two["prompts"], two["completions"], two["shards"]) == (70, 70, 6 + 4)
    settings = Generation.settings_of(sampling_of(Checkpoint.load(uri), {}), condition={}, guidance=1.0, units=())
    work = Work(job="generate", checkpoint_uri=uri, settings=settings)
    said: list[str] = []
    one = run_batch(work, [f"{place}/in"], output=f"{place}/one", rows_per_shard=20, num_workers=1, say=said.append)
    assert one["shards"] == 3 + 2
    assert "starting 1 worker" in said
    storage.write_bytes(f"{place}/all.txt", "\n".join(prompts).encode())
    alone = run_job("generate", "--checkpoint", uri, "--prompts", f"{place}/all.txt")
    expected = [json.loads(line)["completion"] for line in alone.stdout.splitlines()]
    assert texts_of(two["completions_uri"], "completion") == expected
    assert texts_of(one["completions_uri"], "completion") == expected
    assert texts_of(two["completions_uri"], "prompt") == prompts


def test_workers_label_as_one_process_does(ray_head: Any, tmp_path: Path) -> None:
    uri = write_classifier(tmp_path / "classifier")
    texts = [["a fine great film", "dull awful film", "foo", "film"][number % 4] for number in range(30)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    work = Work(job="classify", checkpoint_uri=uri, settings={})
    output = str(tmp_path / "out")
    result = run_batch(
        work, [str(tmp_path / "texts.txt")], output=output, rows_per_shard=8, num_workers=2, say=lambda _: None
    )
    assert (result["texts"], result["labelled"], result["shards"]) == (30, 16, 4)
    alone = run_job("classify", "--checkpoint", uri, "--file", str(tmp_path / "texts.txt"))
    expected = [json.loads(line) for line in alone.stdout.splitlines()]
    for name in ("text", "label", "confidence", "reason"):
        assert texts_of(result["labels_uri"], name) == [row[name] for row in expected]


def mistaken(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"number": item["number"]}
    if item["number"] == 1:
        raise UserError("mend it")


def killed_once(item: Mapping[str, Any], *, marker: str) -> Iterator[dict[str, Any]]:
    """Yields twice for every item; the first worker of item 1 dies between."""
    yield {"number": item["number"], "yielded": 1}
    if item["number"] == 1 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield {"number": item["number"], "yielded": 2}


def test_a_lost_worker_s_items_are_done_again_and_said_once(ray_head: Any, tmp_path: Path) -> None:
    items = [{"number": number} for number in range(4)]
    marker = str(tmp_path / "killed")
    found = run_in_pool(killed_once, items, num_workers=2, say=lambda _: None, marker=marker)
    assert sorted((values["number"], values["yielded"]) for values in found) == [
        (number, yielded) for number in range(4) for yielded in (1, 2)
    ]
    assert Path(marker).exists()
    with pytest.raises(UserError, match=r"^mend it$"):
        list(run_in_pool(mistaken, items, num_workers=None, say=lambda _: None))
    assert list(run_in_pool(mistaken, [], num_workers=2, say=lambda _: None)) == []
