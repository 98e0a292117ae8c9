"""Training workers as threads of one process, summing with each other at a barrier."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf


class Rendezvous:
    """Where the threads meet: each brings a vector and takes the sum."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._barrier = threading.Barrier(num_workers, timeout=60)
        self._brought: list[Any] = [None] * num_workers

    def sum(self, rank: int, vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self._brought[rank] = vector
        self._barrier.wait()
        total = np.sum(self._brought, axis=0, dtype=vector.dtype)
        self._barrier.wait()  # Nobody brings the next vector before everybody has this sum.
        return total

    def abort(self) -> None:
        self._barrier.abort()


class Member:
    """The collective of one of the threads."""

    def __init__(self, rendezvous: Rendezvous, rank: int) -> None:
        self._rendezvous = rendezvous
        self.rank = rank
        self.num_workers = rendezvous.num_workers

    def sum(self, vector: tf.Tensor) -> tf.Tensor:
        total = tf.numpy_function(lambda value: self._rendezvous.sum(self.rank, value), [vector], vector.dtype)
        return tf.ensure_shape(total, vector.shape)


def together(num_workers: int, work: Callable[[Member], Any]) -> list[Any]:
    """Runs `work` once per rank at the same time and returns the results by rank."""
    rendezvous = Rendezvous(num_workers)
    # A compiled function waits at the barrier in a thread of TensorFlow's pool, which may have fewer than are needed.
    tf.config.run_functions_eagerly(True)

    def guarded(rank: int) -> Any:
        try:
            return work(Member(rendezvous, rank))
        except BaseException:
            rendezvous.abort()
            raise

    try:
        with ThreadPoolExecutor(num_workers) as pool:
            return [future.result() for future in [pool.submit(guarded, rank) for rank in range(num_workers)]]
    finally:
        tf.config.run_functions_eagerly(False)
