"""The compiled loop: all slots take a fixed number of steps in one call.

The rounding of a matrix product depends on its number of rows, so the number of slots is fixed for the lifetime of a
loop, and slots without a stream are stepped too. Rows do not mix: the ids that a slot draws depend neither on its
neighbours nor on its own number.

XLA compiles the loop in about a second and steps 1.3 to 3 times as fast as TensorFlow's own executor (measured on two
cores, 1 x 128 to 1 x 1024). Results were identical with 2, 3, 4 and 16 threads and rounded differently with one: give
TensorFlow at least two threads if a seed must give the same text on every machine.

Letters: S slots, K steps per call, V vocabulary, H units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from textgen.generation.sampling import sample
from textgen.generation.stream import Floats, IdRows


class StepModel(Protocol):
    """The interface that the loop needs from a language model."""

    vocab_size: int

    def initial_state(self, batch_size: int, /) -> list[Any]:
        """Returns the state before the first id: tensors [S, ...]."""

    def step(self, ids: Any, state: Sequence[Any], /) -> tuple[Any, list[Any]]:
        """Returns the logits after one more id of every row, [S, V], and the new state."""


class SteppingLoop:
    """Steps a model over all slots and keeps their state between calls."""

    def __init__(
        self,
        model: StepModel,
        *,
        num_slots: int,
        num_steps: int,
        never_sampled: Sequence[int],
        steer: Callable[[Sequence[Any]], list[Any]] = list,
    ) -> None:
        """Prepares the loop; the first call compiles it.

        Args:
            model: The language model. Its variables are read at every call, so later training takes effect.
            num_slots: S.
            num_steps: K.
            never_sampled: Ids that are never drawn (UNKNOWN, controls); their probability goes to the others.
            steer: Changes the state before every id is read; the default leaves it unchanged.
        """
        self.num_slots = num_slots
        self.num_steps = num_steps
        self._model = model
        self._steer = steer
        self._state = model.initial_state(num_slots)
        never = np.isin(np.arange(model.vocab_size), list(never_sampled))
        self._mask = tf.constant(np.where(never, -np.inf, 0.0), tf.float32)
        self._compiled = tf.function(self._steps, jit_compile=True, autograph=False)

    def __call__(
        self,
        *,
        fresh: npt.NDArray[np.bool_],
        last: IdRows,
        forced: IdRows,
        uniforms: Floats,
        temperature: Floats,
        top_k: IdRows,
        top_p: Floats,
    ) -> IdRows:
        """Takes K steps and returns their ids, [K, S].

        Args:
            fresh: [S]; slots whose state is reset to zero first.
            last: [S]; the id that each slot reads first.
            forced: [K, S]; ids that replace the drawn ones, or `stream.SAMPLED`.
            uniforms: [K, S] in [0, 1).
            temperature: [S].
            top_k: [S].
            top_p: [S].
        """
        arguments = (fresh, last, forced, uniforms, temperature, top_k, top_p)
        ids, self._state = self._compiled(self._state, *(tf.constant(argument) for argument in arguments))
        rows: IdRows = ids.numpy()
        return rows

    def _steps(
        self,
        state: list[Any],
        fresh: Any,
        last: Any,
        forced: Any,
        uniforms: Any,
        temperature: Any,
        top_k: Any,
        top_p: Any,
    ) -> tuple[Any, list[Any]]:
        state = [tf.where(tf.reshape(fresh, [-1] + [1] * (len(part.shape) - 1)), 0.0, part) for part in state]
        written = tf.TensorArray(tf.int32, self.num_steps, element_shape=[self.num_slots])

        def one_step(position: Any, ids: Any, written: Any, *state: Any) -> tuple[Any, ...]:
            logits, new_state = self._model.step(ids, self._steer(state))
            drawn = sample(
                logits + self._mask, uniform=uniforms[position], temperature=temperature, top_k=top_k, top_p=top_p
            )
            ids = tf.where(forced[position] >= 0, forced[position], drawn)
            return position + 1, ids, written.write(position, ids), *new_state

        _, _, written, *state = tf.while_loop(
            lambda position, *_: position < self.num_steps, one_step, (tf.constant(0), last, written, *state)
        )
        return written.stack(), state
