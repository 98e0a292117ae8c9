"""The state of one running completion: the ids it feeds to the model, the text it builds, and when it ends."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from textgen.corpus.codec import TextCodec
from textgen.corpus.unmarking import Unmarking
from textgen.errors import UserError
from textgen.generation.graphemes import whole_length
from textgen.spec import SamplingSpec
from textgen.windows.conditions import controls_of
from textgen.windows.vocabulary import Vocabulary

FinishReason = Literal["end", "stop", "length"]
Floats = npt.NDArray[np.float32]
IdRows = npt.NDArray[np.int32]
SAMPLED = -1
"""Marks positions among the forced ids whose id is drawn."""


class RefusedFieldError(UserError):
    """The model cannot read a field of a request."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self), self.field))


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt to complete once."""

    prompt: str
    settings: SamplingSpec
    index: int = 0
    """Number of this completion among those of its prompt; seeds the generator together with prompt and seed."""
    condition: Mapping[str, object] = field(default_factory=dict)
    """Values to condition on, by name of the condition; other conditions are `none`."""

    def __post_init__(self) -> None:
        _check_whole(self.prompt, "prompt")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The result of a request."""

    prompt: str
    completion: str
    finish_reason: FinishReason
    """`end`: the model ended the document. `stop`: a stop text came next. `length`: the limit was reached."""
    temperature: float
    seed: int
    index: int
    condition: Mapping[str, object] = field(default_factory=dict)
    """The values that the completion was conditioned on, by name."""
    unknown_characters: tuple[str, ...] = ()
    """Characters of the prompt that the vocabulary lacks: the model read UNKNOWN in their place."""


@dataclass(frozen=True, kw_only=True)
class PreparedPrompt:
    """The prompt as read by the model, shared by all completions of it."""

    ids: IdRows
    """Ids of the controls and the characters, [P]."""
    key: str
    """Seeds the generators of the completions, together with seed and index."""
    unknown_characters: tuple[str, ...]
    unmarking: Unmarking | None
    """State of the unmarking after the prompt; None if the corpus has no marks."""

    @classmethod
    def of(cls, request: Request, vocabulary: Vocabulary, codec: TextCodec) -> PreparedPrompt:
        """Reads a request's prompt.

        Raises:
            RefusedFieldError: the vocabulary lacks a character of the prompt and has no UNKNOWN, or the model was not
                trained with the condition or its value.
        """
        with _blaming("condition"):
            controls = controls_of(vocabulary.conditions, request.condition)
        with _blaming("prompt"):
            prompt = codec.encode(request.prompt)
            unmarking = codec.decoder()
            if unmarking is not None:
                unmarking.added_by(prompt)
            return cls(
                ids=np.concatenate([vocabulary.control_ids(controls), vocabulary.encode(prompt)]).astype(np.int32),
                key=f"{controls} {prompt}" if any(controls) else prompt,
                unknown_characters=tuple(vocabulary.missing(prompt)),
                unmarking=unmarking,
            )


