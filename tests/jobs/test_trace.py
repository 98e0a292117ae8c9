"""`jobs.trace` end to end: it names the documents of a row, from the checkpoint of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs.trace import main
from tests.written_windows import tiny_spec, written_manifest
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint, checkpoint_uri
from textgen.runs.start import start_run
from textgen.windows.shards import iter_documents


def test_a_row_of_a_step_is_traced_to_its_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = written_manifest(str(tmp_path / "windows"), {"train": [f"the cat sat {i} times" for i in range(30)]})
    run = str(tmp_path / "run")
    Checkpoint(
        uri=checkpoint_uri(run, 5),
        spec=tiny_spec(training__global_batch_size=3),
        vocabulary=manifest.vocabulary,
        run_name="run",
        manifest_uri=manifest.uri,
        manifest_hash=manifest.hash,
        position={"step": 5},
        metrics={},
    ).save(weights={"logits/bias": np.zeros(3)})
    output = tmp_path / "trace"
    main(["--checkpoint", run, "--step", "2", "--row", "1", "--output", str(output)])
    *lines, last = capsys.readouterr().out.splitlines()
    (row,) = json.loads(last)["rows"]
    assert json.loads((output / "result.json").read_text())["rows"] == [row]
    texts = {document.document_id: document.text for document in iter_documents(manifest, "train")}
    read = "\n".join(texts[document["document_id"]] for document in row["documents"])
    assert row["text"].strip("\n") in read
    assert lines[0].startswith("row 1: documents ")
    assert lines[1] == f"  window {row['window']}: {row['text']!r}"


def test_a_run_that_ended_before_its_first_checkpoint_is_traced_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = written_manifest(str(tmp_path / "windows"), {"train": [f"the cat sat {i} times" for i in range(30)]})
    spec = tiny_spec(training__global_batch_size=3)
    run = start_run(spec, manifest_uri=manifest.uri, output=str(tmp_path), run_name="run").run
    main(["--checkpoint", run.run_uri, "--step", "2", "--row", "1", "--output", str(tmp_path / "trace")])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["uri"] == run.run_uri
    assert [row["row"] for row in result["rows"]] == [1]
    with pytest.raises(UserError, match="is neither a checkpoint nor a run"):
        main(["--checkpoint", str(tmp_path / "windows"), "--step", "2"])
