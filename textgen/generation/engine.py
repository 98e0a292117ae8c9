"""Continuous batching: streams join free slots at every call of the loop and leave when they are finished.

A completion depends only on its prompt, condition, seed, index and settings, not on the number of requests, their order
or their time of arrival (`loop` and `stream` explain why).

Letters: S slots, K steps per call, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any

import numpy as np

from textgen.corpus.codec import TextCodec
from textgen.generation.loop import StepModel, SteppingLoop
from textgen.generation.stream import Completion, PreparedPrompt, Request, Stream
from textgen.model.sliding import SlidingModel
from textgen.windows.vocabulary import Vocabulary

NUM_SLOTS = 32
"""Twice as many slots give no more characters per second on two cores and double the latency of a single stream."""
SLIDING_SLOTS = 4
"""Slots of a sliding model: each slot steps T rows, so more slots only add latency."""
STEPS_PER_CALL = 32
"""Amortizes the overhead of a call; a request waits at most one call, about 10 ms, for a free slot."""

_Waiting = tuple[Stream, "Future[Completion]"]


class Engine:
    """Steps all requests together.

    A job only needs `generate`. A server calls `prepare` and `enqueue` from any thread and `run_once` from one
    dedicated thread. The loop that generates also reads the prompt (its ids are forced), so a request can join at any
    call. UNKNOWN and controls are never drawn: their probability goes to the other ids in proportion.
    """

    def __init__(
        self,
        model: StepModel,
        vocabulary: Vocabulary,
        *,
        num_slots: int | None = None,
        codec: TextCodec | None = None,
        steer: Callable[[Sequence[Any]], list[Any]] = list,
    ) -> None:
        """Prepares an engine.

        Args:
            model: The language model; its weights are read at every call.
            vocabulary: The model's vocabulary.
            num_slots: Streams that are stepped together; another number rounds differently. None chooses it by model.
            codec: Of the model's corpus; by default prompts and completions are not converted.
            steer: Changes the model's state before every id, such as `steering.Steering`; the default changes nothing.
        """
        self.vocabulary = vocabulary
        self._codec = codec or TextCodec()
        if num_slots is None:
            num_slots = SLIDING_SLOTS if isinstance(model, SlidingModel) else NUM_SLOTS
        self._loop = SteppingLoop(
            model, num_slots=num_slots, num_steps=STEPS_PER_CALL, never_sampled=vocabulary.never_drawn, steer=steer
        )
        self._waiting: deque[_Waiting] = deque()
        self._slots: list[_Waiting | None] = [None] * num_slots
        self._last = np.full(num_slots, vocabulary.start_id, dtype=np.int32)
        self._temperature = np.zeros(num_slots, dtype=np.float32)
        self._top_k = np.full(num_slots, vocabulary.size, dtype=np.int32)
        self._top_p = np.ones(num_slots, dtype=np.float32)

    @property
    def num_unfinished(self) -> int:
        """Number of requests that are queued or running; requests cancelled in the queue do not count."""
        waiting = sum(
            not future.cancelled() for _, future in tuple(self._waiting)
        )  # A copy: another thread may change the queue.
        return waiting + sum(slot is not None for slot in self._slots)

    def generate(
        self, requests: Sequence[Request], *, progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Returns the completions of all requests, in order; `progress` receives the number of finished requests."""
        futures = [self.enqueue(stream) for stream in self.prepare(requests)]
        while (num_done := sum(future.done() for future in futures)) < len(futures):
            if progress is not None:
                progress(num_done)
            self.run_once()
        return [future.result() for future in futures]

    def prepare(self, requests: Sequence[Request]) -> list[Stream]:
        """Returns a stream per request and reads each distinct prompt once; safe to call from any thread.

        Raises:
            RefusedFieldError: the model cannot read the prompt, the condition or a stop text of a request.
        """
        known: dict[tuple[str, str], PreparedPrompt] = {}
        streams = []
        for request in requests:
            name = (request.prompt, repr(request.condition))
            if name not in known:
                known[name] = PreparedPrompt.of(request, self.vocabulary, self._codec)
            streams.append(Stream(request, self.vocabulary, codec=self._codec, prepared=known[name]))
        return streams

    def enqueue(self, stream: Stream) -> Future[Completion]:
        """Queues a stream and returns its future, which a later `run_once` completes; the caller may cancel it."""
        future: Future[Completion] = Future()
        self._waiting.append((stream, future))
        return future

    def run_once(self) -> bool:
        """Steps all slots by one call of the loop; returns False, without stepping, if there is no request."""
        fresh = self._admit()
        if not any(self._slots):
            return False
        num_slots, num_steps = len(self._slots), self._loop.num_steps
        forced = np.zeros((num_steps, num_slots), dtype=np.int32)  # A slot without a stream reads id 0.
        uniforms = np.zeros((num_steps, num_slots), dtype=np.float32)
        for slot, active in enumerate(self._slots):
            if active is not None:
                forced[:, slot], uniforms[:, slot] = active[0].inputs(num_steps)
        ids = self._loop(
            fresh=fresh,
            last=self._last,
            forced=forced,
            uniforms=uniforms,
            temperature=self._temperature,
            top_k=self._top_k,
            top_p=self._top_p,
        )
        self._last = ids[-1].copy()
        for slot, active in enumerate(self._slots):
            if active is not None:
                self._read(slot, active, ids[:, slot])
        return True

    def fail_all(self, error: Exception) -> None:
        """Ends every unfinished request with `error`."""
        unfinished = [*self._waiting, *(slot for slot in self._slots if slot is not None)]
        self._waiting.clear()
        for slot in range(len(self._slots)):
            self._release(slot)
        for _, future in unfinished:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(error)

    def _admit(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Frees slots of cancelled requests, fills free slots from the queue and returns which slots are new, [S]."""
        fresh = np.zeros(len(self._slots), dtype=np.bool_)
        for slot, active in enumerate(self._slots):
            if active is not None and active[1].cancelled():
                self._release(slot)
            while self._slots[slot] is None and self._waiting:
                stream, future = self._waiting.popleft()
                if not future.cancelled():
                    self._assign(slot, stream, future)
                    fresh[slot] = True
        return fresh

    def _assign(self, slot: int, stream: Stream, future: Future[Completion]) -> None:
        settings = stream.request.settings
        self._slots[slot] = (stream, future)
        self._last[slot] = self.vocabulary.start_id
        self._temperature[slot] = settings.temperature
        self._top_k[slot] = min(settings.top_k or self.vocabulary.size, self.vocabulary.size)
        self._top_p[slot] = settings.top_p

    def _release(self, slot: int) -> None:
        self._slots[slot] = None
        # A filter left in a free slot would slow down every call.
        self._top_k[slot], self._top_p[slot] = self.vocabulary.size, 1.0

    def _read(self, slot: int, active: _Waiting, ids: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        stream, future = active
        stream.read(ids)
        if stream.finish_reason is not None:
            self._release(slot)
            with contextlib.suppress(InvalidStateError):  # The request was cancelled in the meantime.
                future.set_result(stream.completion())
