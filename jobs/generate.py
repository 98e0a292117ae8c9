"""Completes prompts with a checkpoint, one JSON line a completion, or as text on a terminal.

python -m jobs.generate --checkpoint runs/first/small --prompt "this film " --temperature 0.5

With `--input`, workers of Ray complete the prompts of many files; otherwise the job needs no Ray.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from jobs import summaries
from jobs.batch_mode import INTERRUPTED, add_batch_flags, is_batch, run_batch_job
from jobs.command_line import check_place, import_tensorflow, job_parser, run
from jobs.flags import add_sampling_settings, settings_of
from jobs.progress import counted, never_silent, say
from jobs.readable import add_json_flag, completion_text, is_for_people, show
from textgen import storage


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    arguments = _parser().parse_args(argv)
    if is_batch(arguments, others={"--prompt": arguments.prompt, "--prompts": arguments.prompts}):
        _generate_batch(arguments)
        return
    check_place(arguments.output)

    import_tensorflow()
    from textgen.batch.generating import completion_row
    from textgen.generation.completions import (
        Prompt,
        engine_of,
        parse_condition,
        read_prompts,
        requests_of,
        sampling_of,
    )
    from textgen.generation.steering import parse_held_unit
    from textgen.model.checkpoint import find_checkpoint

    prompts = [Prompt(text=text) for text in arguments.prompt]
    if arguments.prompts is not None:
        prompts += read_prompts(arguments.prompts)
        if not prompts:
            say(f"warning: {arguments.prompts} holds no prompt, so nothing is completed")
    elif not prompts:
        prompts = [Prompt(text="")]
    checkpoint = find_checkpoint(arguments.checkpoint)
    settings = sampling_of(checkpoint, settings_of(arguments))
    started = time.monotonic()
    requests = requests_of(prompts, settings, condition=parse_condition(arguments.condition))
    held = [parse_held_unit(text) for text in arguments.unit]
    with never_silent(f"generating {len(requests):,} completions") as told:
        engine = engine_of(checkpoint, held=held, guidance=arguments.guidance)
        completions = engine.generate(requests, progress=counted("completed", len(requests), say=told))
    rows = [completion_row(completion) for completion in completions]
    result = {
        "checkpoint_uri": checkpoint.uri,
        "prompts": len(prompts),
        "completions": len(rows),
        "characters": sum(len(row["completion"]) for row in rows),
        "seconds": round(time.monotonic() - started, 3),
    }
    _hand_over(rows, result, arguments)


def _generate_batch(arguments: argparse.Namespace) -> None:
    """Completes the prompts of `--input`; this process loads no TensorFlow."""
    from textgen.batch.generating import Generation
    from textgen.generation.completions import parse_condition, sampling_of
    from textgen.model.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(arguments.checkpoint)
    settings = Generation.settings_of(
        sampling_of(checkpoint, settings_of(arguments)),
        condition=parse_condition(arguments.condition),
        guidance=arguments.guidance,
        units=arguments.unit,
    )
    run_batch_job(
        "generate", checkpoint_uri=checkpoint.uri, settings=settings, arguments=arguments, doing="completing prompts"
    )


def _hand_over(rows: list[dict[str, Any]], result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Writes the completions where `--output` says, and prints them."""
    for prompt, unknown in {row["prompt"]: row.get("unknown_characters") for row in rows}.items():
        if unknown:
            say(f"warning: the model never saw {' '.join(map(repr, unknown))} of the prompt {prompt!r}")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if arguments.output is not None:
        place = storage.join(arguments.output, "completions.jsonl")
        storage.write_bytes(place, lines.encode())
        content = json.dumps({**result, "completions_uri": place}) + "\n"
        storage.write_bytes(storage.join(arguments.output, "result.json"), content.encode())
    if is_for_people(arguments):
        for row in rows:
            show(completion_text(row))
    else:
        print(lines, end="", flush=True)
    for words in summaries.of_generate(result, output=arguments.output):
        say(words)


def _parser() -> argparse.ArgumentParser:
    parser = job_parser(
        job="generate",
        description="Completes prompts with a checkpoint and prints one JSON line a completion, or text on a terminal.",
        examples=(
            'python -m jobs.generate --checkpoint runs/first/small --prompt "this film " --temperature 0.5',
            'python -m jobs.generate --checkpoint runs/first/small --prompt "this film " --max-new-chars 400 --n 3',
            "python -m jobs.generate --checkpoint runs/first/small --prompts prompts.jsonl --output runs/first/samples",
            "python -m jobs.generate --checkpoint s3://bucket/runs/first --input 's3://bucket/prompts/*.jsonl' "
            "--output s3://bucket/completions --num-workers 4",
        ),
        takes_preset=False,
        starts_on_ray=True,
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="a checkpoint, or a run (its best one)")
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="what to continue; may repeat (default: the empty text, unless --prompts is given)",
    )
    parser.add_argument(
        "--prompts",
        metavar="URI",
        help='prompts, one a line; of *.jsonl objects such as {"prompt": "the film", "temperature": 0.5}',
    )
    _add_steering_flags(parser)
    add_batch_flags(parser, rows="prompts", fields="prompt or text, and condition and sampling settings")
    add_sampling_settings(parser)
    add_json_flag(parser)
    return parser


def _add_steering_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what to tell a model that was trained with corpus.condition_on, such as stars=1 or label=1; may repeat "
        "(default: none, an unconditioned text)",
    )
    parser.add_argument(
        "--guidance",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="how far to lean to what --condition tells: 1 as the corpus does, 2 or 3 further (default: 1)",
    )
    parser.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="[LAYER:]UNIT=VALUE",
        help="hold a unit's cell state at a value while generating, such as 17=+3, or 2:17=-3 in the second layer; may "
        "repeat (jobs.probe names the unit of sentiment and values to try)",
    )


if __name__ == "__main__":
    run(main, interrupted=INTERRUPTED)
