"""Scores a language model on text: each id once, in contiguous lanes along which the state is carried.

A sliding model (`model.sliding`) first reads the ids before its lane without counting them, so that the cost of an id
does not depend on where the lanes begin.

Letters: `R` rows (lanes), `T` ids of a chunk, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from textgen.evaluation.tally import Tally, TextSizes
from textgen.model.language_model import LanguageModel
from textgen.model.sliding import SlidingModel
from textgen.windows.batches import Batch
from textgen.windows.vocabulary import Vocabulary

NUM_LANES = 32
"""Number of lanes in every evaluation, independent of the training's batch size."""
CHUNK_IDS = 128
"""Ids per lane and call; does not affect the result."""


class Scorer:
    """Scores a model with its weights at the time of each call; compiled once, so validations reuse it."""

    def __init__(self, model: LanguageModel | SlidingModel, vocabulary: Vocabulary) -> None:
        self._model = model
        self._sizes = TextSizes(vocabulary)
        self._unknown_id = -1 if vocabulary.unknown_id is None else vocabulary.unknown_id
        self._step = tf.function(self._score_chunk, reduce_retracing=True)

    def score(self, batches: Iterable[Batch], *, progress: Callable[[int], None] | None = None) -> Tally:
        """Returns the tally of consecutive chunks of the same lanes; each lane starts with a zero state.

        After every chunk, `progress` receives the number of ids scored so far.
        """
        total = Tally()
        state: list[Any] | None = None
        for batch in batches:
            if state is None:
                state = self._model.initial_state(len(batch.inputs))
            nats, num_correct, state = self._step(
                tf.constant(batch.inputs, tf.int32), tf.constant(batch.targets, tf.int32), batch.weights > 0, state
            )
            scored = batch.targets[batch.weights > 0]
            total += self._sizes.tally(np.asarray(scored), nats=float(nats), num_correct=int(num_correct))
            if progress is not None:
                progress(total.num_ids)
        return total

    def _score_chunk(self, inputs: tf.Tensor, targets: tf.Tensor, counts: tf.Tensor, state: list[Any]) -> Any:
        """Returns nats (float64), correct ids, and the state after inputs [R, T]; `counts` [R, T] marks scored ids."""
        logits, state = self._model(inputs, state)  # [R, T, V]
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        nats = tf.where(counts, tf.cast(nats, tf.float64), tf.zeros([], tf.float64))
        likeliest = tf.argmax(logits, axis=-1, output_type=tf.int32)
        correct = counts & (likeliest == targets) & (targets != self._unknown_id)
        return tf.reduce_sum(nats), tf.math.count_nonzero(correct), state
