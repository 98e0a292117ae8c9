"""What a training is told about its CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from textgen import presets
from textgen.spec import override
from textgen.training.processor import multiplies_bfloat16, precision_advice

ABLE = "processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm bf16 dgh\n"
UNABLE = "model name\t: avx512_bf16\nflags\t\t: fpu avx512f avx512_bf16x sse\n"


@pytest.fixture
def cpu_info(tmp_path: Path) -> Path:
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(("content", "expected"), [(ABLE, True), (ARM, True), (UNABLE, False), ("", False)])
def test_instructions_are_found_among_the_flags_alone(cpu_info: Path, content: str, expected: bool) -> None:
    assert not multiplies_bfloat16(cpu_info)
    cpu_info.write_text(content)
    assert multiplies_bfloat16(cpu_info) is expected


@pytest.mark.parametrize(
    ("content", "settings", "expected"),
    [
        (ABLE, {}, "mixed_precision=true would"),
        (ABLE, {"training.mixed_precision": True}, None),
        (UNABLE, {"training.mixed_precision": True}, "mixed_precision=false would"),
        (UNABLE, {}, None),
        (ABLE, {"model.cell": "gru"}, None),
    ],
)
def test_advice_is_given_where_the_other_setting_is_faster(
    cpu_info: Path, content: str, settings: dict[str, object], expected: str | None
) -> None:
    spec = override(presets.tiny(), settings)
    assert precision_advice(spec, longest_window=32, cpu_info=cpu_info) is None  # There is no such file.
    cpu_info.write_text(content)
    assert precision_advice(spec, longest_window=31, cpu_info=cpu_info) is None
    advice = precision_advice(spec, longest_window=32, cpu_info=cpu_info)
    assert advice is None if expected is None else expected in str(advice)


def test_a_classifier_has_the_setting_where_a_language_model_reads_its_documents(cpu_info: Path) -> None:
    cpu_info.write_text(ABLE)
    assert precision_advice(presets.sentiment(), longest_window=1000, cpu_info=cpu_info) is None
    reading = presets.sentiment_finetuned()
    num_ids = reading.classifier.max_document_ids
    assert precision_advice(reading, longest_window=num_ids - 1, cpu_info=cpu_info) is None
    assert "mixed_precision=true would" in str(precision_advice(reading, longest_window=num_ids, cpu_info=cpu_info))
