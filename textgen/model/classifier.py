"""The classifier: maps a document to logits over labels.

Its input is either a bag of words or the outputs of a language model's recurrent layers: the last output, the mean and
the maximum over the document (concat pooling, Howard and Ruder 2018).

Letters: B documents, W words, T ids, H units, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint
from textgen.model.dropout import DropoutKey, dropped
from textgen.model.language_model import LanguageModel, State
from textgen.model.named_weights import NamedWeights, by_name
from textgen.spec import RunSpec

FIRST_HIDDEN_MASK = 32
"""Layer number of the first Dense layer's dropout mask; smaller numbers belong to the language model."""


SMALLEST_SPREAD = 1e-4
"""Values that vary less than this between documents keep their scale."""


class Classifier(NamedWeights, keras.Model):  # type: ignore[misc]
    """Bag of words, or the pooled outputs of recurrent layers -> Dense layers, dropout after each -> logits."""

    def __init__(
        self,
        spec: RunSpec,
        *,
        num_words: int,
        vocab_size: int,
        num_classes: int,
        seed: int = 0,
        mixed_precision: bool = False,
    ) -> None:
        """Builds the layers.

        Args:
            spec: its section `classifier` and, with features of a language model, its section `model` apply.
            num_words: width of a bag of words, which is the size of the vocabulary without reserved ids.
            vocab_size: size of the language model's vocabulary, with reserved ids.
            num_classes: C.
            seed: seed of the initial weights.
            mixed_precision: see `LanguageModel`; the classifier's own layers keep 32 bits.
        """
        super().__init__(name="classifier")
        self.spec = spec.classifier
        self.language_model = None
        self.standardiser = None
        width = num_words
        if spec.classifier.features == "language_model":
            self.language_model = LanguageModel(
                spec.model, vocab_size=vocab_size, seed=seed, mixed_precision=mixed_precision
            )
            width = 3 * spec.model.widths[-1]
            self.standardiser = Standardiser(width, name="pooled")
        seeds = iter(np.random.SeedSequence([seed, 1]).generate_state(1 + len(self.spec.hidden_units)).tolist())
        glorot = keras.initializers.GlorotUniform
        self.hidden = []
        layers = zip(self.spec.hidden_units, self.spec.hidden_activations, strict=True)
        for number, (units, activation) in enumerate(layers, start=1):
            layer = keras.layers.Dense(
                units, activation=activation, kernel_initializer=glorot(seed=next(seeds)), name=f"hidden_{number}"
            )
            layer.build((None, None, width))
            self.hidden.append(layer)
            width = units
        self.labels = keras.layers.Dense(num_classes, kernel_initializer=glorot(seed=next(seeds)), name="labels")
        self.labels.build((None, None, width))
        self.built = True

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before a document: zeros, or no tensors for a bag of words."""
        return [] if self.language_model is None else self.language_model.initial_state(batch_size)

    def call(
        self, inputs: tf.Tensor, state: Sequence[tf.Tensor], *, dropout: DropoutKey | None = None
    ) -> tuple[tf.Tensor, State]:
        """Returns the logits of the labels, [B, 1, C], and the state after the inputs.

        Args:
            inputs: int32; a bag of words, [B, W] of 0 and 1, or ids, [B, T], padded with negative values.
            state: see `initial_state`.
            dropout: the masks to apply; None applies none (inference).
        """
        new_state: State = []
        if self.standardiser is None:
            values = tf.cast(inputs, tf.float32)
        else:
            pooled, new_state = self.pooled(inputs, state, dropout=dropout)
            values = self.standardiser(pooled)
        values = values[:, None]  # [B, 1, W or 3 H]
        for number, layer in enumerate(self.hidden):
            values = dropped(layer(values), self.spec.dropout, dropout, layer=FIRST_HIDDEN_MASK + number)
        return tf.cast(self.labels(values), tf.float32), new_state

    def pooled(
        self, ids: tf.Tensor, state: Sequence[tf.Tensor], *, dropout: DropoutKey | None = None
    ) -> tuple[tf.Tensor, State]:
        """Returns the pooled outputs of the language model, [B, 3 H], and its state; see `call` for the arguments."""
        assert self.language_model is not None, "a bag of words is not pooled"
        outputs, new_state = self.language_model.outputs(tf.maximum(ids, 0), state, dropout=dropout)
        return concat_pooled(outputs, tf.reduce_sum(tf.cast(ids >= 0, tf.int32), axis=1)), new_state

    def variables_by_name(self) -> dict[str, Any]:
        """Returns the trainable variables as `layer/name`, in a fixed order; a language model's keep their names."""
        return by_name([*self._reading_layers(), self.standardiser, *self.hidden, self.labels])

    def layer_groups(self) -> list[list[str]]:
        """Returns the names of the variables in groups from input to output, in the order of `variables_by_name`.

        The groups are the embedding, each recurrent layer, and all layers above: these start from new weights and
        learn together.
        """
        above = [self.standardiser, *self.hidden, self.labels]
        groups = [*([layer] for layer in self._reading_layers()), above]
        return [list(by_name(group)) for group in groups]

    def vocabulary_axes(self) -> dict[str, int]:
        """Returns the axis of the vocabulary of each variable that has one, by name."""
        if self.language_model is None:
            return {}
        own = self.variables_by_name()
        return {name: axis for name, axis in self.language_model.vocabulary_axes().items() if name in own}

    def _reading_layers(self) -> list[Any]:
        """Returns the language model's layers up to its last recurrent one."""
        if self.language_model is None:
            return []
        layers = [self.language_model.embedding, *self.language_model.recurrent]
        return [layer for layer in layers if layer is not None]


