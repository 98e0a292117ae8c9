"""A batch says of its rows what the single process says, whatever stands beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import classify, generate, summaries
from tests.batch.shouting import lines_of
from tests.ingest_helpers import run_serially
from tests.written_checkpoint import write_checkpoint, write_classifier
from textgen.batch import run, tasks
from textgen.errors import UserError
from textgen.windows.conditions import Condition

pytestmark = pytest.mark.tensorflow

PROMPTS: list[dict[str, Any]] = [
    {"prompt": "a"},
    {"prompt": "The Xa", "n": 2},
    {"prompt": "cab", "temperature": 0.3, "seed": 5, "stop": "b"},
    {"prompt": "", "condition": {"stars": 5}},
    {"prompt": "a", "max_new_chars": 20, "top_k": 3},
]


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def pool(task: Any, items: Any, *, num_workers: int | None, say: Any, **arguments: Any) -> Any:
        return run_serially(task, items, say=say, **arguments)

    monkeypatch.setattr(run, "run_tasks", run_serially)
    monkeypatch.setattr(run, "run_in_pool", pool)
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")  # A batch sets it for its process.


@pytest.fixture(scope="module")
def model_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    stars = Condition(column="label", values=("1", "5"))
    return write_checkpoint(tmp_path_factory.mktemp("model"), conditions=(stars,), max_new_chars=9)


@pytest.fixture(scope="module")
def classifier_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_classifier(tmp_path_factory.mktemp("classifier"))


def lines_with(rows: list[dict[str, Any]], path: Path) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def alone(job: Any, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Returns the lines that a job prints as a single process."""
    capsys.readouterr()
    job.main(list(arguments))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def test_completions_are_those_of_the_single_process(
    model_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = lines_with(PROMPTS, tmp_path / "prompts.jsonl")
    drawn = ["--checkpoint", model_uri, "--seed", "3", "--condition", "stars=1", "--guidance", "2", "--unit", "3=+1"]
    expected = alone(generate, capsys, *drawn, "--prompts", uri)
    generate.main([*drawn, "--input", uri, "--output", str(tmp_path / "out"), "--rows-per-shard", "2"])
    printed = capsys.readouterr()
    found = lines_of(tmp_path / "out/completions")
    assert without(found, "input_file", "input_row") == expected
    assert [line["input_row"] for line in found] == [1, 2, 2, 3, 4, 5]
    result = json.loads(printed.out)
    assert result == json.loads((tmp_path / "out/result.json").read_text())
    assert (result["prompts"], result["completions"], result["shards"]) == (5, 6, 3)
    assert result["characters"] == sum(len(line["completion"]) for line in expected)
    assert "out/completions, 3 shards: 6 completions of 5 prompts, " in printed.err
    with pytest.raises(UserError, match="is the folder of a batch"):
        generate.main([*drawn, "--prompt", "a", "--output", str(tmp_path / "out")])


def test_what_stands_beside_a_prompt_is_carried(model_uri: str, tmp_path: Path) -> None:
    columns = {
        "text": ["a", "b"],
        "index": [7, 8],
        "when": pa.array([0, 1], pa.date32()),
        "temperature": [None, 0.5],
        "given_index": ["x", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "prompts.parquet")
    flags = ["--checkpoint", model_uri, "--input", str(tmp_path / "*.parquet"), "--output", str(tmp_path / "out")]
    generate.main(flags)
    first, second = lines_of(tmp_path / "out/completions")
    assert (first["prompt"], first["index"], first["given_given_index"], first["when"]) == ("a", 0, 7, "1970-01-01")
    assert (first["given_index"], first["temperature"]) == ("x", 0.7)
    assert (second["prompt"], second["given_index"], second["temperature"]) == ("b", 8, 0.5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"body": "a"}, "it has no prompt; a row has the form"),
        ({"prompt": 3}, "it has no prompt"),
        ({"prompt": "a", "condition": "stars"}, 'its condition is "stars"'),
        ({"prompt": "a", "condition": {"stars": 3}}, "label='3' does not occur in train"),
        ({"prompt": "a", "temperature": -1}, "sampling.temperature is -1"),
        ({"prompt": "a", "top_k": "many"}, "sampling.top_k is 'many'"),
        ({"prompt": "a\ud800"}, "half a character"),
    ],
)
def test_a_row_that_cannot_be_completed_is_named(
    model_uri: str, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    uri = lines_with([{"prompt": "a"}, row], tmp_path / "prompts.jsonl")
    with pytest.raises(UserError, match=rf"row 2 of .*prompts\.jsonl: .*{message}"):
        generate.main(["--checkpoint", model_uri, "--input", uri, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out/completions").exists()


def test_labels_are_those_of_the_single_process(
    classifier_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("fine", "great", "funny", "dull", "awful", "film", "foo")
    texts = [" ".join(words[(number * k) % 7] for k in range(1, 1 + number % 9)) for number in range(150)]
    rows = [{"text": text, "id": number, "label": "neg"} for number, text in enumerate(texts)]
    uri = lines_with(rows, tmp_path / "texts.jsonl")
    expected = alone(classify, capsys, "--checkpoint", classifier_uri, "--file", uri)
    flags = ["--checkpoint", classifier_uri, "--input", uri, "--output", str(tmp_path / "out")]
    classify.main([*flags, "--rows-per-shard", "100"])
    printed = capsys.readouterr()
    found = lines_of(tmp_path / "out/labels")
    assert without(found, "input_file", "input_row") == expected
    assert [line["given_label"] for line in found] == ["neg"] * 150
    result = json.loads(printed.out)
    assert (result["texts"], result["labelled"]) == (150, sum(line["label"] is not None for line in expected))
    assert f"{result['labelled']:,} of 150 texts have a label" in printed.err
    assert summaries.of_batch(result)[1].startswith("next: python -m jobs.evaluate --checkpoint ")
    lines_with([{"text": "a"}, {"text": None}], tmp_path / "texts.jsonl")
    with pytest.raises(UserError, match=r"row 2 of .*texts\.jsonl: it has no text"):
        classify.main([*flags[:-1], str(tmp_path / "other")])


def test_flags_that_do_not_fit_together_are_refused(model_uri: str, classifier_uri: str, tmp_path: Path) -> None:
    uri, output = lines_with(PROMPTS, tmp_path / "a.jsonl"), str(tmp_path / "out")
    with pytest.raises(UserError, match="--input and --prompt are given"):
        generate.main(["--checkpoint", model_uri, "--input", uri, "--output", output, "--prompt", "a"])
    with pytest.raises(UserError, match="--input is given without --output"):
        generate.main(["--checkpoint", model_uri, "--input", uri])
    with pytest.raises(UserError, match="--num-workers is 2 and there is no --input"):
        classify.main(["--checkpoint", classifier_uri, "--text", "a", "--num-workers", "2"])
    with pytest.raises(UserError, match=r"is a classifier; give it to jobs\.classify"):
        generate.main(["--checkpoint", classifier_uri, "--input", uri, "--output", output])
    with pytest.raises(UserError, match="is a language model; name the checkpoint of a classifier"):
        classify.main(["--checkpoint", model_uri, "--input", uri, "--output", output])


def test_chunks_of_texts_are_those_that_a_classifier_scores() -> None:
    from textgen.batch.classifying import TEXTS_AT_ONCE
    from textgen.evaluation.document_scoring import NUM_ROWS

    assert TEXTS_AT_ONCE == NUM_ROWS
    assert run.ROWS_PER_SHARD % TEXTS_AT_ONCE == 0
    assert set(tasks.KINDS) == {"generate", "classify"}
