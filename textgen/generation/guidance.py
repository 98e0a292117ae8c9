"""Leans a conditioned model further to what it is told than the texts of its corpus do.

Every slot is stepped twice: told, and told `none`. The logits go on from the second through the first:
untold + guidance * (told - untold). 1 is the model as it is; above 1, what sets the texts of a condition apart from all
texts is exaggerated, and the text becomes less varied. (Known as classifier-free guidance: Ho and Salimans 2022,
https://arxiv.org/abs/2207.12598, for images; Sanchez et al. 2023, https://arxiv.org/abs/2306.17806, for text.)

Letters: S slots, H units, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from textgen.errors import UserError
from textgen.generation.loop import StepModel
from textgen.windows.vocabulary import Vocabulary


class GuidedModel:
    """A language model that steps each slot told and untold, and leans to the first."""

    def __init__(self, model: StepModel, vocabulary: Vocabulary, *, guidance: float) -> None:
        """Wraps a model.

        Raises:
            UserError: the model was trained without conditions, or the guidance is no number of 0 or more.
        """
        if not vocabulary.conditions:
            raise UserError("--guidance leans to a condition and this model was trained without; leave it out")
        if not 0 <= guidance < math.inf:
            raise UserError(f"--guidance is {guidance}; use 0 (untold) or more, such as 2; 1 is the model as it is")
        self.vocab_size = model.vocab_size
        self._model = model
        self._guidance = guidance
        self._untold = tf.constant(unconditioned_ids(vocabulary), tf.int32)

    def initial_state(self, batch_size: int) -> list[Any]:
        """Returns the state before the first id: tensors [S, 2, ...], told and untold."""
        parts = self._model.initial_state(2 * batch_size)
        return [tf.reshape(part, [batch_size, 2, *part.shape[1:]]) for part in parts]

    def step(self, ids: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Returns the logits after one more id of every slot, [S, V], and the new state; ids are [S] int32."""
        both = tf.reshape(tf.stack([ids, tf.gather(self._untold, ids)], axis=1), [-1])  # [2 S]
        flat = [tf.reshape(part, [-1, *part.shape[2:]]) for part in state]
        logits, new_flat = self._model.step(both, flat)
        told, untold = tf.unstack(tf.reshape(logits, [-1, 2, self.vocab_size]), axis=1)
        new_state = [tf.reshape(part, [-1, 2, *part.shape[1:]]) for part in new_flat]
        return untold + self._guidance * (told - untold), new_state


def unconditioned_ids(vocabulary: Vocabulary) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Returns what each id reads as where nothing is told, [V]: its condition's `none` for a control, else itself."""
    ids = np.arange(vocabulary.size)
    firsts = vocabulary.control_ids([0] * len(vocabulary.conditions))
    for first, condition in zip(firsts.tolist(), vocabulary.conditions, strict=True):
        ids[first : first + condition.num_controls] = first
    return ids
