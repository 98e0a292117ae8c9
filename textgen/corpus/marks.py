"""Reversible cleaning rules: they simplify a text and insert marks from which the original is restored exactly.

A mark is a code point from Unicode's private use area. If a text contains that code point itself, it is doubled.
Every rule is therefore injective, and its inverse restores every text.

    mark_capitals        Paris -> 1 paris        a mark before every capital letter
    mark_all_capitals    NASA -> 2 nasa          a mark before a word of two or more capitals and nothing else
    mark_repeats         soooooo -> so 3 2       a character repeated 4 to 13 times: once, a mark, and a digit
    mark_numbers         1984 -> 4 1984          a mark before a run of digits, which stays

(1 to 4 stand for the marks, without the spaces.) A capital is a letter that its lower-case letter maps back to; a
few letters, such as the Turkish dotted I, are left unchanged. `mark_numbers` removes nothing: it announces a number at
the cost of one character. The recommended order of the rules is numbers, all_capitals, capitals, repeats.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

CAPITAL, ALL_CAPITALS, REPEAT, NUMBER = "\ue000", "\ue001", "\ue002", "\ue003"
MIN_REPEATS = 4
"""Runs of three are common (an ellipsis of dots), and a mark does not make them shorter."""
CASELESS_FROM = 0x20000
"""Start of the supplementary ideographs; no letter from here on has a case."""
MAX_REPEATS = MIN_REPEATS + 9
"""Largest count that one digit encodes."""

_REPEATED = re.compile(f"{REPEAT}|([^{REPEAT}])\\1{{{MIN_REPEATS - 1},}}", re.DOTALL)
_REPEAT_MARKED = re.compile(f"([^{REPEAT}]){REPEAT}([0-9])|{REPEAT}{REPEAT}?", re.DOTALL)
_NUMBER = re.compile(rf"{NUMBER}|\d+")
_NUMBER_MARKED = re.compile(f"{NUMBER}{NUMBER}?")


def mark(text: str, rules: Iterable[str]) -> str:
    """Applies the marking rules among the given rules, in order."""
    for rule in rules:
        if rule in MARK_RULES:
            text = MARK_RULES[rule](text)
    return text


def unmark(text: str, rules: Iterable[str]) -> str:
    """Inverts `mark`. A mark in an invalid position, which a model may generate, is dropped.

    The result for a prefix of a marked text is a prefix of the result for the whole text.
    """
    for rule in reversed(mark_rules(rules)):
        text = _INVERSES[rule](text)
    return text


def mark_rules(rules: Iterable[str]) -> tuple[str, ...]:
    """Returns the marking rules among the given cleaning rules, in order."""
    return tuple(rule for rule in rules if rule in MARK_RULES)


def mark_capitals(text: str) -> str:
    """Replaces every capital letter by a mark and its lower-case letter."""
    return _capitals().sub(lambda found: CAPITAL + _lowered(found[0]), text)


def mark_all_capitals(text: str) -> str:
    """Replaces every word of two or more letters, all capital, by a mark and the word in lower case."""
    return _capital_words().sub(lambda found: ALL_CAPITALS + _lowered(found[0]), text)


def mark_repeats(text: str) -> str:
    """Replaces every run of 4 to 13 equal characters by the character, a mark and a digit for the count."""
    return _REPEATED.sub(_folded, text)


def mark_numbers(text: str) -> str:
    """Inserts a mark before every run of digits."""
    return _NUMBER.sub(lambda found: NUMBER + found[0], text)


def _unmark_capitals(text: str) -> str:
    return _marked_capitals().sub(lambda found: raised(found[1]), text)


def _unmark_all_capitals(text: str) -> str:
    return _marked_capital_words().sub(lambda found: raised(found[1]), text)


def _unmark_repeats(text: str) -> str:
    return _REPEAT_MARKED.sub(_unfolded, text)


def _unmark_numbers(text: str) -> str:
    return _NUMBER_MARKED.sub(lambda found: found[0][1:], text)


MARK_RULES: dict[str, Callable[[str], str]] = {
    "mark_capitals": mark_capitals,
    "mark_all_capitals": mark_all_capitals,
    "mark_repeats": mark_repeats,
    "mark_numbers": mark_numbers,
}
_INVERSES: dict[str, Callable[[str], str]] = {
    "mark_capitals": _unmark_capitals,
    "mark_all_capitals": _unmark_all_capitals,
    "mark_repeats": _unmark_repeats,
    "mark_numbers": _unmark_numbers,
}


def _folded(found: re.Match[str]) -> str:
    if found[0] == REPEAT:
        return REPEAT * 2
    character, left, pieces = found[1], len(found[0]), []
    while left >= MIN_REPEATS:
        times = min(left, MAX_REPEATS)
        pieces.append(f"{character}{REPEAT}{times - MIN_REPEATS}")
        left -= times
    return "".join(pieces) + character * left


def _unfolded(found: re.Match[str]) -> str:
    return found[1] * (MIN_REPEATS + int(found[2])) if found[1] else found[0][1:]


@functools.cache
def _letters() -> dict[str, str]:
    """Maps capitals to lower-case letters, for pairs that map to each other."""
    letters = {}
    for code in range(CASELESS_FROM):
        capital = chr(code)
        lower = capital.lower()
        if lower != capital and len(lower) == 1 and lower.upper() == capital:
            letters[capital] = lower
    return letters


@functools.cache
def _tables() -> tuple[dict[int, str], dict[int, str]]:
    letters = _letters()
    return str.maketrans(letters), str.maketrans({lower: capital for capital, lower in letters.items()})


def _lowered(text: str) -> str:
    """Converts capitals to lower case; a literal mark character stays."""
    return text.translate(_tables()[0])


def raised(text: str) -> str:
    """Converts lower-case letters to capitals."""
    return text.translate(_tables()[1])


def is_letter(character: str) -> bool:
    """Returns whether a character is a letter whose two cases map to each other."""
    capitals, lower = _tables()
    return ord(character) in lower or ord(character) in capitals


def is_lower_letter(character: str) -> bool:
    """Returns whether a character is the lower-case form of such a letter."""
    return ord(character) in _tables()[1]


@functools.cache
def _capitals() -> re.Pattern[str]:
    return re.compile(f"[{CAPITAL}{''.join(_letters())}]")


@functools.cache
def _marked_capitals() -> re.Pattern[str]:
    return re.compile(f"{CAPITAL}([{CAPITAL}{''.join(_letters().values())}]?)")


@functools.cache
def _capital_words() -> re.Pattern[str]:
    capitals = "".join(_letters())
    letters = capitals + "".join(_letters().values())
    return re.compile(f"{ALL_CAPITALS}|(?<![{letters}])[{capitals}]{{2,}}(?![{letters}])")


@functools.cache
def _marked_capital_words() -> re.Pattern[str]:
    letters = "".join(_letters()) + "".join(_letters().values())
    return re.compile(f"{ALL_CAPITALS}({ALL_CAPITALS}|[{letters}]*)")
