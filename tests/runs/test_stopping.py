"""SIGINT and SIGTERM: a training is saved at its current step; at other times the previous handlers act."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.model.checkpoint import latest_checkpoint, weights_hash
from textgen.runs import lease
from textgen.runs.position import Run
from textgen.runs.stopping import (
    POLL_SECONDS,
    SIGNALS,
    STOP_NAME,
    Listener,
    StoppedError,
    forwarding_signals,
    install,
    watching_stop_file,
)


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that the handlers before a listener received."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in SIGNALS}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_training_receives_the_first_signal(number: signal.Signals, heard: list[int]) -> None:
    listener = Listener()
    listener.install()
    listener.install()  # The second call changes nothing.
    signal.raise_signal(number)
    assert heard == [number]
    with listener.training() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        assert listener.heard == number
        assert len(heard) == 1
        signal.raise_signal(number)  # A second signal ends a training that hangs.
        assert len(heard) == 2
    signal.raise_signal(number)
    assert heard == [number] * 3
    with listener.training() as stop:
        assert not stop.is_set()
        assert listener.heard is None


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As for background jobs of a shell.
    try:
        Listener().install()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("step", "is_saved", "expected"),
    [
        (1234, True, "a: saved step 1,234; the same command resumes"),
        (1234, False, "a: saved nothing after step 1,234; the same command resumes from there"),
        (None, False, "a: nothing was saved yet; the same command starts over"),
    ],
)
def test_the_error_says_what_was_saved(step: int | None, is_saved: bool, expected: str) -> None:
    assert str(StoppedError("a", step, is_saved=is_saved)) == expected


def test_outside_of_the_main_thread_no_handler_is_installed(heard: list[int]) -> None:
    thread = threading.Thread(target=Listener().install)
    thread.start()
    thread.join()
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_driver_s_signal_reaches_the_first_worker(number: signal.Signals, heard: list[int], tmp_path: Path) -> None:
    stop = threading.Event()
    lines: list[str] = []
    (tmp_path / STOP_NAME).write_text("an older driver")
    lease.claim(str(tmp_path), "driver")
    with (
        forwarding_signals(str(tmp_path), "driver", say=lines.append),
        watching_stop_file(str(tmp_path), "driver", stop),
    ):
        assert not stop.wait(2 * POLL_SECONDS)  # The older file must have no effect; there is no event to wait for.
        signal.raise_signal(number)
        assert stop.wait(30)
        assert (tmp_path / STOP_NAME).read_text() == "driver"
    assert not (tmp_path / STOP_NAME).exists()
    assert heard == []
    assert ["Ctrl-C again" in line for line in lines] == [True] * (number == signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_before_its_workers_train_the_previous_handler_ends_a_driver(
    number: signal.Signals, heard: list[int], tmp_path: Path
) -> None:
    received = threading.Event()
    signal.signal(number, lambda *_: received.set())
    with forwarding_signals(str(tmp_path), "driver", say=[].append):
        signal.raise_signal(number)
        ticks = 0
        while not received.wait(0.1):  # In short waits, because Python handles signals between them.
            ticks += 1
            assert ticks < 300
    assert not (tmp_path / STOP_NAME).exists()
    assert heard == []


def test_a_driver_keeps_the_stop_file_of_another_one(tmp_path: Path) -> None:
    with forwarding_signals(str(tmp_path), "older", say=[].append):
        (tmp_path / STOP_NAME).write_text("newer")
    assert (tmp_path / STOP_NAME).read_text() == "newer"


@pytest.mark.tensorflow
def test_a_stopped_training_loses_no_step(heard: list[int], tmp_path: Path) -> None:
    from textgen.training.loop import train_alone

    texts = [f"the cat sat {number % 7} times" for number in range(60)]
    splits = {"train": texts, "val": texts[:7], "test": texts[:5]}
    manifest = written_manifest(str(tmp_path / "windows"), splits, documents_per_shard=20)
    spec = tiny_spec(
        training__global_batch_size=10,
        training__max_steps=12,
        training__validate_every_steps=5,
        training__sample_temperatures=(),
        model__dropout=0.2,
    )

    def run(name: str, report: Any) -> dict[str, Any]:
        place = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(tmp_path / name), run_name=name)
        return train_alone(place, say=[].append, report=report)

    def send_signal(metrics: Mapping[str, Any]) -> None:
        if metrics["step"] == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    install()
    with pytest.raises(StoppedError, match="stopped: saved step 6; the same command resumes"):
        run("stopped", send_signal)
    saved = latest_checkpoint(str(tmp_path / "stopped"))
    assert saved is not None
    assert saved.step == 6
    weights_then = weights_hash(saved.weights)
    assert heard == []
    undisturbed = run("whole", [].append)
    assert run("stopped", [].append)["weights_sha256"] == undisturbed["weights_sha256"]
    assert weights_then != undisturbed["weights_sha256"]
