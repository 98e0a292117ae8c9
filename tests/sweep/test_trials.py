"""What trials compare and report, with stand-ins for Tune and the engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.runs import lease
from textgen.runs.lease import LeaseLostError
from textgen.runs.recording import HISTORY_NAME
from textgen.spec import SamplingSpec, SweepSpec
from textgen.sweep import trials
from textgen.training import driver as training
from textgen.windows.manifest import Manifest

VAL = ["abcdefg", "", "hi", "klmnopqrstu"]


def manifest_in(folder: object, *, separator: str | None = None) -> Manifest:
    texts = ["abcdefghi klmno pqrstu vw"]
    return written_manifest(f"{folder}/windows", {"train": texts, "val": VAL}, separator=separator)


def test_documents_of_val_are_cut_to_the_length_of_completions(tmp_path: object) -> None:
    texts = list(trials.reference_texts(manifest_in(tmp_path), SweepSpec(completion_chars=4)))
    assert texts == ["abcd", "", "hi", "klmn"]


def test_joined_documents_are_cut_into_pieces(tmp_path: object) -> None:
    texts = list(trials.reference_texts(manifest_in(tmp_path, separator=" "), SweepSpec(completion_chars=5)))
    assert texts == ["abcde", "fg  h", "i klm", "nopqr", "stu "]


def test_no_more_documents_than_needed(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "MAX_REFERENCE_TEXTS", 2)
    assert list(trials.reference_texts(manifest_in(tmp_path), SweepSpec())) == ["abcdefg", ""]
    joined = trials.reference_texts(manifest_in(tmp_path, separator=" "), SweepSpec(completion_chars=3))
    assert list(joined) == ["abc", "def"]


def test_a_temperature_is_tried_with_the_specs_other_settings() -> None:
    spec = replace(
        tiny_spec(sweep__completion_chars=11),
        sampling=SamplingSpec(temperature=0.1, top_k=5, top_p=0.9, stop=("x",), n=4, seed=8, max_new_chars=99),
    )
    expected = SamplingSpec(temperature=0.6, top_k=5, top_p=0.9, stop=(), n=1, seed=8, max_new_chars=11)
    assert trials.sampling_at(spec, 0.6) == expected


@dataclass
class Said:
    completion: str


class Parrot:
    """Returns the same text for every request, and records the requests."""

    def __init__(self, completion: str) -> None:
        self.completion = completion
        self.requests: list[Any] = []

    def generate(self, requests: list[Any]) -> list[Said]:
        self.requests = requests
        return [Said(self.completion) for _ in requests]


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("completion", "lowest", "highest"), [("abcdefg", 0.0, 0.5), ("xyz", 1.0, 1.0), ("", 1.0, 1.0)]
)
def test_divergence_of_completions_from_val(
    completion: str, lowest: float, highest: float, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    parrot, reported = Parrot(completion), []
    monkeypatch.setattr(trials, "_engine", {"somewhere": parrot}.get)
    monkeypatch.setattr(trials.tune, "report", reported.append)
    trials._reference_counts.cache_clear()
    spec = tiny_spec(sweep__num_completions=3, sweep__completion_chars=7, sampling__seed=5)
    trials.temperature_trial(
        {"checkpoint_uri": "somewhere", "temperature": 0.5}, spec=spec, windows_uri=manifest_in(tmp_path).uri
    )
    assert [request.index for request in parrot.requests] == [0, 1, 2]
    assert {(request.prompt, request.settings.seed) for request in parrot.requests} == {("", 5)}
    assert len(reported) == 1
    assert lowest <= reported[0]["divergence"] <= highest


def train_8_units(output: Path, *, driver: str) -> None:
    config = {"units": 8}
    trials.training_trial(
        config, spec=tiny_spec(), windows_uri="", output=str(output), driver=driver, num_workers=1, num_threads=1
    )


def test_a_trial_does_not_train_after_another_driver_claims_the_sweep(tmp_path: Path) -> None:
    for driver in ("older", "newer"):
        lease.claim(str(tmp_path), driver)
    with pytest.raises(LeaseLostError, match="another command claimed"):
        train_8_units(tmp_path, driver="older")


def test_a_resumed_run_first_reports_its_earlier_validations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = tmp_path / "runs" / trials.run_name(8) / HISTORY_NAME
    history.parent.mkdir(parents=True)
    lines = [{"step": step, "val_bits_per_character": bits, "predictions": 7} for step, bits in ((10, 3.0), (20, 2.5))]
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    reported: list[dict[str, Any]] = []
    monkeypatch.setattr(trials.tune, "report", reported.append)
    monkeypatch.setattr(training, "train_here", lambda *_, **__: {"step": 30, "val_bits_per_character": 2.0})
    train_8_units(tmp_path, driver="own")
    assert [(figures["step"], figures["val_bits_per_character"]) for figures in reported] == [
        (10, 3.0),
        (20, 2.5),
        (30, 2.0),
    ]
    assert all("predictions" not in figures for figures in reported)
