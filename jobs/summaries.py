"""Summaries of results for people: what a job wrote, its main figures, and the command to run next.

Each function takes a job's result, the content of `result.json`, and returns lines for stderr. The last line is the
next command, with the actual URIs.
"""

from __future__ import annotations

import io
import posixpath
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from textgen import storage

Result = Mapping[str, Any]
TABLE_WIDTH = 100
RATE_ROWS = 12
"""Rows in the table of a learning-rate ramp, evenly spaced over its steps."""
NEXT = "next: "
"""Prefix of the line with the next command."""


def next_command(job: str, *words: str) -> str:
    """Returns the line that suggests running a job next."""
    return NEXT + shlex.join(["python", "-m", f"jobs.{job}", *words])


def of_ingest(result: Result) -> list[str]:
    """Returns the number of documents and where they were written."""
    windows = result["manifest_uri"]
    return [
        f"wrote {windows}: {result['documents']:,} documents of {result['records']:,} records, "
        f"{result['characters']:,} characters",
        next_command("train", "--windows", windows, "--output", storage.join(_folder(windows), "runs")),
    ]


def of_train(result: Result) -> list[str]:
    """Returns the last validation score and the best step of a run."""
    run = result["checkpoint_uri"].partition("/checkpoints/")[0]
    best = f"step {result.get('best_step', result['step']):,} of {result['step']:,}"
    evaluation = ("--checkpoint", run, "--output", storage.join(run, "evaluation"))
    return [f"wrote {run}: {_validated(result)}, best {best}", next_command("evaluate", *evaluation)]


def of_evaluate(result: Result, *, output: str | None) -> list[str]:
    """Returns the score of a checkpoint and that of the best count model."""
    checkpoint, split = result["checkpoint_uri"], result["split"]
    if "baselines" not in result:
        figures = f"accuracy {result['accuracy']:.3f}, macro F1 {result['macro_f1']:.3f} on {split}"
        return [f"{_wrote(output)}{figures}", next_command("classify", "--checkpoint", checkpoint, "--text", "a text")]
    orders = {name: bits for name, bits in result["baselines"].items() if name.startswith("order") and bits is not None}
    figures = f"{_number(result['bits_per_character'])} bits per character on {split}"
    if orders:
        best = min(orders, key=orders.__getitem__)
        figures += f", {orders[best]:.3f} by the best count model ({best})"
    return [f"{_wrote(output)}{figures}", next_command("generate", "--checkpoint", checkpoint, "--prompt", "a text")]


def of_generate(result: Result, *, output: str | None) -> list[str]:
    """Returns the number of completions and the time that they took."""
    figures = (
        f"{_count(result['completions'], 'completion')} of {_count(result['prompts'], 'prompt')}, "
        f"{result['characters']:,} characters in {result['seconds']:.1f} s"
    )
    return [
        f"{_wrote(output, 'completions.jsonl')}{figures}",
        next_command("serve", "--checkpoint", result["checkpoint_uri"]),
    ]


def of_classify(result: Result, *, output: str | None) -> list[str]:
    """Returns the number of texts that got a label."""
    figures = f"{result['labelled']:,} of {result['texts']:,} texts have a label"
    return [
        f"{_wrote(output, 'labels.jsonl')}{figures}",
        next_command("evaluate", "--checkpoint", result["checkpoint_uri"]),
    ]


def of_batch(result: Result) -> list[str]:
    """Says how much workers completed or labelled."""
    checkpoint = result["checkpoint_uri"]
    if "completions" in result:
        place, following = result["completions_uri"], next_command("serve", "--checkpoint", checkpoint)
        told = (
            f"{_count(result['completions'], 'completion')} of {_count(result['prompts'], 'prompt')}, "
            f"{result['characters']:,} characters, {result['characters_per_second']:,.0f} a second"
        )
    else:
        place, following = result["labels_uri"], next_command("evaluate", "--checkpoint", checkpoint)
        told = (
            f"{result['labelled']:,} of {result['texts']:,} texts have a label, "
            f"{result['texts_per_second']:,.0f} a second"
        )
    return [f"wrote {place}, {_count(result['shards'], 'shard')}: {told}", following]


