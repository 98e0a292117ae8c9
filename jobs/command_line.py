"""Shared by the command lines of all jobs: flags, error handling, and the result as the last line of stdout."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from jobs.flags import HelpFormatter, JobParser, settings_of
from jobs.progress import say
from textgen import presets, storage
from textgen.errors import UserError
from textgen.local.s3 import introduce
from textgen.outputs import check_output
from textgen.ray_session import disconnect
from textgen.runs.stopping import StoppedError
from textgen.spec import RunSpec, override

USER_MISTAKE = 2
"""Exit code of an error that the user can correct; the same as argparse's."""
EPILOG_FORM = (
    "examples:\n  {examples}\n\n`python -m jobs.settings` lists every setting with its type, default and meaning."
)
DEFAULT_PRESET = "reviews_best"
"""The preset that jobs use unless `--preset` names another."""
SIGNALLED = 128
"""Added to a signal's number for the exit code, as shells do: 130 after Ctrl-C, 143 after SIGTERM."""
WAIT_HELP = (
    "wait at most N seconds for CPUs and GPUs that other jobs on the cluster hold, then end with exit code 2 (default: "
    "wait without a limit and report what is missing)"
)
OTHERS = {"run.json": "a run of jobs.train", "manifest.json": "windows of jobs.ingest", "batch.json": "a batch"}
"""Files that mark a folder as the output of another job."""


def job_parser(
    *,
    job: str,
    description: str,
    examples: Sequence[str],
    takes_preset: bool = True,
    preset_of_windows: bool = False,
    takes_settings: bool = True,
    needs_output: bool = False,
    starts_on_ray: bool = False,
) -> argparse.ArgumentParser:
    """Returns a parser with the flags that jobs share: `--output`, and the following.

    Args:
        job: name of the module in `jobs`.
        description: first paragraph of `--help`.
        examples: commands shown at the end of `--help`.
        takes_preset: adds `--preset`; without it, `--set` accepts only `sampling.*`.
        preset_of_windows: the default of `--preset` is the preset of the windows (see `spec_on_windows`).
        takes_settings: adds `--set`.
        needs_output: makes `--output` required.
        starts_on_ray: adds `--wait-seconds`, which the job passes to `waiting.bound`.
    """
    parser = JobParser(
        prog=f"python -m jobs.{job}",
        description=description,
        epilog=EPILOG_FORM.format(examples="\n  ".join(examples)),
        formatter_class=HelpFormatter,
        allow_abbrev=False,  # `textgen.local.paths` finds the paths in a command by the full names of flags.
    )
    if not takes_preset:
        parser.sections = ("sampling",)
    if takes_preset:
        _add_preset(parser, of_windows=preset_of_windows)
    if takes_settings:
        example = "model.units=256" if takes_preset else "sampling.stop=[END]"
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            dest="settings",
            metavar="SECTION.FIELD=VALUE",
            help=f"change a setting, such as {example}; may be repeated; python -m jobs.settings lists all settings",
        )
    parser.add_argument(
        "--output", metavar="URI", required=needs_output, help="folder or s3:// prefix to write the job's files to"
    )
    if starts_on_ray:
        parser.add_argument("--wait-seconds", type=float, metavar="N", help=WAIT_HELP)
    return parser


def _add_preset(parser: argparse.ArgumentParser, *, of_windows: bool) -> None:
    default = "the preset that the windows were ingested with" if of_windows else DEFAULT_PRESET
    parser.add_argument(
        "--preset",
        default=None if of_windows else DEFAULT_PRESET,
        metavar="NAME",
        help=f"settings to start from: {', '.join(presets.PRESET_NAMES)} (default: {default})",
    )


def spec_of(arguments: argparse.Namespace) -> RunSpec:
    """Returns the spec of `--preset` with every `--set` applied."""
    return override(presets.preset(arguments.preset), settings_of(arguments))


def spec_on_windows(arguments: argparse.Namespace, *, run_uri: str | None = None) -> RunSpec:
    """Returns the spec to train on `--windows` with, and reports its preset and where that comes from.

    Without `--preset`, the preset is that of the run at `run_uri` if the run exists, otherwise that of the windows.
    """
    from textgen.runs.chosen_spec import chosen_spec
    from textgen.windows.manifest import Manifest

    chosen = chosen_spec(
        Manifest.load(arguments.windows),
        preset=arguments.preset,
        settings=settings_of(arguments),
        run_uri=run_uri,
    )
    say(chosen.reason)
    return chosen.spec


