"""Incremental version of `marks.unmark`: restores a growing text piece by piece in linear time.

Each rule's inverse is an automaton that reads one character at a time and has a state of constant size. The state can
be copied, so all completions of a prompt share the work of reading it.
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
    """Restores the original of a marked text while the marked text grows."""

    def __init__(self, rules: Iterable[str]) -> None:
        """Starts with the empty text."""
        self._inverses = [_INVERSES[rule]() for rule in reversed(mark_rules(rules))]

    def added_by(self, text: str) -> str:
        """Returns what the next piece of the marked text adds to the restored text."""
        for inverse in self._inverses:
            text = inverse.read(text)
        return text

    def copy(self) -> Unmarking:
        """Returns an independent copy of the current state."""
        return copy.deepcopy(self)


class _Inverse:
    """The automaton that inverts one rule."""

    mark = ""

    def __init__(self) -> None:
        self._is_marked = False
        """Whether the last character was a mark, whose meaning depends on the next character."""

    def read(self, text: str) -> str:
        """Returns what the next characters add to the restored text."""
        if self._is_at_rest and self.mark not in text:
            self._pass_over(text)
            return text
        return "".join(map(self._next, text))

    @property
    def _is_at_rest(self) -> bool:
        """Whether text without marks passes through unchanged."""
        return not self._is_marked

    def _pass_over(self, text: str) -> None:
        """Updates the state for a text without marks that passes through unchanged."""

    def _next(self, character: str) -> str:
        if self._is_marked:
            self._is_marked = False
            return self._after_mark(character)
        if character == self.mark:
            self._is_marked = True
            return ""
        return self._plain(character)

    def _after_mark(self, character: str) -> str:
        """Returns the output for the character after a mark; a doubled mark stands for the mark character."""
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
        """The character that a mark and a digit would repeat: the last one, unless it is part of a repeat itself."""

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
