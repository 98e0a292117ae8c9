"""Reads documents with a language model and records its state: at the end, on average, and at the end of each word.

Each document is read independently, from a zero state, after END and, with a conditioned model, after every condition's
`none`. On two cores, XLA runs the loop over `LanguageModel.read` twice as fast as TensorFlow itself.

Letters: D documents, R rows, T ids, K ids of a call, F values of the state, E entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import tensorflow as tf

from textgen.model.language_model import LanguageModel
from textgen.probing.codebook import Codebook
from textgen.windows.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NUM_ROWS = 256
"""Documents read at once. Fixed, because the rounding of a matrix product depends on its number of rows."""
CALL_IDS = 64
"""Ids per row and call; does not affect the result."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The features of up to `NUM_ROWS` documents."""

    places: Numbers
    """Indices of these documents among the given ones, [D]."""
    last: Floats
    """State after the last id, [D, F]."""
    mean: Floats
    """Mean of the states after each id, [D, F]."""
    counts: scipy.sparse.csr_array
    """Number of word ends whose state belongs to each entry, [D, E]."""


class StateReader:
    """Reads documents with the model's current weights; the result for a document depends on that document alone."""

    def __init__(self, model: LanguageModel, vocabulary: Vocabulary) -> None:
        self._model = model
        self._vocabulary = vocabulary
        unconditioned = vocabulary.control_ids([0] * len(vocabulary.conditions)).tolist()
        self._lead = np.array([vocabulary.start_id, *unconditioned], dtype=np.int32)
        self._space_id = None if vocabulary.missing(" ") else int(vocabulary.encode(" ")[0])
        self._compiled = tf.function(self._read_ids, jit_compile=True, autograph=False)

    def read(self, texts: Sequence[str], codebook: Codebook) -> Iterator[Reading]:
        """Yields the readings of all texts, grouped by similar length."""
        for places, rows in self._batches(texts):
            yield self._reading(places, rows, codebook)

    def word_ends(self, texts: Sequence[str]) -> Iterator[Floats]:
        """Yields the states at the ends of words, [N, F], one batch of texts at a time."""
        for _, rows in self._batches(texts):
            ends = self._are_word_ends(rows)
            yield np.concatenate([states[ends[begin : begin + CALL_IDS]] for begin, states in self._calls(rows)])

    def trace(self, text: str) -> Floats:
        """Returns the state after each character of a text, [number of characters, F]."""
        row = self._ids(text)
        states: Floats = np.concatenate([states[:, 0] for _, states in self._calls([row])])
        states = states[len(self._lead) : len(row)]
        if self._vocabulary.unit == "bytes":
            states = states[np.cumsum([len(character.encode()) for character in text]) - 1]
        return states

    def _ids(self, text: str) -> npt.NDArray[np.int32]:
        return np.concatenate([self._lead, self._vocabulary.encode(text).astype(np.int32)])

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[Numbers, list[npt.NDArray[np.int32]]]]:
        """Yields the indices and ids of up to R texts of similar length: short ones do not wait for long ones."""
        rows = [self._ids(text) for text in texts]
        order = np.argsort([len(row) for row in rows], kind="stable")
        for start in range(0, len(rows), NUM_ROWS):
            places = order[start : start + NUM_ROWS]
            yield places, [rows[place] for place in places]

    def _reading(self, places: Numbers, rows: Sequence[npt.NDArray[np.int32]], codebook: Codebook) -> Reading:
        lengths = np.array([len(row) for row in rows])
        ends = self._are_word_ends(rows)
        sums = np.zeros((len(rows), self.width), dtype=np.float64)
        last = np.zeros((len(rows), self.width), dtype=np.float32)
        counts = np.zeros((len(rows), len(codebook)), dtype=np.float32)
        for start, states in self._calls(rows):
            states = states[:, : len(rows)]  # [K, D, F]
            is_read = start + np.arange(CALL_IDS)[:, None] < lengths  # [K, D]
            sums += np.einsum("kd,kdf->df", is_read.astype(np.float32), states)
            ending = np.flatnonzero((lengths > start) & (lengths <= start + CALL_IDS))
            last[ending] = states[lengths[ending] - 1 - start, ending]
            positions, numbers = np.nonzero(ends[start : start + CALL_IDS, : len(rows)])
            np.add.at(counts, (numbers, codebook.entries_of(states[positions, numbers])), 1)
        return Reading(
            places=places,
            last=last,
            mean=(sums / lengths[:, None]).astype(np.float32),
            counts=scipy.sparse.csr_array(counts),
        )

    @property
    def width(self) -> int:
        """F: values of the state."""
        return sum(part.shape[-1] for part in self._model.unit_states(self._model.initial_state(1)))

    def _are_word_ends(self, rows: Sequence[npt.NDArray[np.int32]]) -> Bools:
        """Returns whether a word ends after each id, [T, R]: before a space, and at the end of the document.

        Without a space in the vocabulary, every id ends a word.
        """
        ends = np.zeros((_padded(rows), NUM_ROWS), dtype=np.bool_)
        for number, row in enumerate(rows):
            following = np.append(row[1:], -1 if self._space_id is None else self._space_id)
            is_end = (following == self._space_id) & (row != self._space_id)
            ends[: len(row), number] = is_end if self._space_id is not None else True
        return ends

    def _calls(self, rows: Sequence[npt.NDArray[np.int32]]) -> Iterator[tuple[int, Floats]]:
        """Yields the start of each call and the states after its ids, [K, R, F]; some rows may have ended before."""
        ids = np.zeros((_padded(rows), NUM_ROWS), dtype=np.int32)
        for number, row in enumerate(rows):
            ids[: len(row), number] = row
        state = self._model.initial_state(NUM_ROWS)
        for start in range(0, len(ids), CALL_IDS):
            states, state = self._compiled(tf.constant(ids[start : start + CALL_IDS]), state)
            yield start, states.numpy()

    def _read_ids(self, ids: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        """Returns the states after each of the ids [K, R], concatenated, [K, R, F], and the final state."""
        written = tf.TensorArray(tf.float32, CALL_IDS, element_shape=[NUM_ROWS, self.width])

        def one_step(position: Any, written: Any, *state: Any) -> tuple[Any, ...]:
            _, new_state = self._model.read(ids[position], state)
            units = tf.concat(self._model.unit_states(new_state), axis=1)
            return position + 1, written.write(position, units), *new_state

        _, written, *state = tf.while_loop(
            lambda position, *_: position < CALL_IDS, one_step, (tf.constant(0), written, *state)
        )
        return written.stack(), state


def _padded(rows: Sequence[npt.NDArray[np.int32]]) -> int:
    """Returns the length of the longest row, rounded up to whole calls."""
    return -(-max(len(row) for row in rows) // CALL_IDS) * CALL_IDS
