from __future__ import annotations

import json
from pathlib import Path

import pytest

from textgen.errors import UserError
from textgen.generation.completions import Prompt, parse_condition, read_prompts, requests_of, sampling_of
from textgen.generation.stream import Request
from textgen.model.checkpoint import Checkpoint
from textgen.presets import preset
from textgen.spec import SamplingSpec, override
from textgen.windows.vocabulary import Vocabulary


def checkpoint_at(folder: Path) -> Checkpoint:
    return Checkpoint(
        uri=str(folder),
        spec=override(preset("tiny"), {"sampling.temperature": 0.3, "sampling.n": 2}),
        vocabulary=Vocabulary(unit="characters", symbols=(97, 98)),
        run_name="run",
        manifest_uri="",
        manifest_hash="",
        position={"step": 1},
        metrics={},
    )


def test_command_line_settings_override_the_sweeps_and_these_the_specs(tmp_path: Path) -> None:
    checkpoint = checkpoint_at(tmp_path)
    assert sampling_of(checkpoint, {}) == SamplingSpec(temperature=0.3, n=2, max_new_chars=200)
    (tmp_path / "sampling.json").write_text(json.dumps({"temperature": 0.85, "top_k": 7}))
    assert sampling_of(checkpoint, {}) == SamplingSpec(temperature=0.85, top_k=7, n=2, max_new_chars=200)
    changed = sampling_of(checkpoint, {"sampling.temperature": "1", "sampling.stop": '["\\n"]'})
    assert changed == SamplingSpec(temperature=1.0, top_k=7, n=2, max_new_chars=200, stop=("\n",))


def test_only_sampling_settings_can_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.units; .* sampling\.\*"):
        sampling_of(checkpoint_at(tmp_path), {"model.units": "3"})


def test_every_prompt_has_n_requests() -> None:
    settings = SamplingSpec(n=3)
    requests = requests_of([Prompt(text="a"), Prompt(text="b")], settings)
    assert requests == [Request(prompt=p, settings=settings, index=i) for p in "ab" for i in range(3)]


def test_a_prompt_may_override_settings() -> None:
    prompts = [Prompt(text="a", changes={"temperature": 0.5, "n": 2}), Prompt(text="b")]
    requests = requests_of(prompts, SamplingSpec(temperature=1.5))
    assert [(r.prompt, r.settings.temperature, r.index) for r in requests] == [
        ("a", 0.5, 0),
        ("a", 0.5, 1),
        ("b", 1.5, 0),
    ]
    with pytest.raises(UserError, match=r"sampling\.temprature"):
        requests_of([Prompt(text="a", changes={"temprature": 1})], SamplingSpec())


def test_a_prompt_may_have_its_own_condition() -> None:
    prompts = [Prompt(text="a", condition={"label": 1}), Prompt(text="b")]
    requests = requests_of(prompts, SamplingSpec(), condition={"label": "5", "category": "tea"})
    assert [request.condition for request in requests] == [
        {"label": 1, "category": "tea"},
        {"label": "5", "category": "tea"},
    ]
    assert requests_of([Prompt(text="a")], SamplingSpec())[0].condition == {}


def test_conditions_of_the_command_line_and_of_files_are_parsed(tmp_path: Path) -> None:
    assert parse_condition(["label=1", " category = tea=green"]) == {"label": "1", "category": "tea=green"}
    for wrong in (["label"], ["=1"], ["label=1", "label=2"]):
        with pytest.raises(UserError, match=f"--condition received '{wrong[-1]}'; write each condition once"):
            parse_condition(wrong)
    rows = tmp_path / "prompts.jsonl"
    rows.write_text('{"prompt": "a", "condition": {"stars": 1}, "n": 2}\n')
    assert read_prompts(str(rows)) == [Prompt(text="a", changes={"n": 2}, condition={"stars": 1})]


def test_prompts_are_lines_or_json_lines(tmp_path: Path) -> None:
    text, rows = tmp_path / "prompts.txt", tmp_path / "prompts.jsonl"
    text.write_bytes("\ufeffone two \r\n\n{three}\n".encode())
    assert read_prompts(str(text)) == [Prompt(text="one two "), Prompt(text="{three}")]
    rows.write_text('{"prompt": "", "stop": ", "}\n{"prompt": "", "stop": ["\\n", ". "]}\n')
    stops = [request.settings.stop for request in requests_of(read_prompts(str(rows)), SamplingSpec())]
    assert stops == [(", ",), ("\n", ". ")]
    rows.write_text('{"prompt": "a\\nb"}\n\n{"prompt": "", "temperature": 0.5, "n": 2}\n')
    assert read_prompts(str(rows)) == [Prompt(text="a\nb"), Prompt(text="", changes={"temperature": 0.5, "n": 2})]


@pytest.mark.parametrize("line", ["plain", "3", '{"text": "a"}', '{"prompt": 3}', '{"prompt": "", "condition": 1}'])
def test_a_line_without_a_prompt_is_named(tmp_path: Path, line: str) -> None:
    rows = tmp_path / "prompts.jsonl"
    rows.write_text('{"prompt": "a"}\n' + line)
    with pytest.raises(UserError, match=r"prompt 2 of .*prompts\.jsonl"):
        read_prompts(str(rows))


def test_prompts_of_another_encoding_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("é".encode("cp1252"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_prompts(str(path))
