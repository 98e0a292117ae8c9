"""Shared by all command lines: flags, errors in one sentence, the result as the last line."""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import command_line
from jobs.command_line import check_place, finish, job_parser, run, spec_of, user_error_in
from jobs.progress import say
from textgen import presets
from textgen.errors import UserError
from textgen.runs.stopping import LISTENER, StoppedError
from textgen.spec import RunSpec, override

ROOT = Path(command_line.__file__).resolve().parent.parent
PARSER = job_parser(job="train", description="Trains.", examples=["python -m jobs.train --preset tiny"])


def spec_for(*argv: str) -> RunSpec:
    return spec_of(PARSER.parse_args(list(argv)))


def exit_of(
    main: Callable[[list[str]], None], monkeypatch: pytest.MonkeyPatch, *, interrupted: str | None = None
) -> int:
    """Runs a job as its module would, and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["job", "--flag", "value"])
    with pytest.raises(SystemExit) as raised:
        run(main, interrupted=interrupted)
    assert isinstance(raised.value.code, int)
    return raised.value.code


def failing(error: BaseException) -> Callable[[list[str]], None]:
    def main(argv: list[str]) -> None:
        raise error

    return main


def caused_by(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def test_the_spec_is_the_preset_with_its_changes() -> None:
    assert spec_for() == presets.preset("reviews_best")
    assert spec_for("--preset", "tweets", "--set", "model.units=8", "--set", "training.clip_norm=none") == override(
        presets.preset("tweets"), {"model.units": 8}
    )


def test_a_parser_has_only_the_requested_flags() -> None:
    parser = job_parser(
        job="x", description="", examples=(), takes_preset=False, takes_settings=False, needs_output=True
    )
    assert vars(parser.parse_args(["--output", "there"])) == {"output": "there"}
    for argv in ([], ["--output", "there", "--preset", "tiny"], ["--output", "there", "--set", "model.units=3"]):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--set", "training.lr=1e-3"], "no setting 'training.lr'; did you mean training.learning_rate"),
        (
            ["--set", "training.learning_rate"],
            "--set received 'training.learning_rate'; write it as section.field=value",
        ),
        (["--set", "model.units=wide"], "model.units is 'wide'; it must be a whole number"),
        (["--set", "windows.stride=3"], "training.order is stateful with windows.stride 3"),
        (["--preset", "novels"], "no preset 'novels'; the presets are"),
    ],
)
def test_a_wrong_setting_ends_in_one_sentence(
    argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(lambda _: print(spec_for(*argv)), monkeypatch) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_help_shows_the_example_and_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        PARSER.parse_args(["--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert "examples:\n  python -m jobs.train --preset tiny" in text
    assert text.startswith("usage: python -m jobs.train")
    assert all(name in text for name in presets.PRESET_NAMES)


def test_main_receives_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["job", "--flag", "value"])
    run(received.append)
    assert received == [["--flag", "value"]]


def ray_task_error(cause: Exception) -> Exception:
    """Returns what `ray.get` raises for a task that raised `cause`."""
    from ray.exceptions import RayTaskError

    error: Exception = RayTaskError("read", "Traceback (most recent call last): ...", cause).as_instanceof_cause()
    return error


class WorkerGroupError(Exception):
    """Stands in for Ray Train's error, whose import takes seconds."""

    def __init__(self, worker_failures: dict[int, Exception]) -> None:
        super().__init__("a worker failed")
        self.worker_failures = worker_failures


def worker_group_error(cause: Exception) -> Exception:
    """Returns what Ray Train's `fit` raises for a worker that raised `cause`."""
    return WorkerGroupError({0: RuntimeError("another worker"), 1: cause})


def nested_task_error(cause: Exception) -> Exception:
    """Returns what `ray.get` raises for a task that waited for one that raised `cause`."""
    from ray.exceptions import RayTaskError

    error: Exception = RayTaskError("wait", "Traceback (most recent call last): ...", ray_task_error(cause))
    return error


