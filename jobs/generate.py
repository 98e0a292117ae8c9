"""Completes prompts with a checkpoint, one JSON line a completion, or as text on a terminal; needs no Ray.

python -m jobs.generate --checkpoint runs/first/small --prompt "this film " --temperature 0.5
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import Any

from jobs import summaries
from jobs.command_line import check_place, import_tensorflow, job_parser, run
from jobs.flags import add_sampling_settings, settings_of
from jobs.progress import counted, never_silent, say
from jobs.readable import add_json_flag, completion_text, is_for_people, show
from textgen import storage


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    arguments = _parser().parse_args(argv)
    check_place(arguments.output)

    import_tensorflow()
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
    rows = [_row(completion) for completion in completions]
    result = {
        "checkpoint_uri": checkpoint.uri,
        "prompts": len(prompts),
        "completions": len(rows),
        "characters": sum(len(row["completion"]) for row in rows),
        "seconds": round(time.monotonic() - started, 3),
    }
    _hand_over(rows, result, arguments)


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
        ),
        takes_preset=False,
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
    add_sampling_settings(parser)
    add_json_flag(parser)
    return parser


def _row(completion: Any) -> dict[str, Any]:
    """Returns a completion as it is printed; `condition` and `unknown_characters` only where there are some."""
    row = dataclasses.asdict(completion)
    return {name: value for name, value in row.items() if value or name not in ("condition", "unknown_characters")}


if __name__ == "__main__":
    run(main, interrupted="nothing is kept; the same command begins anew")
