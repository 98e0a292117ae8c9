"""Detection of bfloat16 instructions, and the choice of `training.mixed_precision`."""

from __future__ import annotations

from pathlib import Path

import pytest

from textgen import presets
from textgen.runs import precision
from textgen.runs.precision import multiplies_bfloat16, precision_line, with_precision
from textgen.spec import override
from textgen.spec.model import LONGEST_UNROLLED

ABLE = "processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm bf16 dgh\n"
UNABLE = "model name\t: avx512_bf16\nflags\t\t: fpu avx512f avx512_bf16x sse\n"

TOO_LONG = {"windows.context_length": LONGEST_UNROLLED + 1, "windows.stride": LONGEST_UNROLLED + 1}
UNAFFECTED = (
    presets.sentiment(),
    override(presets.tiny(), {"model.cell": "gru"}),
    override(presets.tiny(), TOO_LONG),
    override(presets.sentiment_finetuned(), {"classifier.max_document_ids": LONGEST_UNROLLED + 1}),
)


@pytest.fixture
def cpu_info(tmp_path: Path) -> Path:
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(("content", "expected"), [(ABLE, True), (ARM, True), (UNABLE, False), ("", False)])
def test_instructions_are_read_from_the_flags_only(cpu_info: Path, content: str, expected: bool) -> None:
    assert not multiplies_bfloat16(cpu_info)
    cpu_info.write_text(content)
    assert multiplies_bfloat16(cpu_info) is expected


@pytest.mark.parametrize(
    ("content", "is_mixed", "expected"),
    [
        (ABLE, True, "bfloat16 (training.mixed_precision)"),
        (ABLE, False, "mixed_precision=true would train faster"),
        (UNABLE, True, "false would train faster"),
        (UNABLE, False, "no instructions for bfloat16"),
    ],
)
def test_the_log_line_names_the_precision_and_a_faster_one(
    cpu_info: Path, content: str, is_mixed: bool, expected: str
) -> None:
    spec = override(presets.tiny(), {"training.mixed_precision": is_mixed})
    assert precision_line(spec, cpu_info=cpu_info) is None  # The file does not exist yet.
    cpu_info.write_text(content)
    line = precision_line(spec, cpu_info=cpu_info)
    assert line is not None
    assert line.endswith(expected)


def test_there_is_no_log_line_if_the_setting_does_not_affect_the_speed(cpu_info: Path) -> None:
    cpu_info.write_text(ABLE)
    for spec in UNAFFECTED:
        assert precision_line(spec, cpu_info=cpu_info) is None


@pytest.mark.parametrize("is_able", [True, False])
def test_a_spec_without_precision_takes_the_faster_one_of_the_cpu(
    is_able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: is_able)
    for spec in (presets.tiny(), presets.sentiment_finetuned()):
        assert spec.training.mixed_precision is None
        decided = with_precision(spec, on_gpu=False)
        assert decided == override(spec, {"training.mixed_precision": is_able})
        assert with_precision(spec, on_gpu=True).training.mixed_precision is False
    for spec in UNAFFECTED:
        assert with_precision(spec, on_gpu=False).training.mixed_precision is False


@pytest.mark.parametrize("chosen", [True, False])
def test_a_spec_with_precision_keeps_it(chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: not chosen)
    spec = override(presets.tiny(), {"training.mixed_precision": chosen})
    assert with_precision(spec, on_gpu=True) is spec
