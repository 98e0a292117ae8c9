"""The job `probe`: its flags reach the probe, and it prints what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.probe import main

PROBED = {
    "checkpoint_uri": "runs/a",
    "trace_uri": "probe/trace.png",
    "probes": {"language_model": {"accuracy": 0.75}, "tfidf": {"accuracy": 0.85}},
    "hold": {"unit": {"negative": ["17=-3"], "positive": ["17=3"]}},
}

pytestmark = pytest.mark.tensorflow


def test_flags_reach_the_probe_and_the_result_is_printed_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[dict[str, Any]] = []

    def probe(checkpoint_uri: str, **settings: Any) -> dict[str, Any]:
        settings.pop("say")("reading")
        received.append({"checkpoint_uri": checkpoint_uri, **settings})
        return PROBED

    monkeypatch.setattr("textgen.probing.probe.probe", probe)
    main(["--checkpoint", "a", "--output", str(tmp_path / "a")])
    narrowed = [
        "--windows",
        "c",
        "--category",
        "imdb",
        "--labels",
        "1,5",
        "--max-documents",
        "50",
        "--completions",
        "0",
    ]
    main(["--checkpoint", "b", "--output", str(tmp_path), *narrowed])
    plain = {
        "windows_uri": None,
        "output": str(tmp_path / "a"),
        "category": None,
        "given_labels": None,
        "max_documents": None,
    }
    assert received[0] == {"checkpoint_uri": "a", **plain, "num_completions": 200}
    given = {"windows_uri": "c", "category": "imdb", "given_labels": ["1", "5"], "max_documents": 50}
    assert received[1] == {"checkpoint_uri": "b", "output": str(tmp_path), **given, "num_completions": 0}
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1]) == PROBED
    assert (tmp_path / "result.json").read_text() == printed.out.splitlines()[-1] + "\n"
    assert printed.err.splitlines().count("reading") == 2
    assert printed.err.splitlines()[-1] == "next: python -m jobs.generate --checkpoint runs/a --unit 17=3"
