"""One step of data-parallel training: sums of gradients over all workers, then the same update on each.

With the reduction `fixed_order`, sums are bit-identical for any number of workers. The global batch has a fixed number
of parts (virtual workers); each part is computed by the same operations on the same shapes on any worker, and the
parts' gradients are added one after another, everywhere in the same order. (The idea of VirtualFlow, Or et al. 2022,
and EasyScale, Li et al. 2023.)

Letters: R rows of this worker, T time, P parameters that learn, V virtual workers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
import tensorflow as tf

from textgen.model.classifier import Classifier
from textgen.model.counted_model import CountedModel
from textgen.model.dropout import DropoutKey, dropout_mask
from textgen.model.language_model import LanguageModel, State
from textgen.runs.plan import num_parts
from textgen.spec import TrainingSpec
from textgen.training.collective import Array, Collective, HostSum
from textgen.training.optimizers import Optimizers
from textgen.windows.batches import Batch
from textgen.windows.lanes import worker_parts, worker_rows

FRESH_LANES = 63
"""Random stream that draws lanes; no layer has this number."""
NUM_FIGURES = 5
"""Values appended to the gradients in a sum: nats, characters (or documents), and the three `Wishes`."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a worker requests after a step; in the sum over all workers, what any of them requests."""

    checkpoint: bool = False
    stop: bool = False
    preempted: bool = False
    """Its machine is about to be preempted."""

    def any(self) -> bool:
        """Returns whether there is a reason to save."""
        return self.checkpoint or self.stop or self.preempted


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The sum of one step over all workers."""

    nats: float
    characters: float
    wishes: Wishes
    is_finite: bool
    """Whether loss and gradient are finite; if they are not, no weight has changed."""
    reduce_seconds: float
    """Time of the sum over the workers, including the wait for the slowest; 0 with `fixed_order`."""


NO_WISHES = Wishes()


def parts_of(spec: TrainingSpec, collective: Collective) -> list[range]:
    """Returns the parts of the global batch that a worker computes: one per virtual worker, or a single one."""
    parts = num_parts(spec, num_workers=collective.num_workers)
    return worker_parts(spec.global_batch_size, collective.rank, collective.num_workers, num_parts=parts)


class TrainingStep:
    """Holds model, optimizer and the recurrent state of this worker's lanes, and makes steps."""

    def __init__(
        self,
        model: LanguageModel | Classifier,
        spec: TrainingSpec,
        collective: Collective,
        *,
        parts: Sequence[range],
    ) -> None:
        """Prepares the steps of a worker that computes `parts`, adjacent ranges of rows of the global batch."""
        self.model = model
        self.optimizers = Optimizers(model, spec)
        self.state: State = model.initial_state(parts[-1].stop - parts[0].start)
        self._spec = spec
        self._collective = collective
        self._parts = parts
        self._rows = slice(parts[0].start, parts[-1].stop)
        self._last_only = spec.loss_at == "last"
        self._reads_places = isinstance(model, CountedModel)
        forward: Any = model  # Keras has no types.
        self._forward = functools.partial(forward, last_only=True) if self._last_only else forward
        self._compiled = tf.function(self._step)  # Traced again when another group of layers starts to learn.

    def reset_state(self) -> None:
        """Resets the state of every lane to that before a text."""
        self.state = [tf.zeros_like(part) for part in self.state]

    def __call__(
        self,
        batch: Batch,
        *,
        learning_rate: float,
        wishes: Wishes = NO_WISHES,
    ) -> Figures:
        """Updates the weights with a global batch, of which `batch` holds this worker's rows.

        The returned figures include the wishes of all workers.
        """
        figures, self.state = self._compiled(
            batch.inputs,
            batch.targets,
            batch.weights,
            batch.places if self._reads_places else None,
            self.state,
            tf.constant(batch.step, tf.int64),
            tf.constant(learning_rate, tf.float32),
            tf.constant(astuple(wishes), tf.float32),
            num_frozen=self.optimizers.num_frozen(batch.step),
        )
        nats, characters, *wished, is_finite, reduce_seconds = figures.numpy().tolist()
        return Figures(
            nats=nats,
            characters=characters,
            wishes=Wishes(**{field.name: wish > 0 for field, wish in zip(fields(Wishes), wished, strict=True)}),
            is_finite=bool(is_finite),
            reduce_seconds=reduce_seconds,
        )

    def gathered_state(self, host_sum: HostSum) -> dict[str, Array]:
        """Returns the recurrent state of all lanes, each part [G, H]; every worker contributes its own rows."""
        gathered = {}
        for index, part in enumerate(self.state):
            lanes = np.zeros((self._spec.global_batch_size, part.shape[1]), np.float32)
            lanes[self._rows] = part.numpy()
            gathered[f"state/{index}"] = host_sum(lanes)
        return gathered

    def load_state(self, arrays: Mapping[str, Array]) -> None:
        """Sets the recurrent state of this worker's lanes from `gathered_state`'s result."""
        self.state = [tf.constant(arrays[f"state/{index}"][self._rows]) for index in range(len(self.state))]

    def optimizer_arrays(self) -> dict[str, Array]:
        """Returns the optimizers' variables, numbered in their fixed order."""
        return {f"optimizer/{i}": variable.numpy() for i, variable in enumerate(self.optimizers.variables)}

    def load_optimizer_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Sets the optimizers' variables from `optimizer_arrays`' result."""
        for index, variable in enumerate(self.optimizers.variables):
            variable.assign(arrays[f"optimizer/{index}"])

    def _initial_state(self, state: Sequence[tf.Tensor], key: DropoutKey) -> State:
        """Returns the state at the start of a step: zeros for shuffled windows, and for lanes drawn by `fresh_share`.

        The conditions of a lane are kept, because its text continues, and so are its last ids: what the counts say is a
        function of the text, and no more reliable if it is forgotten.
        """
        if not state or self._spec.order == "shuffled":
            return [tf.zeros_like(part) for part in state]
        shape = tf.stack([tf.shape(state[0])[0], 1, 1])
        continues = dropout_mask(shape, rate=self._spec.fresh_share, key=key, layer=FRESH_LANES)[:, 0] > 0  # [R, 1]
        units = self.model.unit_states(state)
        return [tf.where(continues, part, 0.0) for part in units] + list(state[len(units) :])

    def _step(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        places: tf.Tensor | None,
        state: Sequence[tf.Tensor],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
        wishes: tf.Tensor,
        *,
        num_frozen: int,
    ) -> tuple[tf.Tensor, State]:
        if self._last_only:
            targets, weights = targets[:, -1:], weights[:, -1:]
        learning = [variable.value for variable in self.optimizers.learning(num_frozen=num_frozen)]
        summands, states = [], []
        for part in self._parts:
            own = slice(part.start - self._parts[0].start, part.stop - self._parts[0].start)
            key = DropoutKey(seed=self._spec.seed, step=step, first_row=part.start)
            with tf.GradientTape() as tape:
                initial = self._initial_state([one[own] for one in state], key)
                placed = {} if places is None else {"places": places[own]}
                logits, new_state = self._forward(inputs[own], initial, dropout=key, **placed)
                nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets[own], logits=logits)  # [R, T]
                nats = tf.reduce_sum(nats * weights[own])
            gradients = tape.gradient(nats, learning)
            flat = [tf.reshape(tf.convert_to_tensor(gradient), [-1]) for gradient in gradients]
            figures = tf.stack([nats, tf.reduce_sum(weights[own])])
            summands.append(tf.concat([*flat, figures, wishes], axis=0))  # [P + NUM_FIGURES]
            states.append(new_state)
        total, reduce_seconds = self._timed(summands)
        figures = total[-NUM_FIGURES:]
        gradient = total[:-NUM_FIGURES] / tf.maximum(figures[1], 1.0)  # A step may predict nothing: only controls.
        is_finite = tf.math.is_finite(tf.norm(gradient) + figures[0])

        def apply() -> tf.Tensor:
            self.optimizers.apply(gradient, learning_rate, num_frozen=num_frozen)
            return tf.constant(1.0)

        is_applied = tf.cond(is_finite, apply, lambda: tf.constant(0.0))
        state = [tf.concat(pieces, axis=0) for pieces in zip(*states, strict=True)]
        state = [tf.where(tf.math.is_finite(part), part, 0.0) for part in state]  # A NaN would stay in the state.
        return tf.concat([figures, [is_applied, reduce_seconds]], axis=0), state

    def _timed(self, summands: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sum over the parts of all workers, and its duration in seconds."""
        if self._spec.reduction == "fixed_order":  # TensorFlow allows no clock among deterministic operations.
            return self._summed(summands), tf.constant(0.0)
        with tf.control_dependencies(summands):
            started = tf.timestamp()
        total = self._summed(summands)
        with tf.control_dependencies([total]):
            return total, tf.cast(tf.timestamp() - started, tf.float32)

    def _summed(self, summands: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the sum over the parts of all workers, of which `summands` are this worker's."""
        if self._spec.reduction == "all_reduce":
            (summand,) = summands
            return self._collective.sum(summand)
        # Every worker sends its own parts padded with zeros, so the sum over the workers holds all parts.
        first, _ = worker_rows(self._spec.virtual_workers, self._collective.rank, self._collective.num_workers)
        others = self._spec.virtual_workers - first - len(summands)
        sent = tf.pad(tf.stack(summands), [[first, others], [0, 0]])  # [V, P + NUM_FIGURES]
        received = tf.reshape(self._collective.sum(tf.reshape(sent, [-1])), [self._spec.virtual_workers, -1])
        return functools.reduce(tf.add, tf.unstack(received))
