"""A trained model for Python code and notebooks, without Ray: what `textgen.load` returns.

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
"""Ids that are read by one call: every text is padded to a multiple of it, so that the model is compiled once."""

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


class TrainedModel:
    """A language model or a classifier, with the settings that its checkpoint keeps.

    A method that the model has not been trained for raises a `UserError`, as does every other mistake.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Takes a checkpoint, whose weights are read at the first use."""
        self.checkpoint = checkpoint

    @classmethod
    def of(cls, uri: str) -> TrainedModel:
        """Returns the model of a checkpoint, or of a run (its best checkpoint).

        Raises:
            UserError: there is none.
        """
        return cls(find_checkpoint(uri))

    def generate(self, prompt: str = "", *, condition: Mapping[str, Any] | None = None, **sampling: Any) -> str:
        """Returns one completion of a prompt, without the prompt.

        Args:
            prompt: The text to continue; a new document by default.
            condition: Values told before the text, by name, of a model that was trained with conditions.
            sampling: Fields of `SamplingSpec`, such as `temperature=0.5`, `max_new_chars=80` or `seed=3`.
        """
        if "n" in sampling:
            raise UserError(f"generate returns one text, and received n={sampling['n']}; call complete for several")
        return self.complete([prompt], condition=condition, n=1, **sampling)[0].completion

    def complete(
        self, prompts: Sequence[str], *, condition: Mapping[str, Any] | None = None, **sampling: Any
    ) -> list[Completion]:
        """Returns `n` completions of every prompt, prompt by prompt; they are generated side by side.

        A completion is the same whatever it is generated with; see `generate` for the arguments.
        """
        if isinstance(prompts, str):
            raise UserError(f"prompts is the text {prompts!r}; give a list of texts, or call generate for one")
        if isinstance(sampling.get("stop"), str):
            sampling["stop"] = [sampling["stop"]]
        settings = sampling_of(self._language_model, {f"sampling.{name}": value for name, value in sampling.items()})
        return self._engine.generate(
            requests_of([Prompt(text=text) for text in prompts], settings, condition=condition)
        )

    def score(self, text: str, *, condition: Mapping[str, Any] | None = None) -> Tally:
        """Returns what a text costs as a whole document, its end included: `.bits_per_character`, `.perplexity` ...

        `jobs.evaluate` reads the documents of a split one after another; here every text is read from the beginning.
        """
        vocabulary = self._language_model.vocabulary
        ids = vocabulary.encode(clean_text(text, self.checkpoint.spec.corpus))
        end = [] if vocabulary.end_id is None else [vocabulary.end_id]
        return self._scorer.score(_batches(self._given(condition), np.concatenate([ids, end]).astype(np.int32)))

    def next_characters(self, text: str = "", *, condition: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Returns the probability of every character that may follow a text, the likeliest first.

        `""` is the end of the document. They are those of the temperature 1, and add up to 1: as in generation, what
        no text can hold is left out.
        """
        vocabulary = self._language_model.vocabulary
        if vocabulary.unit != "characters":
            raise UserError(f"{self.checkpoint.uri} reads {vocabulary.unit}, of which several make a character")
        ids = vocabulary.encode(TextCodec.of(self.checkpoint.spec.corpus).encode(text))
        logits = self._last_logits(np.concatenate([self._given(condition), ids]).astype(np.int32))
        logits[list(vocabulary.never_drawn)] = -np.inf
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        order = [index for index in np.argsort(-shares, kind="stable").tolist() if np.isfinite(logits[index])]
        return {vocabulary.decode([index]): float(shares[index]) for index in order}  # END is decoded to nothing.

    def classify(self, text: str) -> Labelled:
        """Returns what a classifier says of a text: `.label`, None where it does not know, `.confidence`, `.reason`."""
        return self.classify_all([text])[0]

    def classify_all(self, texts: Sequence[str]) -> list[Labelled]:
        """Returns what a classifier says of each text, in order."""
        if isinstance(texts, str):
            raise UserError(f"texts is the text {texts!r}; give a list of texts, or call classify for one")
        return self._labeller.label(texts)

    @property
    def _language_model(self) -> Checkpoint:
        """The checkpoint, of a language model."""
        if self.checkpoint.classes:
            raise UserError(f"{self.checkpoint.uri} is a classifier, which has no next character; call classify")
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
        """The language model as it was trained."""
        from textgen.model.sliding import as_trained  # Loads TensorFlow.

        return as_trained(self._language_model.build_model(), self.checkpoint.spec)

    @functools.cached_property
    def _scorer(self) -> Scorer:
        from textgen.evaluation.scoring import Scorer

        return Scorer(self._model, self.checkpoint.vocabulary)

    @functools.cached_property
    def _step(self) -> Any:
        """Ids [1, T] and a state -> the logits after each id, [1, T, V], and the new state."""
        import tensorflow as tf

        return tf.function(lambda ids, state: self._model(ids, state))

    def _last_logits(self, ids: Ids) -> Floats:
        """Returns the logits after the last of some ids, [V]."""
        state = self._model.initial_state(1)
        for start in range(0, len(ids), CHUNK_IDS):
            chunk = ids[start : start + CHUNK_IDS]
            logits, state = self._step(_padded(chunk), state)
        return np.asarray(logits[0, len(chunk) - 1], np.float64)

    def _given(self, condition: Mapping[str, Any] | None) -> Ids:
        """Returns what stands before a document: the id that it is read after, and what is told."""
        vocabulary = self._language_model.vocabulary
        controls = vocabulary.control_ids(controls_of(vocabulary.conditions, condition or {}))
        return np.concatenate([[vocabulary.start_id], controls]).astype(np.int32)


def _batches(given: Ids, targets: Ids) -> Iterator[Batch]:
    """Yields a document in one lane: `given` [G] is read first, and then the targets are predicted one by one."""
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
    """Returns one row of CHUNK_IDS, filled up by zeros."""
    return np.pad(ids, (0, CHUNK_IDS - len(ids)))[None].astype(np.int32)
