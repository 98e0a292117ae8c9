"""The job `probe`: its flags reach the probe, and mistakes are one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.probe import main
from tests.probed_checkpoint import probed_checkpoint, probed_manifest
from textgen.errors import UserError

pytestmark = pytest.mark.tensorflow


def test_it_prints_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = probed_manifest(tmp_path / "windows")
    checkpoint = probed_checkpoint(tmp_path / "checkpoint", manifest)
    output = tmp_path / "out"
    flags = ["--checkpoint", checkpoint.uri, "--output", str(output)]
    main([*flags, "--labels", "good,bad", "--completions", "0"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert (output / "result.json").read_text() == last + "\n"
    result = json.loads(last)
    assert result["labels"] == ["good", "bad"]
    assert "steering" not in result
    assert {"probes", "label_efficiency", "unit", "trace_uri", "seconds"} <= set(result)
    with pytest.raises(UserError, match="labelled bad, good, not good, great"):
        main([*flags, "--labels", "good,great"])
