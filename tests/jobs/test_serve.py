from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from jobs import serve
from jobs.serve import main
from tests.written_checkpoint import write_checkpoint
from textgen.errors import UserError
from textgen.local.background import free_port
from textgen.model.checkpoint import Checkpoint

ROOT = Path(__file__).resolve().parents[2]


def test_detaching_needs_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="needs a cluster"):
        main(["--checkpoint", "nowhere", "--detach"])


@pytest.mark.tensorflow
def test_invalid_arguments_are_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(serve, "connect", refuse)
    uri = write_checkpoint(tmp_path / "untrained")
    with pytest.raises(UserError, match=r"--port is 70000; use a port from 1 to 65535"):
        main(["--checkpoint", uri, "--port", "70000"])
    classifier = dataclasses.replace(Checkpoint.load(uri), uri=str(tmp_path / "labels"), classes=("bad", "good"))
    classifier.save(weights={})
    with pytest.raises(UserError, match=r"labels is a classifier; give it to jobs\.classify"):
        main(["--checkpoint", classifier.uri])
    (tmp_path / "untrained" / "weights.npz").write_bytes(b"other")
    with pytest.raises(UserError, match=r"weights\.npz differs from what was written"):
        main(["--checkpoint", uri])


@pytest.fixture(scope="module")
def served(ray_head: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Starts the job on a checkpoint with a sweep's sampling settings; yields process, checkpoint and printed URL."""
    folder = tmp_path_factory.mktemp("best")
    write_checkpoint(folder, max_new_chars=50)
    (folder / "sampling.json").write_text(json.dumps({"temperature": 0.9}))
    arguments = ["--checkpoint", str(folder), "--port", str(free_port()), "--output", str(folder / "out")]
    arguments += ["--set", "sampling.max_new_chars=40"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.serve", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout
    try:
        result = json.loads(process.stdout.readline())
        assert result["models"] == ["untrained"]
        assert json.loads((folder / "out/result.json").read_text()) == result
        yield process, str(folder), result["url"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.ray
@pytest.mark.tensorflow
def test_the_openai_client_is_served_until_the_job_is_stopped(served: tuple[subprocess.Popen[str], str, str]) -> None:
    process, checkpoint, url = served
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["untrained"]
    made = client.completions.create(model="untrained", prompt="the Cab", temperature=1, seed=5, n=3)
    again = client.completions.create(model="untrained", prompt="the Cab", temperature=1, seed=5)
    assert len(made.choices) == 3
    assert len({choice.text for choice in made.choices}) == 3
    assert again.choices[0].text == made.choices[0].text
    assert made.usage is not None
    assert made.usage.completion_tokens == sum(len(choice.text) for choice in made.choices) <= 120
    with pytest.raises(openai.BadRequestError, match="streaming is not supported yet"):
        client.completions.create(model="untrained", prompt="a", stream=True)
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client.completions.create(model="gpt", prompt="a")

    elsewhere = [sys.executable, "-m", "jobs.serve", "--checkpoint", checkpoint, "--port", str(free_port())]
    refused = subprocess.run([*elsewhere, "--name", "other"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2
    assert "Ray Serve already runs on this cluster, but does not answer at http" in refused.stderr
    assert [model.id for model in client.models.list()] == ["untrained"]

    port = url.rpartition(":")[2]
    second = [sys.executable, "-m", "jobs.serve", "--checkpoint", checkpoint, "--port", port]
    refused = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2
    assert "an endpoint named untrained already runs on this cluster" in refused.stderr
    with subprocess.Popen([*second, "--name", "other"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as beside:
        assert beside.stdout
        assert json.loads(beside.stdout.readline()) == {"url": f"{url}/other", "models": ["other"]}
        other = openai.OpenAI(base_url=f"{url}/other/v1", api_key="none", max_retries=0)
        same = other.completions.create(model="other", prompt="the Cab", temperature=1, seed=5)
        assert same.choices[0].text == again.choices[0].text
        beside.send_signal(signal.SIGINT)
        assert beside.wait(60) == 0
    with pytest.raises(openai.NotFoundError):
        other.models.list()
    assert [model.id for model in client.models.list()] == ["untrained"]

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    with pytest.raises(openai.APIConnectionError):
        client.models.list()
