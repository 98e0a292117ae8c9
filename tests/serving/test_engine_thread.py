from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.served_text import EchoEngine, completion_of
from textgen.generation.stream import RefusedFieldError, Request
from textgen.serving.engine_thread import FAILED_CALLS, HANG_SECONDS, BusyError, EngineThread
from textgen.spec import SamplingSpec

SECONDS = 10
REQUESTS = [Request(prompt=prompt, settings=SamplingSpec()) for prompt in "abc"]


@pytest.fixture
def engine() -> EchoEngine:
    return EchoEngine()


@pytest.fixture
def thread(engine: EchoEngine) -> Iterator[EngineThread]:
    thread = EngineThread(engine, max_unfinished=4)
    yield thread
    engine.gate.set()
    thread.stop()


def test_requests_are_completed_whenever_they_arrive(thread: EngineThread) -> None:
    for _ in range(3):
        futures = thread.submit(REQUESTS)
        assert [future.result(SECONDS) for future in futures] == [completion_of(request) for request in REQUESTS]
    assert thread.fault is None


def test_a_full_queue_takes_all_of_a_request_or_nothing(engine: EchoEngine, thread: EngineThread) -> None:
    engine.gate.clear()
    first = thread.submit(REQUESTS)
    with pytest.raises(BusyError, match="3 completions"):
        thread.submit(REQUESTS[:2])
    fourth = thread.submit(REQUESTS[:1])
    assert len(engine.submitted) == 4
    engine.gate.set()
    assert all(future.result(SECONDS) for future in [*first, *fourth])


def test_an_unreadable_prompt_queues_nothing(engine: EchoEngine, thread: EngineThread) -> None:
    with pytest.raises(RefusedFieldError):
        thread.prepare([*REQUESTS[:2], Request(prompt="\0", settings=SamplingSpec())])
    assert engine.submitted == []


def test_a_failed_call_ends_its_requests_and_later_ones_are_served(engine: EchoEngine, thread: EngineThread) -> None:
    engine.gate.clear()
    engine.fault = RuntimeError("lost")
    futures = thread.submit(REQUESTS)
    engine.gate.set()
    for future in futures:
        with pytest.raises(RuntimeError, match="lost"):
            future.result(SECONDS)
    engine.fault = None
    assert thread.submit(REQUESTS[:1])[0].result(SECONDS) == completion_of(REQUESTS[0])


def test_stopping_ends_all_requests(engine: EchoEngine) -> None:
    thread = EngineThread(engine)
    thread.submit(REQUESTS[:1])[0].result(SECONDS)
    thread.stop()
    assert thread.fault is not None
    with pytest.raises(BusyError):
        thread.submit(REQUESTS)


def fail_once(engine: EchoEngine, thread: EngineThread) -> None:
    engine.fault = RuntimeError("lost")
    with pytest.raises(RuntimeError, match="lost"):
        thread.submit(REQUESTS[:1])[0].result(SECONDS)
    engine.fault = None


def test_an_engine_that_fails_every_request_has_a_fault(engine: EchoEngine, thread: EngineThread) -> None:
    for _ in range(FAILED_CALLS - 1):
        fail_once(engine, thread)
    assert thread.fault is None
    thread.submit(REQUESTS[:1])[0].result(SECONDS)
    for _ in range(FAILED_CALLS - 1):
        fail_once(engine, thread)
    assert thread.fault is None, "one that succeeds now and then has none"
    fail_once(engine, thread)
    assert thread.fault is not None
    assert f"last {FAILED_CALLS} calls" in thread.fault


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_call_that_hangs_is_a_fault_until_it_ends(engine: EchoEngine) -> None:
    clock = Clock()
    thread = EngineThread(engine, clock=clock)
    clock.now += 100 * HANG_SECONDS
    assert thread.fault is None, "without requests no call is made"
    engine.gate.clear()
    futures = thread.submit(REQUESTS[:1])
    assert engine.stepped.wait(SECONDS)
    clock.now += HANG_SECONDS
    assert thread.fault is None
    clock.now += 1
    assert thread.fault is not None
    assert "11 s" in thread.fault
    engine.gate.set()
    futures[0].result(SECONDS)
    thread.submit(REQUESTS[:1])[0].result(SECONDS)  # In its own call, since the first one has ended.
    assert thread.fault is None
    engine.gate.clear()
    engine.stepped.clear()
    thread.submit(REQUESTS[:1])
    assert engine.stepped.wait(SECONDS)
    clock.now += 5 * HANG_SECONDS
    assert thread.fault is None, "an engine that once took 11 s for a call is slow"
    engine.gate.set()
    thread.stop()
