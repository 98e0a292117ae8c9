"""Labels texts with a classifier's checkpoint, one JSON line a text, or in a conversation.

python -m jobs.classify --checkpoint runs/sentiment/words --text "a fine film, and funny"

With `--input`, workers of Ray label the texts of many files; otherwise the job needs no Ray.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jobs import summaries
from jobs.batch_mode import INTERRUPTED, add_batch_flags, is_batch, run_batch_job
from jobs.command_line import check_place, import_tensorflow, job_parser, run
from jobs.progress import never_silent, say
from jobs.readable import add_json_flag, is_for_people, label_text, show
from textgen import storage
from textgen.errors import UserError

if TYPE_CHECKING:
    from textgen.evaluation.labelling import Labelled, Labeller, Text

STDIN = "-"


def _parser() -> argparse.ArgumentParser:
    parser = job_parser(
        job="classify",
        description="Labels texts with a classifier and prints one JSON line a text, or words on a terminal. Without "
        "--text, --file and --input it asks for texts. A text that the classifier cannot judge gets the label null and "
        "a reason: too many of its words are unknown (classifier.max_unknown_share), the confidence lies below the "
        "threshold that was fitted on val (classifier.answered_share), or it is no higher than for an empty text.",
        examples=(
            'python -m jobs.classify --checkpoint runs/sentiment/words --text "a fine film, and funny"',
            "python -m jobs.classify --checkpoint runs/sentiment/words --file texts.jsonl --output labels",
            "python -m jobs.classify --checkpoint s3://bucket/runs/words --input 's3://bucket/texts/*.parquet' "
            "--output s3://bucket/labelled --num-workers 4",
        ),
        takes_preset=False,
        takes_settings=False,
        starts_on_ray=True,
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="a checkpoint, or a run (its best one)")
    parser.add_argument("--text", action="append", default=[], metavar="TEXT", help="what to label; may repeat")
    parser.add_argument(
        "--file",
        metavar="URI",
        help='texts, one a line; of *.jsonl objects such as {"text": "a fine film"}, whose other fields are passed on; '
        f"{STDIN} reads such objects from stdin",
    )
    add_batch_flags(parser, rows="texts", fields="text")
    add_json_flag(parser)
    return parser


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    arguments = _parser().parse_args(argv)
    if is_batch(arguments, others={"--text": arguments.text, "--file": arguments.file}):
        from textgen.model.checkpoint import find_checkpoint

        uri = find_checkpoint(arguments.checkpoint).uri
        run_batch_job("classify", checkpoint_uri=uri, settings={}, arguments=arguments, doing="labelling texts")
        return
    check_place(arguments.output)

    import_tensorflow()
    from textgen.evaluation.labelling import Labeller, Text
    from textgen.model.checkpoint import find_checkpoint

    texts = [Text(text=text) for text in arguments.text] + (_read(arguments.file) if arguments.file else [])
    labeller = Labeller(find_checkpoint(arguments.checkpoint))
    if not texts and not arguments.file:
        _converse(labeller, _asked)
        return
    with never_silent(f"labelling {len(texts):,} texts"):
        results = labeller.label([text.text for text in texts]) if texts else []
    _hand_over(labeller.unit, texts, results, arguments)


def _hand_over(unit: str, texts: Sequence[Text], results: Sequence[Labelled], arguments: argparse.Namespace) -> None:
    """Writes the labels where `--output` says, and prints them."""
    from textgen.evaluation.labelling import as_row

    rows = [as_row(result, text.fields, unit=unit) for text, result in zip(texts, results, strict=True)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    labelled = sum(one.label is not None for one in results)
    result = {"checkpoint_uri": arguments.checkpoint, "texts": len(texts), "labelled": labelled}
    if arguments.output is not None:
        place = storage.join(arguments.output, "labels.jsonl")
        storage.write_bytes(place, lines.encode())
        content = json.dumps({**result, "labels_uri": place}) + "\n"
        storage.write_bytes(storage.join(arguments.output, "result.json"), content.encode())
    if is_for_people(arguments):
        for one in results:
            show(label_text(one.text, _in_words(one, unit=unit)))
    else:
        print(lines, end="", flush=True)
    for words in summaries.of_classify(result, output=arguments.output):
        say(words)


def _read(uri: str) -> list[Text]:
    from textgen.evaluation.labelling import texts_of

    name = "stdin" if uri == STDIN else uri
    try:
        content = (sys.stdin.buffer.read() if uri == STDIN else storage.read_bytes(uri)).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8; convert it first") from None
    return texts_of(content.split("\n"), is_json=uri == STDIN or uri.endswith((".jsonl", ".json")), name=name)


def _converse(labeller: Labeller, ask: Callable[[], str | None]) -> None:
    """Asks for texts until there is none, and says what the classifier makes of each."""
    say("type a text and press Enter; an empty line ends")
    while text := ask():
        print(_in_words(labeller.label([text])[0], unit=labeller.unit), flush=True)


def _asked() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None
    except UnicodeDecodeError:
        raise UserError("what was typed is not UTF-8; set the terminal to it, or use --file") from None


def _in_words(result: Labelled, *, unit: str) -> str:
    said = f"{result.label}, {result.confidence:.0%} sure" if result.reason is None else f"don't know: {result.reason}"
    unknown = f"; unknown {unit}: {', '.join(result.unknown)}" if result.unknown else ""
    return said + unknown


if __name__ == "__main__":
    run(main, interrupted=INTERRUPTED)
