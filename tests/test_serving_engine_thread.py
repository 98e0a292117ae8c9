from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.served_text import EchoEngine, completion_of
from textgen.errors import UserError
from textgen.generation.stream import Request
from textgen.serving.engine_thread import BusyError, EngineThread
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


def test_requests_are_completed_whenever_they_come(thread: EngineThread) -> None:
    for _ in range(3):
        futures = thread.submit(REQUESTS)
        assert [future.result(SECONDS) for future in futures] == [completion_of(request) for request in REQUESTS]
    assert thread.is_alive


def test_a_full_queue_takes_all_of_a_request_or_nothing(engine: EchoEngine, thread: EngineThread) -> None:
    engine.gate.clear()
    first = thread.submit(REQUESTS)
    with pytest.raises(BusyError, match="3 completions"):
        thread.submit(REQUESTS[:2])
    fourth = thread.submit(REQUESTS[:1])
    assert len(engine.submitted) == 4
    engine.gate.set()
    assert all(future.result(SECONDS) for future in [*first, *fourth])


def test_a_prompt_that_cannot_be_read_withdraws_the_others(engine: EchoEngine, thread: EngineThread) -> None:
    engine.gate.clear()
    with pytest.raises(UserError):
        thread.submit([*REQUESTS[:2], Request(prompt="\0", settings=SamplingSpec())])
    assert len(engine.submitted) == 2
    assert all(future.cancelled() for _, future in engine._waiting)


def test_what_was_withdrawn_is_let_go_without_another_request(engine: EchoEngine, thread: EngineThread) -> None:
    assert thread.submit(REQUESTS[:1])[0].result(SECONDS)
    engine.drained.clear()
    with pytest.raises(UserError):
        thread.submit([*REQUESTS, Request(prompt="\0", settings=SamplingSpec())])
    assert engine.drained.wait(SECONDS)
    assert engine.num_unfinished == 0


def test_a_fault_ends_its_requests_and_later_ones_are_served(engine: EchoEngine, thread: EngineThread) -> None:
    engine.gate.clear()
    engine.fault = RuntimeError("lost")
    futures = thread.submit(REQUESTS)
    engine.gate.set()
    for future in futures:
        with pytest.raises(RuntimeError, match="lost"):
            future.result(SECONDS)
    engine.fault = None
    assert thread.submit(REQUESTS[:1])[0].result(SECONDS) == completion_of(REQUESTS[0])


def test_stopping_leaves_nobody_waiting(engine: EchoEngine) -> None:
    thread = EngineThread(engine)
    thread.submit(REQUESTS[:1])[0].result(SECONDS)
    thread.stop()
    assert not thread.is_alive
    with pytest.raises(BusyError):
        thread.submit(REQUESTS)