@contextlib.contextmanager
def _blaming(field: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise RefusedFieldError(str(error), field) from None


class Stream:
    """The ids and the text of one completion.

    The model reads `start_id` (a document begins), the controls, the prompt's ids, then the drawn ids. Position p
    uses uniform number p of the stream's own generator, so the result does not depend on how positions are grouped into
    calls.
    """

    def __init__(
        self,
        request: Request,
        vocabulary: Vocabulary,
        *,
        codec: TextCodec | None = None,
        prepared: PreparedPrompt | None = None,
    ) -> None:
        """Begins the stream.

        Args:
            request: The prompt to complete, and its settings.
            vocabulary: The model's vocabulary.
            codec: Of the model's corpus; by default texts are not converted.
            prepared: The prompt as already read for another completion; None reads it.

        Raises:
            RefusedFieldError: the model cannot read the prompt, the condition or a stop text.
        """
        codec = codec or TextCodec()
        prepared = prepared or PreparedPrompt.of(request, vocabulary, codec)
        settings = replace(request.settings, stop=_stop_texts(request.settings, codec))
        self.request = request
        self.finish_reason: FinishReason | None = None
        self._unknown_characters = prepared.unknown_characters
        self._forced = prepared.ids
        self._end_id = vocabulary.end_id
        self._generator = generator_of(prepared.key, seed=settings.seed, index=request.index)
        self._decoder = _decoder_of(vocabulary)
        self._text = _StoppingText(settings)
        self._unmarking = prepared.unmarking.copy() if prepared.unmarking is not None else None

    def inputs(self, num_steps: int) -> tuple[IdRows, Floats]:
        """Returns the forced ids and the uniform numbers of the next positions, both [num_steps]."""
        forced = np.full(num_steps, SAMPLED, dtype=np.int32)
        part = self._forced[:num_steps]
        forced[: len(part)] = part
        return forced, self._generator.random(num_steps, dtype=np.float32)

    def read(self, ids: IdRows) -> None:
        """Takes the ids at the positions of the last `inputs`, [num_steps], and ends the stream if it is finished."""
        drawn = ids[len(self._forced[: len(ids)]) :]
        self._forced = self._forced[len(ids) :]
        ends = np.flatnonzero(drawn == self._end_id) if self._end_id is not None else drawn[:0]
        ended = len(ends) > 0
        text = self._decoder.decode(drawn[: ends[0]] if ended else drawn, final=ended)
        if self._unmarking is not None:
            text = self._unmarking.added_by(text)
        self.finish_reason = self._text.append(text, ended=ended)

    def completion(self) -> Completion:
        """Returns the finished completion."""
        assert self.finish_reason is not None
        settings = self.request.settings
        return Completion(
            prompt=self.request.prompt,
            completion=self._text.text(),
            finish_reason=self.finish_reason,
            temperature=settings.temperature,
            seed=settings.seed,
            index=self.request.index,
            condition=self.request.condition,
            unknown_characters=self._unknown_characters,
        )


def generator_of(prompt: str, *, seed: int, index: int) -> np.random.Generator:
    """Returns the generator of a stream: counter-based (Philox), keyed by prompt, seed and the completion's index.

    Without the prompt in the key, completions of different prompts would draw the same numbers and the same words.
    """
    key = hashlib.blake2b(f"{seed} {index} {prompt}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype="<u8")))


def _stop_texts(settings: SamplingSpec, codec: TextCodec) -> tuple[str, ...]:
    """Returns the stop texts as they would appear in a completion: a lower-case model never writes `The End`."""
    texts = []
    for stop in settings.stop:
        _check_whole(stop, "stop")
        texts.append(codec.shown(stop))
        if not texts[-1]:
            raise RefusedFieldError(
                f"the stop text {stop!r} contains nothing that this model can write; leave it out", "stop"
            )
    return tuple(texts)


def _check_whole(text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedFieldError(
            f"the {field} {text!r} contains half a character (a lone surrogate); send it as UTF-8", field
        ) from None


class _StoppingText:
    """A text that grows until it reaches its limit or contains a stop text.

    The stop text that is complete first ends the text, and the longest of those complete at the same character: as if
    the text had grown one character at a time. At its limit, the text waits for one more character, which shows whether
    the last grapheme is whole; an incomplete one is dropped.
    """

    def __init__(self, settings: SamplingSpec) -> None:
        self._stop = settings.stop
        self._room = settings.max_new_chars
        self._overlap = max((len(text) for text in settings.stop), default=1) - 1
        self._pieces: list[str] = []
        self._tail = ""
        self._num_chars = 0

    def append(self, text: str, *, ended: bool) -> FinishReason | None:
        """Adds text and returns the finish reason, if it ends; `ended` means that nothing can follow."""
        text, beyond = text[: self._room], text[self._room : self._room + 1]
        searched = self._tail + text
        found = [(start + len(stop), start) for stop in self._stop if (start := searched.find(stop)) >= 0]
        self._pieces.append(text)
        if found:
            self._num_chars += min(found)[1] - len(self._tail)
            return "stop"
        self._num_chars += len(text)
        self._room -= len(text)
        self._tail = searched[-self._overlap :] if self._overlap else ""
        if self._room == 0 and (beyond or ended):
            self._num_chars = whole_length("".join(self._pieces) + beyond, self._num_chars)
            return "length"
        return "end" if ended else None

    def text(self) -> str:
        """Returns the text, without the stop text that ended it."""
        return "".join(self._pieces)[: self._num_chars]


class _CharacterDecoder:
    """Decodes ids of characters to text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def decode(self, ids: IdRows, *, final: bool) -> str:  # noqa: ARG002 - every id is a whole character.
        return self._vocabulary.decode(ids)


class _ByteDecoder:
    """Decodes ids of UTF-8 bytes to whole characters and keeps incomplete bytes until the rest follows."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._bytes = np.array([0] * vocabulary.num_reserved + list(vocabulary.symbols), dtype=np.uint8)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, ids: IdRows, *, final: bool) -> str:
        return self._decoder.decode(self._bytes[ids].tobytes(), final)


def _decoder_of(vocabulary: Vocabulary) -> _CharacterDecoder | _ByteDecoder:
    return _CharacterDecoder(vocabulary) if vocabulary.unit == "characters" else _ByteDecoder(vocabulary)