MISTAKE = UserError("the bucket is empty; name another")
WRAPPED = {
    "itself": lambda: MISTAKE,
    "as a cause": lambda: caused_by(RuntimeError("no"), MISTAKE),
    "as a cause of a cause": lambda: caused_by(RuntimeError("no"), caused_by(KeyError("k"), MISTAKE)),
    "as Ray's `cause`": lambda: ray_task_error(MISTAKE),
    "twice in Ray's": lambda: nested_task_error(MISTAKE),
    "from a task of a worker": lambda: worker_group_error(ray_task_error(MISTAKE)),
    "of a worker": lambda: worker_group_error(MISTAKE),
    "below a worker's error": lambda: worker_group_error(caused_by(ValueError("x"), MISTAKE)),
    "of a failed training": lambda: caused_by(RuntimeError("training failed"), worker_group_error(MISTAKE)),
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=WRAPPED)
def test_a_user_error_prints_only_its_message(
    make: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(failing(make()), monkeypatch) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "error: the bucket is empty; name another\n")


@pytest.mark.ray
def test_ray_trains_errors_have_the_expected_attributes() -> None:
    from ray.train import ControllerError, WorkerGroupError
    from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

    of_worker = UserExceptionWithTraceback(MISTAKE, "a worker's traceback")
    for error in (
        WorkerGroupError("failed", {1: ray_task_error(MISTAKE)}),
        WorkerGroupError("failed", {0: of_worker}),
        ControllerError(MISTAKE),
    ):
        found = user_error_in(error)
        assert found is not None
        assert str(found) == str(MISTAKE)
        assert user_error_in(copy.copy(error)) is not None  # Copied, as when it arrives from another process.
    assert user_error_in(ControllerError(ValueError("x"))) is None


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["job"])
    for error in (KeyError("units"), ray_task_error(KeyError("units")), worker_group_error(ValueError("x"))):
        with pytest.raises(type(error)):
            run(failing(error))


def test_an_error_after_a_handled_user_error_is_not_a_user_error() -> None:
    def recovers() -> None:
        try:
            raise MISTAKE
        except UserError:
            raise KeyError("units") from None

    with pytest.raises(KeyError) as raised:
        recovers()
    assert user_error_in(raised.value) is None


def test_circular_error_chains_end() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert user_error_in(one) is None
    assert user_error_in(None) is None


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(failing(KeyboardInterrupt()), monkeypatch) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "made_of_it", [None, ImportError("half of it"), SystemExit(3)], ids=["itself", "error", "exit"]
)
def test_an_interrupted_job_reports_what_is_kept(
    number: signal.Signals,
    code: int,
    made_of_it: BaseException | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(argv: list[str]) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise made_of_it or KeyboardInterrupt from None

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert exit_of(main, monkeypatch, interrupted="nothing is kept") == code
    assert capsys.readouterr().err == "interrupted: nothing is kept\n"
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_interrupt_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        raise SystemExit(code)

    def main(argv: list[str]) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "_exit", end)
    exit_of(main, monkeypatch)
    assert ended == [130]


def test_a_system_exit_is_not_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_of(failing(SystemExit(3)), monkeypatch) == 3
    assert exit_of(failing(SystemExit(signal.SIGTERM)), monkeypatch) == 143  # Ray raises it while it starts.


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_reports_what_is_saved(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LISTENER, "heard", number)
    assert exit_of(failing(StoppedError("small", 7)), monkeypatch) == code
    assert capsys.readouterr().err == "small: saved step 7; the same command resumes\n"


def test_the_result_is_the_last_line_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = {"prompt": "שלום\n", "loss": 1.5, "val_loss": None, "windows": {"train": 3}}
    finish(result, output=str(tmp_path / "run"))
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1]) == result
    assert printed.count("\n") == 1
    assert "שלום" in printed
    assert json.loads((tmp_path / "run" / "result.json").read_text("utf-8")) == result


def test_a_result_needs_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    finish({"url": "http://127.0.0.1:8000"}, output=None)
    assert json.loads(capsys.readouterr().out) == {"url": "http://127.0.0.1:8000"}


def test_ray_is_disconnected_before_the_result_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "disconnect", lambda: print("a worker's last words"))
    finish({"a": 1}, output=str(tmp_path))
    assert capsys.readouterr().out.splitlines() == ["a worker's last words", '{"a": 1}']


