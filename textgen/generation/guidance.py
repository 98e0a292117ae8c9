"""Classifier-free guidance: makes a conditioned model follow its condition more strongly than its corpus does.

Every slot is stepped twice: with its condition, and with every condition set to `none`. The logits are
`unconditioned + guidance * (conditioned - unconditioned)`. Guidance 1 leaves the model unchanged. Above 1, it amplifies
what distinguishes texts with the condition from all texts, and the text becomes less varied. Sources: Ho and Salimans
2022, https://arxiv.org/abs/2207.12598, for images; Sanchez et al. 2023, https://arxiv.org/abs/2306.17806, for text.

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
    """A language model that steps each slot with and without its condition and extrapolates between the logits."""

    def __init__(self, model: StepModel, vocabulary: Vocabulary, *, guidance: float) -> None:
        """Wraps a model.

        Raises:
            UserError: the model was trained without conditions, or the guidance is negative or not finite.
        """
        if not vocabulary.conditions:
            raise UserError(
                "--guidance needs a condition, and this model was trained without conditions; leave --guidance out"
            )
        if not 0 <= guidance < math.inf:
            raise UserError(
                f"--guidance is {guidance}; use a number of at least 0, such as 2; 0 ignores the condition and 1 "
                "leaves the model unchanged"
            )
        self.vocab_size = model.vocab_size
        self._model = model
        self._guidance = guidance
        self._unconditioned = tf.constant(unconditioned_ids(vocabulary), tf.int32)

    def initial_state(self, batch_size: int) -> list[Any]:
        """Returns the state before the first id: tensors [S, 2, ...], conditioned and unconditioned."""
        parts = self._model.initial_state(2 * batch_size)
        return [tf.reshape(part, [batch_size, 2, *part.shape[1:]]) for part in parts]

    def step(self, ids: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Returns the logits after one more id of every slot, [S, V], and the new state; ids are [S] int32."""
        both = tf.reshape(tf.stack([ids, tf.gather(self._unconditioned, ids)], axis=1), [-1])  # [2 S]
        flat = [tf.reshape(part, [-1, *part.shape[2:]]) for part in state]
        logits, new_flat = self._model.step(both, flat)
        conditioned, unconditioned = tf.unstack(tf.reshape(logits, [-1, 2, self.vocab_size]), axis=1)
        new_state = [tf.reshape(part, [-1, 2, *part.shape[1:]]) for part in new_flat]
        return unconditioned + self._guidance * (conditioned - unconditioned), new_state


def unconditioned_ids(vocabulary: Vocabulary) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Returns the unconditioned form of each id, [V]: its condition's `none` for a control, else the same id."""
    ids = np.arange(vocabulary.size)
    firsts = vocabulary.control_ids([0] * len(vocabulary.conditions))
    for first, condition in zip(firsts.tolist(), vocabulary.conditions, strict=True):
        ids[first : first + condition.num_controls] = first
    return ids
