"""Puts a checkpoint behind an endpoint that OpenAI's clients can call, until it is interrupted.

python -m jobs.serve --checkpoint runs/first/sweep/best --port 8000
curl http://127.0.0.1:8000/v1/completions -H "Content-Type: application/json" -d '{"prompt": "the film"}'
"""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any, NoReturn

from jobs import summaries
from jobs.command_line import check_place, finish, job_parser, run
from jobs.flags import add_sampling_settings, settings_of
from jobs.progress import say
from textgen import storage, waiting
from textgen.errors import UserError
from textgen.outputs import check_name
from textgen.ray_session import connect, disconnect


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    parser = job_parser(
        job="serve",
        description="Serves a checkpoint by Ray Serve as POST /v1/completions, in OpenAI's shape.",
        examples=(
            "python -m jobs.serve --checkpoint runs/first/sweep/best --port 8000",
            "python -m jobs.serve --checkpoint runs/first/small --name reviews --temperature 0.5 --max-new-chars 200",
        ),
        takes_preset=False,
        starts_on_ray=True,
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="a checkpoint, a run, or a sweep's best/")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument(
        "--name",
        metavar="ID",
        help="the model's id in the API, and the endpoint's name among those of the cluster (default: the run's name)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="put the checkpoint in the place of a running endpoint of that name"
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="return when it answers; it stays until `serve shutdown`",
    )
    add_sampling_settings(parser)
    arguments = parser.parse_args(argv)
    if arguments.detach and not os.environ.get("RAY_ADDRESS"):
        raise UserError("--detach needs a cluster that stays; set RAY_ADDRESS, or start one with `make cluster`")
    if not 1 <= arguments.port <= 65535:
        raise UserError(f"--port is {arguments.port}; use one of 1 to 65535, such as 8000")
    if arguments.name is not None:
        check_name(arguments.name, flag="--name")
    waiting.bound(arguments.wait_seconds)
    check_place(arguments.output)
    from textgen.generation.completions import sampling_of
    from textgen.model.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(arguments.checkpoint)
    if checkpoint.classes:
        raise UserError(f"{checkpoint.uri} is a classifier; give it to jobs.classify, or name one of a language model")
    checkpoint.verify()  # What a replica meets it tells nobody.
    defaults = sampling_of(checkpoint, settings_of(arguments))
    model_id = arguments.name or checkpoint.run_name
    connect()
    signal.signal(signal.SIGTERM, _interrupt)  # After Ray, which sets a handler of its own.
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
        say("stopping, once the requests that are being answered have ended; Ctrl-C again ends at once")
    if not deployment.stop(endpoint):
        say(f"another job has replaced or ended the endpoint {model_id}; nothing is left to stop")
    disconnect()


def _announce(result: dict[str, Any], output: str | None) -> None:
    """Says on stdout that the endpoint answers; the job goes on."""
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