def of_sweep(result: Result) -> list[str]:
    """Returns tables of a sweep's trials and the best result."""
    units = _table(
        "hidden sizes",
        ("units", "bits per character on val", "step", "ended"),
        [
            (str(row["units"]), _number(row["val_bits_per_character"]), f"{row['step']:,}", row.get("ended", ""))
            for row in result["units_trials"]
        ],
    )
    temperatures = _table(
        "temperatures",
        ("units", "temperature", "divergence from val"),
        [
            (str(row["units"]), f"{row['temperature']:g}", _number(row["divergence"]) + _failed(row))
            for row in result["temperature_trials"]
        ],
    )
    return [
        *units,
        *temperatures,
        f"wrote {result['best_uri']}: {result['units']} units with {_number(result['val_bits_per_character'])} bits "
        f"per character on val, temperature {result['temperature']:g} with divergence {_number(result['divergence'])}",
        next_command("serve", "--checkpoint", result["best_uri"]),
    ]


def of_find_learning_rate(result: Result, *, windows: str, words: Sequence[str]) -> list[str]:
    """Returns a table of a learning-rate ramp and the suggested rate.

    `words` are the flags that the suggested training command also needs, for the preset and settings.
    """
    steps = result["steps"]
    shown = sorted({round(n * (len(steps) - 1) / max(1, RATE_ROWS - 1)) for n in range(RATE_ROWS)}) if steps else []
    table = _table(
        "losses while the rate rises",
        ("learning rate", "loss", "smoothed"),
        [
            (f"{steps[n]['learning_rate']:.2g}", _number(steps[n]["loss"]), _number(steps[n]["smoothed_loss"]))
            for n in shown
        ],
    )
    diverged = f", diverged at {result['diverged_at']:g}" if result["diverged_at"] is not None else ""
    rate = f"training.learning_rate={result['learning_rate']:g}"
    output = storage.join(_folder(storage.absolute(windows)), "runs")
    return [
        *table,
        f"wrote {result['plot_uri']}: learning rate {result['learning_rate']:g}, lowest loss at "
        f"{result['lowest_loss_at']:g}{diverged}",
        next_command("train", "--windows", storage.absolute(windows), "--output", output, *words, "--set", rate),
    ]


def of_probe(result: Result, *, output: str) -> list[str]:
    """Returns the accuracy of the probes, and a command that holds the probed unit."""
    probes = result["probes"]
    figures = (
        f"accuracy {probes['language_model']['accuracy']:.3f} by the language model, "
        f"{probes['tfidf']['accuracy']:.3f} by TF-IDF"
    )
    words = [word for unit in result["hold"]["unit"]["positive"] for word in ("--unit", unit)]
    return [
        f"wrote {storage.join(storage.absolute(output), 'probe.json')} and {result['trace_uri']}: {figures}",
        next_command("generate", "--checkpoint", result["checkpoint_uri"], *words),
    ]


def of_trace(result: Result) -> list[str]:
    """Returns how many rows and documents a step was trained on."""
    documents = {document["document_id"] for row in result["rows"] for document in row["documents"]}
    return [
        f"step {result['step']:,} was trained on {_count(len(result['rows']), 'row')} from "
        f"{_count(len(documents), 'document')}",
        next_command("trace", "--checkpoint", result["uri"], "--step", str(result["step"] + 1)),
    ]


def of_serve(result: Result, *, stays: bool) -> list[str]:
    """Returns the URL of an endpoint and an example request."""
    request = '{"prompt": "this ", "max_tokens": 80}'
    until = "until `serve shutdown`" if stays else "until Ctrl-C"
    words = ["curl", f"{result['url']}/v1/completions", "-H", "Content-Type: application/json", "-d", request]
    return [f"serving {', '.join(result['models'])} at {result['url']} {until}", NEXT + shlex.join(words)]


def _validated(result: Result) -> str:
    """Returns the score of a run's last validation, or its loss if there was none."""
    for name, words in (("val_bits_per_character", "bits per character on val"), ("val_accuracy", "accuracy on val")):
        if result.get(name) is not None:
            return f"{_number(result[name])} {words}"
    return f"loss {_number(result.get('loss'))}"


def _failed(row: Result) -> str:
    return f"  failed: {row['error']}" if "error" in row else ""


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _wrote(output: str | None, name: str = "result.json") -> str:
    return "" if output is None else f"wrote {storage.join(storage.absolute(output), name)}: "


def _folder(uri: str) -> str:
    """Returns the parent folder or prefix of a URI."""
    parent = posixpath.dirname(uri.rstrip("/"))
    return uri if parent in ("", "s3:", "s3:/") else parent


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table without borders."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    written = io.StringIO()
    Console(file=written, width=TABLE_WIDTH, color_system=None, highlight=False).print(table)
    return [line.rstrip() for line in written.getvalue().splitlines()]
