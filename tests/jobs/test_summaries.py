"""Summaries of jobs: outputs, figures, and a command that the next job's parser accepts."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from jobs import summaries

RUN = "s3://b/runs/first"
BEST = f"{RUN}/checkpoints/step-000000040"
SWEEP = {
    "best_uri": "/srv/sweep/best",
    "units": 9,
    "val_bits_per_character": 2.5,
    "temperature": 0.7,
    "divergence": 0.31,
    "units_trials": [
        {"units": 4, "step": 2, "num_steps": 8, "val_bits_per_character": 3.25, "ended": "worse than others"},
        {"units": 9, "step": 8, "num_steps": 8, "val_bits_per_character": 2.5, "ended": "all steps"},
        {"units": 12, "step": 0, "num_steps": 8, "val_bits_per_character": None, "ended": "failed: no [memory]"},
    ],
    "temperature_trials": [
        {"units": 9, "temperature": 0.7, "divergence": 0.31},
        {"units": 9, "temperature": 1.0, "divergence": None, "error": "lost"},
    ],
}
RATES = {
    "learning_rate": 0.02,
    "lowest_loss_at": 0.2,
    "diverged_at": None,
    "plot_uri": "runs/rates/learning_rates.png",
    "steps": [{"learning_rate": 10.0 ** (n / 25 - 5), "loss": 4.0 - n / 99, "smoothed_loss": 4.0} for n in range(100)],
}
PROBED = {
    "checkpoint_uri": BEST,
    "trace_uri": "probe/trace.png",
    "probes": {"language_model": {"accuracy": 0.75}, "tfidf": {"accuracy": 0.85}},
    "hold": {"unit": {"negative": ["17=-3"], "positive": ["2:17=3"]}},
}
SCORED: dict[str, Any] = {
    "checkpoint_uri": BEST,
    "split": "test",
    "bits_per_character": 1.719,
    "baselines": {"unigram": 4.0, "order3": 2.5, "order5": 1.827, "best_order": 5, "xz": 2.4},
}
INGESTED = {"manifest_uri": "/w/first/windows", "documents": 900, "records": 1000, "characters": 123456}
TRAINED = {"checkpoint_uri": BEST, "step": 60, "best_step": 40, "val_bits_per_character": 2.25}
LABELLED = {"checkpoint_uri": BEST, "texts": 5, "labelled": 3}
WRITTEN = {"checkpoint_uri": BEST, "prompts": 2, "completions": 6, "characters": 240, "seconds": 1.25}
TRACED = {"uri": RUN, "step": 7, "rows": [{"documents": [{"document_id": "a"}]}, {"documents": [{"document_id": "a"}]}]}


@pytest.mark.parametrize(
    ("lines", "said", "following"),
    [
        (
            summaries.of_ingest(INGESTED),
            ["wrote /w/first/windows: 900 documents of 1,000 records, 123,456 characters"],
            "train --windows /w/first/windows --output /w/first/runs",
        ),
        (
            summaries.of_ingest({**INGESTED, "manifest_uri": "s3://bucket"}),
            ["wrote s3://bucket: "],
            "train --windows s3://bucket --output s3://bucket/runs",
        ),
        (
            summaries.of_train(TRAINED),
            [f"wrote {RUN}: 2.250 bits per character on val, best step 40 of 60"],
            f"evaluate --checkpoint {RUN} --output {RUN}/evaluation",
        ),
        (summaries.of_train({**TRAINED, "val_bits_per_character": None, "loss": 1.5}), ["loss 1.500"], "evaluate"),
        (summaries.of_train({"checkpoint_uri": BEST, "step": 3, "val_accuracy": 0.9}), ["0.900 accuracy"], "evaluate"),
        (
            summaries.of_evaluate(SCORED, output="s3://b/scores"),
            ["wrote s3://b/scores/result.json: 1.719 bits per character on test, 1.827 by the best count model (order"],
            f"generate --checkpoint {BEST} --prompt 'a text'",
        ),
        (
            summaries.of_evaluate(
                {"checkpoint_uri": BEST, "split": "val", "accuracy": 0.875, "macro_f1": 0.5}, output=None
            ),
            ["accuracy 0.875, macro F1 0.500 on val"],
            f"classify --checkpoint {BEST} --text 'a text'",
        ),
        (
            summaries.of_generate(WRITTEN, output="s3://b/out"),
            ["wrote s3://b/out/completions.jsonl: 6 completions of 2 prompts, 240 characters in 1.2 s"],
            f"serve --checkpoint {BEST}",
        ),
        (summaries.of_classify(LABELLED, output=None), ["3 of 5 texts have a label"], f"evaluate --checkpoint {BEST}"),
        (
            summaries.of_sweep(SWEEP),
            ["wrote /srv/sweep/best: 9 units with 2.500 bits per character on val, temperature 0.7 with div"],
            "serve --checkpoint /srv/sweep/best",
        ),
        (
            summaries.of_find_learning_rate(RATES, windows="s3://b/w/one", words=["--preset", "tiny"]),
            ["wrote runs/rates/learning_rates.png: learning rate 0.02, lowest loss at 0.2"],
            "train --windows s3://b/w/one --output s3://b/w/runs --preset tiny --set training.learning_rate=0.02",
        ),
        (
            summaries.of_probe(PROBED, output="s3://b/probe"),
            ["s3://b/probe/probe.json", "trace.png: accuracy 0.750 by the language model, 0.850 by TF-IDF"],
            f"generate --checkpoint {BEST} --unit 2:17=3",
        ),
        (
            summaries.of_trace(TRACED),
            ["step 7 was trained on 2 rows from 1 document"],
            f"trace --checkpoint {RUN} --step 8",
        ),
    ],
)
def test_the_last_lines_name_the_output_and_the_next_command(lines: list[str], said: list[str], following: str) -> None:
    for words in said:
        assert any(words in line for line in lines[:-1]), lines
    assert lines[-1].startswith(f"next: python -m jobs.{following}")
    assert shlex.split(lines[-1])


def test_a_sweeps_trials_are_a_table() -> None:
    text = "\n".join(summaries.of_sweep(SWEEP))
    rows = [line.split() for line in text.splitlines()]
    assert ["4", "3.250", "2", "worse", "than", "others"] in rows
    assert ["12", "none", "0", "failed:", "no", "[memory]"] in rows
    assert ["9", "1", "none", "failed:", "lost"] in rows


def test_a_finders_table_goes_from_the_first_rate_to_the_last() -> None:
    lines = summaries.of_find_learning_rate(RATES, windows="w", words=[])
    rates = [line.split()[0] for line in lines if line[:1].isdigit()]
    assert len(rates) == summaries.RATE_ROWS
    assert (rates[0], rates[-1]) == ("1e-05", f"{RATES['steps'][-1]['learning_rate']:.2g}")  # type: ignore[index]
    few = summaries.of_find_learning_rate(
        {**RATES, "steps": RATES["steps"][:3], "diverged_at": 0.5}, windows="w", words=[]
    )  # type: ignore[index]
    assert len([line for line in few if line[:1].isdigit()]) == 3
    assert any("diverged at 0.5" in line for line in few)


def test_an_endpoint_shows_an_example_request() -> None:
    served = {"url": "http://127.0.0.1:8000", "models": ["first"]}
    where, request = summaries.of_serve(served, stays=False)
    assert where == "serving first at http://127.0.0.1:8000 until Ctrl-C"
    words = shlex.split(request.removeprefix("next: "))
    assert words[:2] == ["curl", "http://127.0.0.1:8000/v1/completions"]
    assert set(json.loads(words[-1])) == {"prompt", "max_tokens"}
    assert "serve shutdown" in summaries.of_serve(served, stays=True)[0]
