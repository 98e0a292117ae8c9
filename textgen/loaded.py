"""`TrainedModel`, the result of `textgen.load`, for Python code and notebooks without Ray.

Letters: T ids of a text, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textgen.corpus.cleaning import clean_text
from textgen.corpus.codec import TextCodec
from textgen.errors import UserError
from textgen.generation.completions import Prompt, engine_of, requests_of, sampling_of
from textgen.generation.stream import Completion
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.windows.batches import Batch
from textgen.windows.conditions import controls_of

if TYPE_CHECKING:
    from textgen.evaluation.labelling import Labelled, Labeller
    from textgen.evaluation.scoring import Scorer
    from textgen.evaluation.tally import Tally
    from textgen.generation.engine import Engine

CHUNK_IDS = 128
"""Number of ids per call. Texts are padded to a multiple of it, so the model is compiled only once."""

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


class TrainedModel:
    """A language model or a classifier, with the settings stored in its checkpoint.

    Methods raise a `UserError` for invalid arguments, and if the model was not trained for the task.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Wraps a checkpoint, whose weights are read on first use."""
        self.checkpoint = checkpoint

    @classmethod
    def of(cls, uri: str) -> TrainedModel:
        """Loads the model of a checkpoint, or of a run (its best checkpoint).

        Raises:
            UserError: There is no checkpoint.
        """
        return cls(find_checkpoint(uri))

    def generate(self, prompt: str = "", *, condition: Mapping[str, Any] | None = None, **sampling: Any) -> str:
        """Returns one completion of a prompt, without the prompt.

        Args:
            prompt: Text to continue; by default, a new document is generated.
            condition: Values to condition on, by name, for a model trained with conditions.
            sampling: Fields of `SamplingSpec`, such as `temperature=0.5`, `max_new_chars=80` or `seed=3`.
        """
        if "n" in sampling:
            raise UserError(f"generate returns one text but received n={sampling['n']}; call complete for several")
        return self.complete([prompt], condition=condition, n=1, **sampling)[0].completion

    def complete(
        self, prompts: Sequence[str], *, condition: Mapping[str, Any] | None = None, **sampling: Any
    ) -> list[Completion]:
        """Returns `n` completions of each prompt, in order; all are generated in one batch.

        A completion does not depend on the others in the batch. See `generate` for the arguments.
        """
        if isinstance(prompts, str):
            raise UserError(f"prompts is the text {prompts!r}; pass a list of texts, or call generate for one text")
        if isinstance(sampling.get("stop"), str):
            sampling["stop"] = [sampling["stop"]]
        settings = sampling_of(self._language_model, {f"sampling.{name}": value for name, value in sampling.items()})
        return self._engine.generate(
            requests_of([Prompt(text=text) for text in prompts], settings, condition=condition)
        )

    def score(self, text: str, *, condition: Mapping[str, Any] | None = None) -> Tally:
        """Scores a text as a complete document including its end: `.bits_per_character`, `.perplexity` and others.

        Each text is scored from a new state, whereas `jobs.evaluate` scores the documents of a split in sequence.
        """
        vocabulary = self._language_model.vocabulary
        ids = vocabulary.encode(clean_text(text, self.checkpoint.spec.corpus))
        end = [] if vocabulary.end_id is None else [vocabulary.end_id]
        return self._scorer.score(_batches(self._given(condition), np.concatenate([ids, end]).astype(np.int32)))

    def next_characters(self, text: str = "", *, condition: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Returns the probability of every character that may follow a text, most likely first.

        The key `""` is the end of the document. Probabilities are for temperature 1 and sum to 1; as in generation, ids
        that are never sampled are excluded.
        """
        vocabulary = self._language_model.vocabulary
        if vocabulary.unit != "characters":
            raise UserError(
                f"{self.checkpoint.uri} is a model of {vocabulary.unit}; next_characters requires a model of characters"
            )
        ids = vocabulary.encode(TextCodec.of(self.checkpoint.spec.corpus).encode(text))
        logits = self._last_logits(np.concatenate([self._given(condition), ids]).astype(np.int32))
        logits[list(vocabulary.never_drawn)] = -np.inf
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        order = [index for index in np.argsort(-shares, kind="stable").tolist() if np.isfinite(logits[index])]
        return {vocabulary.decode([index]): float(shares[index]) for index in order}  # END decodes to "".

    def classify(self, text: str) -> Labelled:
        """Classifies a text; the result has `.label` (None if the classifier is not sure), `.confidence`, `.reason`."""
        return self.classify_all([text])[0]

    def classify_all(self, texts: Sequence[str]) -> list[Labelled]:
        """Classifies texts, in order."""
        if isinstance(texts, str):
            raise UserError(f"texts is the text {texts!r}; pass a list of texts, or call classify for one text")
        return self._labeller.label(texts)

    @property
    def _language_model(self) -> Checkpoint:
        """The checkpoint, if it is a language model."""
        if self.checkpoint.classes:
            raise UserError(f"{self.checkpoint.uri} is a classifier and cannot generate or score text; call classify")
        return self.checkpoint

    @functools.cached_property
    def _engine(self) -> Engine:
        return engine_of(self._language_model)

    @functools.cached_property
    def _labeller(self) -> Labeller:
        from textgen.evaluation.labelling import Labeller

        return Labeller(self.checkpoint)

    @functools.cached_property
    def _model(self) -> Any:
        """The language model, reading text as in training."""
        from textgen.model.sliding import as_trained  # Imports TensorFlow.

        return as_trained(self._language_model.build_model(), self.checkpoint.spec)

    @functools.cached_property
    def _scorer(self) -> Scorer:
        from textgen.evaluation.scoring import Scorer

        return Scorer(self._model, self.checkpoint.vocabulary)

    @functools.cached_property
    def _step(self) -> Any:
        """A function of ids [1, T] and a state that returns the logits after each id, [1, T, V], and the new state."""
        import tensorflow as tf

        return tf.function(lambda ids, state: self._model(ids, state))

    def _last_logits(self, ids: Ids) -> Floats:
        """Returns the logits after the last id, [V]."""
        state = self._model.initial_state(1)
        for start in range(0, len(ids), CHUNK_IDS):
            chunk = ids[start : start + CHUNK_IDS]
            logits, state = self._step(_padded(chunk), state)
        return np.asarray(logits[0, len(chunk) - 1], np.float64)

    def _given(self, condition: Mapping[str, Any] | None) -> Ids:
        """Returns the ids that precede a document: the start id and the controls."""
        vocabulary = self._language_model.vocabulary
        controls = vocabulary.control_ids(controls_of(vocabulary.conditions, condition or {}))
        return np.concatenate([[vocabulary.start_id], controls]).astype(np.int32)


def _batches(given: Ids, targets: Ids) -> Iterator[Batch]:
    """Yields batches of one lane in which `given` [G] is read first and then each target is predicted."""
    ids = np.concatenate([given, targets])
    inputs, followed_by = ids[:-1], ids[1:]
    counts = np.arange(len(inputs)) >= len(given) - 1
    for step, start in enumerate(range(0, len(inputs), CHUNK_IDS)):
        chunk = slice(start, start + CHUNK_IDS)
        yield Batch(
            step=step,
            inputs=_padded(inputs[chunk]),
            targets=_padded(followed_by[chunk]),
            weights=_padded(counts[chunk]).astype(np.float32),
        )


def _padded(ids: npt.NDArray[Any]) -> Ids:
    """Returns one row of CHUNK_IDS, padded with zeros."""
    return np.pad(ids, (0, CHUNK_IDS - len(ids)))[None].astype(np.int32)