def check_place(output: str | None, *, holds: str = "", checkpoint: str | None = None) -> None:
    """Checks, before the long work, that `--output` is writable and does not hold the output of something else.

    Args:
        output: value of `--output`; None if it was not given.
        holds: the file in `OTHERS` that may exist there, because this job writes it itself.
        checkpoint: the checkpoint or run that the job measures; results of another one are not overwritten.

    Raises:
        UserError: the folder is not writable, or it belongs to another job, run or checkpoint.
    """
    if output is None:
        return
    check_output(output)
    for name, what in OTHERS.items():
        if name != holds and storage.exists(storage.join(output, name)):
            raise UserError(f"--output {output} is the folder of {what}; use another folder, for example one inside it")
    if checkpoint is not None:
        measured = _checkpoint_of_result(output)
        if measured is not None and _run_of(measured) != _run_of(storage.absolute(checkpoint)):
            raise UserError(f"--output {output} holds the result of {measured}; give another folder for {checkpoint}")


def _checkpoint_of_result(output: str) -> str | None:
    """Returns the `checkpoint_uri` in the `result.json` of a folder, or None."""
    content = storage.read_if_exists(storage.join(output, "result.json"))
    try:
        result = json.loads(content) if content is not None else None
    except ValueError:
        return None
    found = result.get("checkpoint_uri") if isinstance(result, dict) else None
    return found if isinstance(found, str) else None


def _run_of(uri: str) -> str:
    """Returns the run that a checkpoint belongs to; returns a run unchanged."""
    return uri.partition("/checkpoints/")[0]


def finish(result: Mapping[str, Any], *, output: str | None, summary: Sequence[str] = ()) -> None:
    """Writes `<output>/result.json`, disconnects from Ray, and prints the result as the last line on stdout.

    The lines of `summary`, which are for people, go to stderr first.
    """
    line = json.dumps(_without_nan(result), ensure_ascii=False, allow_nan=False)
    if output is not None:
        storage.write_bytes(storage.join(output, "result.json"), (line + "\n").encode())
    disconnect()  # Until then, Ray forwards the output of its workers; nothing may follow the result.
    for words in summary:
        say(words)
    sys.stderr.flush()
    print(line, flush=True)


def import_tensorflow() -> None:
    """Imports TensorFlow and hides the lines that its libraries write to the terminal at any log level."""
    say("loading TensorFlow")  # Takes ten seconds on a small machine.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except Exception:  # Not BaseException: the hidden lines do not explain an interrupt.
            said.seek(0)
            os.write(terminal, said.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _without_nan(value: Any) -> Any:
    """Returns a JSON value with null in place of NaN and infinities."""
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run(main: Callable[[list[str]], None], *, interrupted: str | None = None) -> None:
    """Runs a job; a `UserError`, even from a worker, prints only its message on stderr and exits with code 2.

    Args:
        main: receives the arguments of the command line.
        interrupted: what is kept after Ctrl-C or SIGTERM, and what the same command does next; None prints nothing.
    """
    introduce()
    with _interruptible() as received:
        try:
            with storage.disk_full_as_user_error():
                main(sys.argv[1:])
        except StoppedError as stopped:
            disconnect()
            say(str(stopped))
            raise SystemExit(SIGNALLED + stopped.signal) from None
        except BrokenPipeError:  # The reader of stdout has exited, as in `| head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except BaseException as error:
            number = _signal_behind(error, received)
            if number is not None:
                disconnect()
                if interrupted is not None:
                    say(f"interrupted: {interrupted}")
                raise SystemExit(SIGNALLED + number) from None
            mistake = user_error_in(error)
            if mistake is None:
                raise
            disconnect()
            say(f"error: {mistake}")
            raise SystemExit(USER_MISTAKE) from None


def _signal_behind(error: BaseException, received: Sequence[int]) -> int | None:
    """Returns the signal that caused `error`, or None."""
    if received:
        return received[0]  # Whichever exception a library turned it into.
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    # While Ray starts, SIGTERM raises SystemExit with its number.
    return signal.SIGTERM if isinstance(error, SystemExit) and error.code == signal.SIGTERM else None


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Turns SIGINT and SIGTERM into `KeyboardInterrupt` and yields the list of signals; a second one exits at once."""
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(SIGNALLED + number)
        raise KeyboardInterrupt

    # Shells start background commands with Ctrl-C ignored; it stays ignored.
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def user_error_in(error: BaseException | None) -> UserError | None:
    """Returns the `UserError` that `error` is, wraps or was raised from, or None."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        if isinstance(current, UserError):
            return UserError(_sentence(current))
        seen.add(id(current))
        # Ray stores a worker's exception in `cause`, and Ray Train the wrapped exceptions of its workers by rank.
        by_rank = getattr(current, "worker_failures", None) or {}
        waiting += [getattr(current, name, None) for name in ("__cause__", "cause", "controller_failure", "_base_exc")]
        waiting += [None if current.__suppress_context__ else current.__context__, *by_rank.values()]
    return None


def _sentence(error: UserError) -> str:
    """Returns the message without the remote traceback that Ray puts into its copy of an error."""
    cause = getattr(error, "cause", None)
    return _sentence(cause) if isinstance(cause, UserError) else str(error.args[0] if error.args else error)
