"""Serves a checkpoint as an endpoint for OpenAI clients, until interrupted.

python -m jobs.serve --checkpoint runs/first/sweep/best --port 8000
curl http://127.0.0.1:8000/v1/completions -H "Content-Type: application/json" -d '{"prompt": "the film"}'
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from jobs import summaries
from jobs.command_line import check_place, finish, job_parser, run
from jobs.flags import add_sampling_settings, settings_of
from jobs.progress import say
from textgen import storage, waiting
from textgen.errors import UserError
from textgen.outputs import check_name
from textgen.ray_session import connect, disconnect

if TYPE_CHECKING:
    from textgen.model.checkpoint import Checkpoint


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    arguments = _parser().parse_args(argv)
    _check(arguments)
    waiting.bound(arguments.wait_seconds)
    check_place(arguments.output)
    from textgen.generation.completions import sampling_of

    checkpoint = _servable(arguments.checkpoint)
    defaults = sampling_of(checkpoint, settings_of(arguments))
    model_id = arguments.name or checkpoint.run_name
    connect()
    signal.signal(signal.SIGTERM, _interrupt)  # After `connect`, because Ray installs its own handler.
    from textgen.serving import deployment

    endpoint = deployment.start(
        checkpoint_uri=checkpoint.uri,
        model_id=model_id,
        defaults=defaults,
        host=arguments.host,
        port=arguments.port,
        replace=arguments.replace,
        say=say,
    )
    result = {"url": endpoint.url, "models": [model_id]}
    if arguments.detach:
        finish(result, output=arguments.output, summary=summaries.of_serve(result, stays=True))
        return
    try:
        _announce(result, arguments.output)
        threading.Event().wait()
    except KeyboardInterrupt:
        say("stopping after the running requests; press Ctrl-C again to stop at once")
    if not deployment.stop(endpoint):
        say(f"another job has already replaced or stopped the endpoint {model_id}")
    disconnect()


def _parser() -> argparse.ArgumentParser:
    parser = job_parser(
        job="serve",
        description="Serves a checkpoint with Ray Serve at POST /v1/completions, in the format of OpenAI's API.",
        examples=(
            "python -m jobs.serve --checkpoint runs/first/sweep/best --port 8000",
            "python -m jobs.serve --checkpoint runs/first/small --name reviews --temperature 0.5 --max-new-chars 200",
        ),
        takes_preset=False,
        starts_on_ray=True,
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="a checkpoint, a run, or a sweep's best/")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, reachable only from this machine)",
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument(
        "--name",
        metavar="ID",
        help="the model's id in the API, and the endpoint's name on the cluster (default: the run's name)",
    )
    parser.add_argument("--replace", action="store_true", help="replace a running endpoint of the same name")
    parser.add_argument(
        "--detach",
        action="store_true",
        help="return as soon as the endpoint answers; it keeps running until `serve shutdown`",
    )
    add_sampling_settings(parser)
    return parser


def _check(arguments: argparse.Namespace) -> None:
    if arguments.detach and not os.environ.get("RAY_ADDRESS"):
        raise UserError(
            "--detach needs a cluster that keeps running; set RAY_ADDRESS, or start one with `make cluster`"
        )
    if not 1 <= arguments.port <= 65535:
        raise UserError(f"--port is {arguments.port}; use a port from 1 to 65535, such as 8000")
    if arguments.name is not None:
        check_name(arguments.name, flag="--name")


def _servable(uri: str) -> Checkpoint:
    from textgen.model.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(uri)
    if checkpoint.classes:
        raise UserError(
            f"{checkpoint.uri} is a classifier; give it to jobs.classify, or name the checkpoint of a language model"
        )
    checkpoint.verify()  # A damaged file would otherwise only show in the log of a replica.
    return checkpoint


def _announce(result: dict[str, Any], output: str | None) -> None:
    """Writes the result and prints it on stdout while the job keeps running."""
    line = json.dumps(result, ensure_ascii=False)
    if output is not None:
        storage.write_bytes(storage.join(output, "result.json"), (line + "\n").encode())
    for words in summaries.of_serve(result, stays=False):
        say(words)
    print(line, flush=True)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run(main)
