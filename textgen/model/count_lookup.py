"""Looks a count model's probabilities up in TensorFlow: in a training step, in scoring, and in the compiled loop.

Letters: B rows, T time, N = B * T positions, K order, O levels (contexts of 3 to K ids, and of words), S children of
all levels, V vocabulary, G = O + 1 probabilities: after two ids and after each longer context.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from textgen.counts.contexts import FIRST_HASHED_ORDER, bucket_of, fold_of, hashed
from textgen.counts.table import BUCKET_SIZE, DISCOUNTS, MAX_CHILDREN, CountTable
from textgen.counts.words import REACH, Operations, word_contexts

FEATURE_SCALES = (0.2, 0.1, 0.3)
"""Of the length of the longest known context, and of the logarithms of its occurrences and distinct followers: they
bring all three to about 1, as the outputs of a layer are."""
SMALLEST_SHARE = 1e-3
"""Of the ids that a context has no child kept for: what they get is divided by no smaller number."""
SMALLEST = 1e-12
"""What the probability of an id is taken to be at least."""


TENSORFLOW = Operations(
    cumulative_sum=tf.cumsum,
    cumulative_product=tf.math.cumprod,
    sum=functools.partial(tf.reduce_sum, axis=0),
    integers=functools.partial(tf.cast, dtype=tf.int64),
    shift_right=tf.bitwise.right_shift,
)


class CountPrediction(NamedTuple):
    """What the counts say of the next id."""

    log_probabilities: tf.Tensor
    """After each length of context, [B, T, G, V], the longest last; without contexts of words, the longest's alone,
    [B, T, 1, V]."""
    features: tf.Tensor
    """How well the context is known, [B, T, CountLookup.num_features]: the length of the longest known context, the
    logarithms of its occurrences and of its distinct followers; with contexts of words, both logarithms of all levels.
    """


class CountLookup:
    """A count table as tensors."""

    def __init__(self, table: CountTable) -> None:
        self.order = table.order
        self.num_words = table.num_words
        self.reach = max(table.order, REACH) if table.num_words else table.order
        """Ids that a prediction looks back at."""
        self._word_flags = tf.constant(table.word_flags.astype(np.int64))
        self.vocab_size = table.vocab_size
        self._block_ids = table.block_ids
        self._num_buckets = len(table.buckets)
        self._low = tf.constant(table.low_probabilities())
        self._buckets = tf.constant(table.buckets)
        self._rows = tf.constant(table.rows)
        self._children = tf.constant(table.children)
        self._fold_children = self._fold_rows = None
        if table.folds is not None:
            self._fold_children = tf.constant(table.folds.children)
            self._fold_rows = tf.constant(table.folds.rows)
        lengths = [MAX_CHILDREN[level] for level in table.levels]
        self._levels = tf.constant(table.levels, tf.int64)
        self._slot_order = np.repeat(np.arange(len(lengths)), lengths)  # [S]
        self._slot_rank = tf.constant(np.concatenate([np.arange(one) for one in lengths]), tf.int32)  # [S]
        self._lengths = lengths
        # GPUs have no deterministic DenseBincount.
        self._on_gpu = bool(tf.config.list_logical_devices("GPU"))

    @property
    def num_gates(self) -> int:
        """Number of probabilities that a prediction has: G, or 1 without contexts of words."""
        return 1 + len(self._lengths) if self.num_words else 1

    @property
    def num_features(self) -> int:
        """Number of features of a prediction."""
        return 3 + (2 * len(self._lengths) if self.num_words else 0)

    def __call__(self, ids: tf.Tensor, before: tf.Tensor, *, places: tf.Tensor | None = None) -> CountPrediction:
        """Returns what follows each id, by the counts.

        Args:
            ids: [B, T] int32.
            before: the ids before the first of them, [B, reach].
            places: in training, where in `train` the ids that follow stand, [B, T] int64: what was counted in the fold
                of a place is left out there. None counts everything.
        """
        shape = tf.shape(ids)
        recent = self._recent(tf.concat([tf.cast(before, tf.int64), tf.cast(ids, tf.int64)], axis=1), shape[1])
        low = tf.gather(self._low, recent[0] * self.vocab_size + recent[1])  # [N, V]
        row = self._row_of(recent)  # [N, O]
        start, _, occurrences = (tf.gather(self._rows, row)[..., part] for part in range(3))
        length = tf.gather(self._rows, row)[..., 1]
        place = self._by_slot(start) + self._slot_rank  # [N, S]
        child = tf.gather(self._children, place)
        counts = tf.where(self._slot_rank < self._by_slot(length), tf.bitwise.right_shift(child, 8), 0)
        if places is not None:
            fold = tf.cast(fold_of(tf.reshape(places, [-1, 1]), block_ids=self._block_ids), tf.int32)
            occurrences -= self._in_fold(self._fold_rows, fold, row, len(self._rows))
            in_fold = self._in_fold(self._fold_children, fold, place, len(self._children))
            counts = tf.where(counts > 0, counts - in_fold, 0)
        probabilities, features = self._mixed(low, counts, tf.bitwise.bitwise_and(child, 255), occurrences)
        logs = tf.math.log(tf.maximum(probabilities, SMALLEST))
        return CountPrediction(
            tf.reshape(logs, [shape[0], shape[1], self.num_gates, self.vocab_size]),
            tf.reshape(features, [shape[0], shape[1], self.num_features]),
        )

    def _recent(self, ids: tf.Tensor, num_positions: tf.Tensor) -> list[tf.Tensor]:
        """Returns the last id of each position, the one before it, and so on: `reach` tensors [N] int64."""
        # `ids` begins `reach` before the first position.
        starts = range(self.reach, 0, -1)
        return [tf.reshape(ids[:, start : start + num_positions], [-1]) for start in starts]

    def _row_of(self, recent: list[tf.Tensor]) -> tf.Tensor:
        """Returns the row of the context of each level, 0 where the table has none, [N, O] int32."""
        context, contexts = recent[0], []
        for order, older in enumerate(recent[1 : self.order], start=2):
            context = context * 256 + older
            if order >= FIRST_HASHED_ORDER:
                contexts.append(context)
        shift = tf.bitwise.right_shift
        if self.num_words:
            contexts += self._of_words(recent)
        mixed = hashed(tf.stack(contexts, axis=1), self._levels, shift_right=shift)
        entries = tf.gather(self._buckets, bucket_of(mixed, num_buckets=self._num_buckets, shift_right=shift))
        is_found = entries[..., :BUCKET_SIZE] == tf.cast(mixed, tf.int32)[..., None]  # Keeps the low 32 bits.
        return tf.reduce_sum(tf.where(is_found, entries[..., BUCKET_SIZE:], 0), axis=-1)

    def _of_words(self, recent: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the contexts of words of each position, [N] int64 each."""
        ids = tf.stack(recent)  # [reach, N]
        flags = tf.concat([tf.ones_like(ids[:1]), tf.gather(self._word_flags, ids)], axis=0)
        return word_contexts(ids, flags, num_words=self.num_words, operations=TENSORFLOW)

    def _mixed(
        self, low: tf.Tensor, counts: tf.Tensor, ids: tf.Tensor, occurrences: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the interpolated probabilities, [N, num_gates, V], and the features, [N, num_features].

        Args:
            low: probabilities after two ids, [N, V].
            counts: of the children, [N, S] int32.
            ids: the children, [N, S] int32.
            occurrences: of the contexts, [N, O] int32.
        """
        seen = tf.cast(counts > 0, tf.float32)
        one, two, more = DISCOUNTS
        discounts = one * seen + tf.where(counts > 1, two - one, 0.0) + tf.where(counts > 2, more - two, 0.0)
        counts = tf.cast(counts, tf.float32)
        probabilities, longest, of_levels = [low], tf.zeros_like(low[:, :3]), []
        parts = zip(*(tf.split(part, self._lengths, axis=1) for part in (seen, counts, discounts, ids)), strict=True)
        for index, part in enumerate(parts):
            total = tf.cast(occurrences[:, index : index + 1], tf.float32)
            probabilities.append(self._longer(probabilities[-1], total, *part))
            known = tf.math.log1p(tf.concat([total, tf.reduce_sum(part[0], axis=1, keepdims=True)], axis=1))
            order = tf.fill(tf.shape(total), float(index + 1))
            longest = tf.where(total > 0, tf.concat([order, known], axis=1), longest)
            of_levels.append(known * FEATURE_SCALES[1:])
        features = longest * FEATURE_SCALES
        if not self.num_words:
            return probabilities[-1][:, None], features
        return tf.stack(probabilities, axis=1), tf.concat([features, *of_levels], axis=1)

    def _longer(
        self,
        shorter: tf.Tensor,
        total: tf.Tensor,
        seen: tf.Tensor,
        counts: tf.Tensor,
        discounts: tf.Tensor,
        ids: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the probabilities after contexts of one id more, [N, V].

        What the children that are not kept have goes to the ids that are none of the kept ones, as the shorter context
        has them.

        Args:
            shorter: [N, V].
            total: occurrences of the contexts, [N, 1].
            seen: 1 for children, [N, M].
            counts: theirs, [N, M].
            discounts: taken from the counts, [N, M].
            ids: the children, [N, M].
        """
        inverse = tf.where(total > 0, 1 / tf.maximum(total, 1.0), 0.0)
        shorter_at = tf.gather(shorter, ids, batch_dims=1) * seen
        others = 1 - tf.reduce_sum(shorter_at, axis=1, keepdims=True)
        spare = tf.reduce_sum(discounts, axis=1, keepdims=True) * inverse
        beyond = (total - tf.reduce_sum(counts, axis=1, keepdims=True)) * inverse
        scale = beyond / tf.maximum(others, SMALLEST_SHARE)
        spare += beyond - scale * others
        everywhere = tf.where(total > 0, spare + scale, 1.0)
        return shorter * everywhere + self._spread(ids, (counts - discounts) * inverse - scale * shorter_at)

    def _spread(self, ids: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Returns values [N, S] at their ids [N, S], those of one id added up: [N, V]."""
        if not self._on_gpu:
            return tf.raw_ops.DenseBincount(input=ids, size=self.vocab_size, weights=values, binary_output=False)
        offsets = tf.range(tf.shape(ids)[0])[:, None] * self.vocab_size
        flat = tf.math.unsorted_segment_sum(values, offsets + ids, tf.shape(ids)[0] * self.vocab_size)
        return tf.reshape(flat, [-1, self.vocab_size])

    def _by_slot(self, values: tf.Tensor) -> tf.Tensor:
        """Returns values of every length [N, O] at each child of it, [N, S]."""
        return tf.gather(values, self._slot_order, axis=1)

    @staticmethod
    def _in_fold(counts: Any, fold: tf.Tensor, indices: tf.Tensor, size: int) -> tf.Tensor:
        """Returns what was counted in a fold [N, 1] at indices [N, ...] of it, int32."""
        return tf.cast(tf.gather(counts, fold * size + indices), tf.int32)
