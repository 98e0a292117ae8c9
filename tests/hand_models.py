"""Models of a few ids whose logits can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class MarkovModel:
    """The next id depends on the last one alone."""

    def __init__(self, probabilities: npt.ArrayLike) -> None:
        """Takes the probability of each next id (column) after each id (row), [V, V]."""
        self.probabilities = np.asarray(probabilities, dtype=np.float32)
        self.vocab_size = len(self.probabilities)
        with np.errstate(divide="ignore"):
            self._logits = tf.constant(np.log(self.probabilities))

    def initial_state(self, batch_size: int) -> list[Any]:
        return [tf.zeros((batch_size, 1))]

    def step(self, ids: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        return tf.gather(self._logits, ids), list(state)


class ClockModel:
    """Goes through `cycle` by the number of ids that it has read, whatever they were: its state counts them."""

    def __init__(self, cycle: Sequence[int], *, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._cycle = tf.constant(cycle, tf.int32)

    def initial_state(self, batch_size: int) -> list[Any]:
        return [tf.zeros((batch_size, 1))]

    def step(self, ids: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:  # noqa: ARG002 - reads the time alone.
        position = tf.cast(state[0][:, 0], tf.int32) % len(self._cycle)
        return 50.0 * tf.one_hot(tf.gather(self._cycle, position), self.vocab_size), [state[0] + 1.0]
