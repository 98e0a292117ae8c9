"""One completion in the making: which ids go in, what the ids that come out mean, and when it ends."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.generation.graphemes import whole_length
from textgen.spec import SamplingSpec
from textgen.windows.conditions import controls_of
from textgen.windows.vocabulary import Vocabulary

FinishReason = Literal["end", "stop", "length"]
Floats = npt.NDArray[np.float32]
IdRows = npt.NDArray[np.int32]
SAMPLED = -1
"""Stands among the forced ids where the id is drawn."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt to complete once."""

    prompt: str
    settings: SamplingSpec
    index: int = 0
    """Which of several completions of a prompt: with prompt and seed it starts the stream's generator."""
    condition: Mapping[str, object] = field(default_factory=dict)
    """Values told before the prompt, by name of the condition; the others are told as `none`."""

    def __post_init__(self) -> None:
        try:
            self.prompt.encode()
        except UnicodeEncodeError:
            raise UserError(f"the prompt {self.prompt!r} holds half a character; send it as UTF-8") from None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What was made of a request."""

    prompt: str
    completion: str
    finish_reason: FinishReason
    """`end`: the model ended the document. `stop`: a stop text would have followed. `length`: the limit was reached."""
    temperature: float
    seed: int
    index: int
    condition: Mapping[str, object] = field(default_factory=dict)
    """What was told before the prompt."""
    unknown_characters: tuple[str, ...] = ()
    """Characters of the prompt that the vocabulary lacks: the model read UNKNOWN for them."""


class Stream:
    """The ids and the text of one completion.

    A stream reads `start_id` (a document begins), its controls, the prompt's ids, then what was drawn. Position p of
    the stream has uniform number p of its own generator, so that nothing depends on how positions are grouped into
    calls.
    """

    def __init__(
        self,
        request: Request,
        vocabulary: Vocabulary,
        *,
        prompt_read: str | None = None,
        restore: Callable[[str], str] | None = None,
    ) -> None:
        """Begins the stream.

        Args:
            request: What to complete.
            vocabulary: The model's.
            prompt_read: The prompt as the model is to read it; by default as it stands in the request.
            restore: Gives what a text of the model's reads like to people; more of the one only adds to the other. By
                default they are the same.

        Raises:
            UserError: a character of the prompt is missing and the vocabulary reserves no id for such, or the model
                was not trained with such a condition.
        """
        prompt = request.prompt if prompt_read is None else prompt_read
        self.request = request
        self.finish_reason: FinishReason | None = None
        self._unknown_characters = tuple(vocabulary.missing(prompt))
        controls = controls_of(vocabulary.conditions, request.condition)
        self._forced = np.concatenate([vocabulary.control_ids(controls), vocabulary.encode(prompt)]).astype(np.int32)
        self._end_id = vocabulary.end_id
        told = f"{controls} {prompt}" if any(controls) else prompt
        self._generator = generator_of(told, seed=request.settings.seed, index=request.index)
        self._decoder = _decoder_of(vocabulary)
        self._text = _StoppingText(request.settings)
        self._restored = _Restored(restore, prompt=prompt) if restore is not None else None

    def inputs(self, num_steps: int) -> tuple[IdRows, Floats]:
        """Returns the forced ids and the uniform numbers of the next positions, both [num_steps]."""
        forced = np.full(num_steps, SAMPLED, dtype=np.int32)
        part = self._forced[:num_steps]
        forced[: len(part)] = part
        return forced, self._generator.random(num_steps, dtype=np.float32)

    def read(self, ids: IdRows) -> None:
        """Takes the ids of the positions that `inputs` spoke of, [num_steps], and ends the stream where it is due."""
        drawn = ids[len(self._forced[: len(ids)]) :]
        self._forced = self._forced[len(ids) :]
        ends = np.flatnonzero(drawn == self._end_id) if self._end_id is not None else drawn[:0]
        ended = len(ends) > 0
        text = self._decoder.decode(drawn[: ends[0]] if ended else drawn, final=ended)
        if self._restored is not None:
            text = self._restored.added_by(text)
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

    With the same numbers after every prompt, completions of different prompts would fall into the same words.
    """
    key = hashlib.blake2b(f"{seed} {index} {prompt}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype="<u8")))


class _Restored:
    """A text of the model's as people read it, while it grows; the prompt's beginning of a word or run counts."""

    def __init__(self, restore: Callable[[str], str], *, prompt: str) -> None:
        self._restore = restore
        self._read = prompt
        self._num_shown = len(restore(prompt))

    def added_by(self, text: str) -> str:
        """Returns what more of the text adds to what is read."""
        if not text:  # While a long prompt is read, at every call.
            return ""
        self._read += text
        restored = self._restore(self._read)
        added = restored[self._num_shown :]
        self._num_shown = len(restored)
        return added


class _StoppingText:
    """A text that grows until it is long enough or holds a stop text.

    Where several stop texts occur, the first that is complete counts, of those complete at the same character the
    longest: as if the text had grown by one character at a time. At its limit it waits for one character more, which
    says whether the last grapheme is whole; one that is not is left out.
    """

    def __init__(self, settings: SamplingSpec) -> None:
        self._stop = settings.stop
        self._room = settings.max_new_chars
        self._overlap = max((len(text) for text in settings.stop), default=1) - 1
        self._pieces: list[str] = []
        self._tail = ""
        self._num_chars = 0

    def append(self, text: str, *, ended: bool) -> FinishReason | None:
        """Adds text and returns why it ends there, if it does; `ended` says that nothing can follow."""
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
    """Ids of characters to text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def decode(self, ids: IdRows, *, final: bool) -> str:  # noqa: ARG002 - every id is a whole character.
        return self._vocabulary.decode(ids)


class _ByteDecoder:
    """Ids of UTF-8 bytes to whole characters; the bytes of one that is unfinished wait for the rest."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._bytes = np.array([0] * vocabulary.num_reserved + list(vocabulary.symbols), dtype=np.uint8)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, ids: IdRows, *, final: bool) -> str:
        return self._decoder.decode(self._bytes[ids].tobytes(), final)


def _decoder_of(vocabulary: Vocabulary) -> _CharacterDecoder | _ByteDecoder:
    return _CharacterDecoder(vocabulary) if vocabulary.unit == "characters" else _ByteDecoder(vocabulary)