def test_the_summary_is_printed_on_stderr_before_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    finish({"a": 1}, output=None, summary=["wrote it", "next: python -m jobs.train"])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ('{"a": 1}\n', "wrote it\nnext: python -m jobs.train\n")


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("reading")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "reading\n")


@pytest.mark.parametrize(
    ("file", "holds", "expected"),
    [
        ("run.json", "", "is the folder of a run of jobs.train"),
        ("run.json", "manifest.json", "is the folder of a run of jobs.train"),
        ("manifest.json", "", "is the folder of windows of jobs.ingest"),
        ("manifest.json", "manifest.json", None),
        ("result.json", "", None),
    ],
)
def test_output_of_another_kind_of_job_is_not_overwritten(
    tmp_path: Path, file: str, holds: str, expected: str | None
) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(UserError, match=expected) if expected else contextlib.nullcontext():
        check_place(str(tmp_path), holds=holds)


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ('{"checkpoint_uri": "RUNS/b/checkpoints/step-00000007"}', True),
        ('{"checkpoint_uri": "RUNS/a/checkpoints/step-00000003"}', False),  # An earlier checkpoint of the same run.
        ('{"checkpoint_uri": "RUNS/a"}', False),
        ('{"checkpoint_uri": 3}', False),
        ('["checkpoint_uri"]', False),
        ("no JSON", False),
    ],
)
@pytest.mark.parametrize("given", ["a", "a/checkpoints/step-00000009"])
def test_results_of_another_checkpoint_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, content: str, refused: bool
) -> None:
    monkeypatch.chdir(tmp_path)  # The result has an absolute path; a relative one is equivalent.
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "result.json").write_text(content.replace("RUNS", str(tmp_path / "runs")))
    expected = r"holds the result of \S+/runs/b/\S+; give another"
    with pytest.raises(UserError, match=expected) if refused else contextlib.nullcontext():
        check_place("figures", checkpoint=f"runs/{given}")
    check_place("elsewhere", checkpoint=f"runs/{given}")


JOBS = {
    "classify": ("--checkpoint", "c", "--text", "x"),
    "evaluate": ("--checkpoint", "c"),
    "find_learning_rate": ("--preset", "tiny", "--windows", "w"),
    "generate": ("--checkpoint", "c"),
    "ingest": ("--preset", "tiny", "--source", "s"),
    "probe": ("--checkpoint", "c"),
    "serve": ("--checkpoint", "c"),
    "sweep": ("--preset", "tiny", "--windows", "w"),
    "trace": ("--checkpoint", "c", "--step", "0"),
    "train": ("--preset", "tiny", "--windows", "w"),
}
WRONG = {"train": ("--run-name", ".."), "serve": ("--name", "a/b")}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_checks_its_output_first(tmp_path: Path, job: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    main = importlib.import_module(f"jobs.{job}").main
    with pytest.raises(UserError, match=r"^--output is .*a file; give a folder"):
        main([*JOBS[job], "--output", str(tmp_path / "file")])
    if job in WRONG:
        with pytest.raises(UserError, match=f"^{WRONG[job][0]} is "):
            main([*JOBS[job], *WRONG[job], "--output", str(tmp_path / "out")])


@pytest.mark.parametrize("job", ["evaluate", "ingest", "serve", "sweep", "train"])
def test_jobs_on_ray_limit_their_wait(tmp_path: Path, job: str) -> None:
    main = importlib.import_module(f"jobs.{job}").main
    with pytest.raises(UserError, match=r"^--wait-seconds is -1; "):
        main([*JOBS[job], "--output", str(tmp_path), "--wait-seconds=-1"])


def test_every_job_with_an_output_is_tested() -> None:
    taking = {path.stem for path in ROOT.glob("jobs/*.py") if "job_parser(" in path.read_text()}
    assert taking - {"command_line"} == set(JOBS)


def test_without_the_packages_the_error_names_make_setup() -> None:
    command = [sys.executable, "-S", "-m", "jobs.settings"]  # -S leaves out the folder of installed packages.
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "make setup" in finished.stderr
