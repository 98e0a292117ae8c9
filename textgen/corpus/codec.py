"""Converts text between the form that people write and the form that a model reads.

A corpus is cleaned before a model reads it: letters become lower case, marks take the place of capitals. The codec of a
corpus applies the same rules to prompts and stop texts, and undoes the marks in what the model writes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textgen.corpus.cleaning import normalize_prompt
from textgen.corpus.marks import mark, mark_rules, unmark
from textgen.corpus.unmarking import Unmarking
from textgen.spec import CorpusSpec


@dataclass(frozen=True, kw_only=True)
class TextCodec:
    """The default converts nothing."""

    clean: Callable[[str], str] | None = None
    """Cleans a text that may be incomplete, such as a prompt, as the corpus was cleaned."""
    mark_rules: tuple[str, ...] = ()
    """The cleaning rules whose marks `decode` undoes."""

    @classmethod
    def of(cls, spec: CorpusSpec) -> TextCodec:
        """Returns the codec for prompts that people write."""
        return cls(clean=functools.partial(normalize_prompt, spec=spec), mark_rules=mark_rules(spec.rules))

    @classmethod
    def of_marks(cls, rules: Sequence[str]) -> TextCodec:
        """Returns the codec for texts that came out of a corpus: it sets and undoes marks, and changes nothing else."""
        rules = mark_rules(rules)
        return cls(clean=functools.partial(mark, rules=rules), mark_rules=rules)

    @property
    def has_marks(self) -> bool:
        """Whether one character of a text can become several."""
        return bool(self.mark_rules)

    def encode(self, text: str) -> str:
        """Returns a text as the model reads it."""
        return self.clean(text) if self.clean is not None else text

    def decode(self, text: str) -> str:
        """Returns what the model wrote, or a document of the corpus, as people write it."""
        return unmark(text, self.mark_rules)

    def shown(self, text: str) -> str:
        """Returns a text as it would appear in a completion."""
        return self.decode(self.encode(text))

    def decoder(self) -> Unmarking | None:
        """Returns a decoder for a text that grows; None if there is nothing to undo."""
        return Unmarking(self.mark_rules) if self.mark_rules else None
