"""Marks undone while a text grows: what `marks.unmark` gives for a whole text, piece by piece in linear time.

Each rule's inverse is an automaton that reads one character at a time and remembers a fixed amount, so that the
position in a growing text can be copied: completions of one prompt share the work of reading it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

from textgen.corpus.marks import (
    ALL_CAPITALS,
    CAPITAL,
    MIN_REPEATS,
    NUMBER,
    REPEAT,
    is_letter,
    is_lower_letter,
    mark_rules,
    raised,
)


class Unmarking:
    """The text that a marked one stands for, while the marked one grows."""

    def __init__(self, rules: Iterable[str]) -> None:
        """Begins with the empty text."""
        self._inverses = [_INVERSES[rule]() for rule in reversed(mark_rules(rules))]

    def added_by(self, text: str) -> str:
        """Returns what more of the marked text adds to the text that it stands for."""
        for inverse in self._inverses:
            text = inverse.read(text)
        return text

    def copy(self) -> Unmarking:
        """Returns one that goes on from here by itself."""
        return copy.deepcopy(self)


class _Inverse:
    """A rule's inverse, between two characters."""

    mark = ""

    def __init__(self) -> None:
        self._is_marked = False
        """The last character was a mark whose meaning the next one decides."""

    def read(self, text: str) -> str:
        """Returns what the next characters add."""
        if self._is_at_rest and self.mark not in text:
            self._pass_over(text)
            return text
        return "".join(map(self._next, text))

    @property
    def _is_at_rest(self) -> bool:
        """Says whether characters without a mark would stay as they are."""
        return not self._is_marked

    def _pass_over(self, text: str) -> None:
        """Takes note of a text without marks that stays as it is."""

    def _next(self, character: str) -> str:
        if self._is_marked:
            self._is_marked = False
            return self._after_mark(character)
        if character == self.mark:
            self._is_marked = True
            return ""
        return self._plain(character)

    def _after_mark(self, character: str) -> str:
        """Returns what a character right after a mark gives: a doubled mark is the character itself."""
        return character

    def _plain(self, character: str) -> str:
        return character


class _Numbers(_Inverse):
    mark = NUMBER


class _Capitals(_Inverse):
    mark = CAPITAL

    def _after_mark(self, character: str) -> str:
        return raised(character) if is_lower_letter(character) else character


class _AllCapitals(_Inverse):
    mark = ALL_CAPITALS

    def __init__(self) -> None:
        super().__init__()
        self._in_word = False

    @property
    def _is_at_rest(self) -> bool:
        return not (self._is_marked or self._in_word)

    def _next(self, character: str) -> str:
        if character == self.mark:
            self._in_word = False
        return super()._next(character)

    def _after_mark(self, character: str) -> str:
        self._in_word = is_letter(character)
        return self._plain(character)

    def _plain(self, character: str) -> str:
        self._in_word = self._in_word and is_letter(character)
        return raised(character) if self._in_word else character


class _Repeats(_Inverse):
    mark = REPEAT

    def __init__(self) -> None:
        super().__init__()
        self._repeated = ""
        """What a mark and a digit would repeat: the last character, unless it belongs to a repeat itself."""

    def _pass_over(self, text: str) -> None:
        self._repeated = text[-1:] or self._repeated

    def _after_mark(self, character: str) -> str:
        if character == self.mark:
            self._repeated = ""
            return character
        if self._repeated and "0" <= character <= "9":
            more, self._repeated = self._repeated * (MIN_REPEATS - 1 + int(character)), ""
            return more
        return self._plain(character)

    def _plain(self, character: str) -> str:
        self._repeated = character
        return character


_INVERSES: dict[str, Callable[[], _Inverse]] = {
    "mark_capitals": _Capitals,
    "mark_all_capitals": _AllCapitals,
    "mark_repeats": _Repeats,
    "mark_numbers": _Numbers,
}
