"""Sums over the workers of a training, with TensorFlow's collectives.

`MultiWorkerMirroredStrategy` is used for the all-reduce only. Model and optimizer are ordinary variables outside of its
scope, because a Keras optimizer that is applied inside a replica context reduces the gradients again.
TensorFlow's collective ports (`textgen.training.backend` chooses them) listen on every address of the machine, without
authentication, for as long as the training runs. Train on a private network.
"""

from __future__ import annotations

import json
import os
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]


class Collective(Protocol):
    """One worker's rank among the workers, and its sum over all of them."""

    rank: int
    num_workers: int

    def sum(self, vector: tf.Tensor) -> tf.Tensor:
        """Returns the sum of the workers' vectors; every worker must call it. Usable inside `tf.function`."""
        ...


class Alone:
    """The collective of a single worker, whose vectors are the sums."""

    rank = 0
    num_workers = 1

    def sum(self, vector: tf.Tensor) -> tf.Tensor:
        """Returns the vector."""
        return vector


class Workers:
    """The collective of several workers; created from TF_CONFIG, before any other use of TensorFlow in the process."""

    def __init__(self) -> None:
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        config = json.loads(os.environ["TF_CONFIG"])
        self.rank = int(config["task"]["index"])
        self.num_workers = len(config["cluster"]["worker"])

    def sum(self, vector: tf.Tensor) -> tf.Tensor:
        """Returns the sum of the workers' vectors."""

        def reduce(value: tf.Tensor) -> tf.Tensor:
            placed = tf.identity(value)  # Gives the value the replica's device, without which it has no destination.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

        return self._strategy.run(reduce, args=(vector,))


class HostSum:
    """Sums numpy arrays over the workers of a collective."""

    def __init__(self, collective: Collective) -> None:
        self.rank = collective.rank
        self.num_workers = collective.num_workers
        self._sum = tf.function(collective.sum, input_signature=[tf.TensorSpec([None], tf.float64)])

    def __call__(self, array: Array) -> Array:
        """Returns the sum of the workers' arrays, in their shape and type; every worker must call it."""
        total: Array = self._sum(tf.constant(array.reshape(-1), tf.float64)).numpy()
        return total.reshape(array.shape).astype(array.dtype)

    def of_first(self, array: Array) -> Array:
        """Returns the first worker's array on every worker; every worker must call it."""
        return self(array if self.rank == 0 else np.zeros_like(array))