class Standardiser(keras.layers.Layer):  # type: ignore[misc]
    """Subtracts a shift from each value and multiplies it by a scale; both are trainable.

    They are initialized with the mean and the inverse standard deviation over some documents. The pooled outputs of a
    language model hardly differ between documents, and without scaling the layers above learn nothing from them for a
    long time. ULMFiT uses batch normalization here, whose statistics would depend on how rows are distributed over
    workers.
    """

    def __init__(self, width: int, *, name: str) -> None:
        super().__init__(name=name)
        self.shift = self.add_weight(shape=(width,), initializer="zeros", name="shift")
        self.scale = self.add_weight(shape=(width,), initializer="ones", name="scale")
        self.built = True

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the standardised values, [..., 3 H]."""
        return (values - self.shift) * self.scale

    def fit(self, values: np.ndarray[Any, Any]) -> None:
        """Sets shift and scale so that these values, [D, 3 H], get mean 0 and standard deviation 1."""
        spread = values.std(axis=0)
        self.shift.assign(values.mean(axis=0))
        self.scale.assign(1 / np.where(spread > SMALLEST_SPREAD, spread, 1))


def concat_pooled(outputs: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Returns the last output of each row and the mean and maximum over its outputs, [B, 3 H], in 32 bits.

    Args:
        outputs: [B, T, H].
        lengths: [B]; the number of valid outputs in each row. A row of length 0 gives zeros.
    """
    counts = tf.sequence_mask(lengths, tf.shape(outputs)[1])[..., None]  # [B, T, 1]
    outputs = tf.where(counts, tf.cast(outputs, tf.float32), 0.0)
    last = tf.gather(outputs, tf.maximum(lengths - 1, 0), axis=1, batch_dims=1)
    mean = tf.reduce_sum(outputs, axis=1) / tf.cast(tf.maximum(lengths, 1), tf.float32)[:, None]
    largest = tf.reduce_max(tf.where(counts, outputs, outputs.dtype.min), axis=1)
    largest = tf.where(lengths[:, None] > 0, largest, 0.0)
    return tf.concat([last, mean, largest], axis=-1)


def build_classifier(checkpoint: Checkpoint) -> Classifier:
    """Returns the classifier of a checkpoint, with its weights.

    Raises:
        UserError: the checkpoint is a language model's.
    """
    if not checkpoint.classes:
        raise UserError(f"{checkpoint.uri} is a language model; name the checkpoint of a classifier")
    vocabulary = checkpoint.vocabulary
    model = Classifier(
        checkpoint.spec,
        num_words=len(vocabulary.symbols),
        vocab_size=vocabulary.size,
        num_classes=len(checkpoint.classes),
    )
    model.set_weights_by_name(dict(checkpoint.weights))
    return model
