"""What every job's command line shares: flags, errors in one sentence, the result as the last line."""

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
"""Exit code of a mistake that the user can mend; the same as argparse's."""
EPILOG_FORM = (
    "examples:\n  {examples}\n\n`python -m jobs.settings` lists every setting with its type, default and meaning."
)
DEFAULT_PRESET = "reviews_best"
"""What text is ingested with where nothing else is named."""
SIGNALLED = 128
"""Exit code after a signal, to which its number is added, as shells have it: 130 after Ctrl-C, 143 after SIGTERM."""

OTHERS = {"run.json": "a run of jobs.train", "manifest.json": "windows of jobs.ingest", "batch.json": "a batch"}
"""Files by which a folder shows whose it is."""


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
    """Returns a parser with the flags that jobs share: `--output`, and `--preset` and `--set` where they apply.

    With `starts_on_ray`, there is `--wait-seconds`, which the job gives to `waiting.bound`.
    With `preset_of_windows`, a preset that is not given is that of the windows (`spec_on_windows`).
    """
    parser = JobParser(
        prog=f"python -m jobs.{job}",
        description=description,
        epilog=EPILOG_FORM.format(examples="\n  ".join(examples)),
        formatter_class=HelpFormatter,
        allow_abbrev=False,  # One spelling of a flag, by which `textgen.local.paths` finds the paths in a command.
    )
    if not takes_preset:
        parser.sections = ("sampling",)
    if takes_preset:
        parser.add_argument(
            "--preset",
            default=None if preset_of_windows else DEFAULT_PRESET,
            metavar="NAME",
            help=f"the spec to begin with: {', '.join(presets.PRESET_NAMES)} (default: "
            f"{'the one that the windows were made with' if preset_of_windows else DEFAULT_PRESET})",
        )
    if takes_settings:
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            dest="settings",
            metavar="SECTION.FIELD=VALUE",
            help="change a field of the spec, such as "
            f"{'model.units=256' if takes_preset else 'sampling.stop=[END]'}; may repeat; python -m jobs.settings "
            "lists the fields",
        )
    parser.add_argument(
        "--output",
        metavar="URI",
        required=needs_output,
        help="folder or s3:// prefix that receives what the job writes",
    )
    if starts_on_ray:
        parser.add_argument(
            "--wait-seconds",
            type=float,
            metavar="N",
            help="wait so long at most for CPUs and GPUs that others on the cluster hold, then end with exit code 2 "
            "(default: without a bound; what is waited for is said)",
        )
    return parser


def spec_of(arguments: argparse.Namespace) -> RunSpec:
    """Returns the spec of `--preset` with every `--set` applied."""
    return override(presets.preset(arguments.preset), settings_of(arguments))


def spec_on_windows(arguments: argparse.Namespace, *, run_uri: str | None = None) -> RunSpec:
    """Returns the spec to train `--windows` with, and says which preset it begins with and why.

    Without `--preset` that is the one of the run at `run_uri`, where there is one, or of the windows.
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
    """Makes sure, before the long work, that `--output` can be written and is no other's: its `result.json` stays.

    Args:
        output: where the job writes; None where it was not given.
        holds: the file of a finished `OTHERS` that this job may find there, because it is its own.
        checkpoint: the checkpoint or run whose figures the job writes; those of another one stay.

    Raises:
        UserError: it cannot, or it is.
    """
    if output is None:
        return
    check_output(output)
    for name, what in OTHERS.items():
        if name != holds and storage.exists(storage.join(output, name)):
            raise UserError(f"--output {output} is the folder of {what}; give another, such as one in it or beside it")
    if checkpoint is not None:
        measured = _checkpoint_of_result(output)
        if measured is not None and _run_of(measured) != _run_of(storage.absolute(checkpoint)):
            raise UserError(f"--output {output} holds the result of {measured}; give another folder for {checkpoint}")


def _checkpoint_of_result(output: str) -> str | None:
    """Returns the checkpoint that the `result.json` of a folder is about, None where there is none."""
    content = storage.read_if_exists(storage.join(output, "result.json"))
    try:
        result = json.loads(content) if content is not None else None
    except ValueError:
        return None
    found = result.get("checkpoint_uri") if isinstance(result, dict) else None
    return found if isinstance(found, str) else None


def _run_of(uri: str) -> str:
    """Returns the run that a checkpoint is of; a run as it is."""
    return uri.partition("/checkpoints/")[0]


def finish(result: Mapping[str, Any], *, output: str | None, summary: Sequence[str] = ()) -> None:
    """Writes `<output>/result.json`, lets go of Ray, and prints the result as the last line on stdout.

    The lines of `summary`, for people, go to stderr before it.
    """
    line = json.dumps(_without_nan(result), ensure_ascii=False, allow_nan=False)
    if output is not None:
        storage.write_bytes(storage.join(output, "result.json"), (line + "\n").encode())
    disconnect()  # Ray forwards its workers' output until then; nothing may follow the result.
    for words in summary:
        say(words)
    sys.stderr.flush()
    print(line, flush=True)


def import_tensorflow() -> None:
    """Imports TensorFlow without the lines that its libraries write to the terminal whatever their log level."""
    say("loading TensorFlow")  # Which takes ten seconds on a small machine.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except Exception:  # Of an interrupt it is no explanation.
            said.seek(0)
            os.write(terminal, said.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _without_nan(value: Any) -> Any:
    """Returns a JSON value with null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run(main: Callable[[list[str]], None], *, interrupted: str | None = None) -> None:
    """Runs a job: a `UserError`, from a worker too, ends in its sentence on stderr and exit code 2.

    Args:
        main: is given the arguments of the command line.
        interrupted: what is kept where Ctrl-C or SIGTERM ends it, and what the same command does then; None is silent.
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
        except BrokenPipeError:  # The reader of stdout has gone, as with `| head`.
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
    """Returns the signal that ended a job by an error; None where none did."""
    if received:
        return received[0]  # Whatever a library has made of it.
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    # While Ray starts, SIGTERM is an exit with its number.
    return signal.SIGTERM if isinstance(error, SystemExit) and error.code == signal.SIGTERM else None


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Makes a `KeyboardInterrupt` of SIGINT and SIGTERM, and gives the signals that came; a second one ends at once."""
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(SIGNALLED + number)
        raise KeyboardInterrupt

    # A shell lets what it runs behind it ignore Ctrl-C.
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def user_error_in(error: BaseException | None) -> UserError | None:
    """Returns the `UserError` that `error` is, wraps or was raised from, if there is one."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        if isinstance(current, UserError):
            return UserError(_sentence(current))
        seen.add(id(current))
        # Ray keeps what a worker raised in `cause`; Ray Train its workers' errors by rank, each wrapped.
        by_rank = getattr(current, "worker_failures", None) or {}
        waiting += [getattr(current, name, None) for name in ("__cause__", "cause", "controller_failure", "_base_exc")]
        waiting += [None if current.__suppress_context__ else current.__context__, *by_rank.values()]
    return None


def _sentence(error: UserError) -> str:
    """Returns the message alone: Ray's copy of an error carries the remote traceback in its text."""
    cause = getattr(error, "cause", None)
    return _sentence(cause) if isinstance(cause, UserError) else str(error.args[0] if error.args else error)
