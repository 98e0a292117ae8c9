"""An engine for tests of serving, without a model: its completions echo the request."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from textgen.generation.stream import Completion, RefusedFieldError, Request


class EchoEngine:
    """Finishes one request per call, the earliest first; waits while `gate` is clear."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.stepped = threading.Event()
        """Set during a call."""
        self.drained = threading.Event()
        """Set when no request is left."""
        self.submitted: list[Request] = []
        self.fault: Exception | None = None
        self._waiting: deque[tuple[Request, Future[Completion]]] = deque()

    @property
    def num_unfinished(self) -> int:
        return sum(not future.cancelled() for _, future in tuple(self._waiting))

    def prepare(self, requests: Sequence[Request]) -> Sequence[Request]:
        for request in requests:
            if "\0" in request.prompt:
                raise RefusedFieldError("the character '\\x00' is not in the vocabulary", "prompt")
            if "mood" in request.condition:
                raise RefusedFieldError("the model knows no condition 'mood'", "condition")
        return requests

    def enqueue(self, request: Request) -> Future[Completion]:
        self.submitted.append(request)
        future: Future[Completion] = Future()
        self._waiting.append((request, future))
        return future

    def run_once(self) -> bool:
        if not self._waiting:
            self.drained.set()
            return False
        self.stepped.set()
        self.gate.wait()
        self.stepped.clear()
        if self.fault:
            raise self.fault
        request, future = self._waiting.popleft()
        if not future.cancelled():
            future.set_result(completion_of(request))
        if not self._waiting:
            self.drained.set()
        return True

    def fail_all(self, error: Exception) -> None:
        while self._waiting:
            future = self._waiting.popleft()[1]
            if not future.cancelled():
                future.set_exception(error)


def completion_of(request: Request) -> Completion:
    """Returns a completion that echoes its request; at temperature 0 the model ended it, at 2 it was cut off."""
    settings = request.settings
    reasons = {0.0: "end", 2.0: "length"}
    return Completion(
        prompt=request.prompt,
        completion=f"<{request.prompt}:{request.index}>",
        finish_reason=reasons.get(settings.temperature, "stop"),  # type: ignore[arg-type]
        temperature=settings.temperature,
        seed=settings.seed,
        index=request.index,
        unknown_characters=("Q",) if "Q" in request.prompt else (),
    )
