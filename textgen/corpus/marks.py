"""Reversible cleaning rules: a mark says what was there, the text gets simpler, and the text as it was comes back.

A mark is a code point of Unicode's private use. Where a text has that code point itself, it is doubled: so each rule
changes different texts to different ones, and its inverse gives back every text exactly.

    mark_capitals        Paris -> 1 paris        a mark before every capital letter
    mark_all_capitals    NASA -> 2 nasa          a mark before a word of two or more capitals and nothing else
    mark_repeats         soooooo -> so 3 2       a character that stands 4 to 13 times: once, a mark, and a digit
    mark_numbers         1984 -> 4 1984          a mark before a run of digits, which stays

(1 to 4 stand for the marks, without the spaces.) Capitals are letters that their lower-case letter leads back to; a
few, such as the Turkish dotted I, are left as they are. `mark_numbers` takes nothing away: it tells that a number
begins, and costs what it tells. The rules are best named in the order numbers, all_capitals, capitals, repeats.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

CAPITAL, ALL_CAPITALS, REPEAT, NUMBER = "\ue000", "\ue001", "\ue002", "\ue003"
MIN_REPEATS = 4
"""Three of a kind are common, as dots are, and a mark would not shorten them."""
CASELESS_FROM = 0x20000
"""Ideographs begin here; no letter beyond has a case."""
MAX_REPEATS = MIN_REPEATS + 9
"""What one digit can say."""

_REPEATED = re.compile(f"{REPEAT}|([^{REPEAT}])\\1{{{MIN_REPEATS - 1},}}", re.DOTALL)
_REPEAT_MARKED = re.compile(f"([^{REPEAT}]){REPEAT}([0-9])|{REPEAT}{REPEAT}?", re.DOTALL)
_NUMBER = re.compile(rf"{NUMBER}|\d+")
_NUMBER_MARKED = re.compile(f"{NUMBER}{NUMBER}?")


def mark(text: str, rules: Iterable[str]) -> str:
    """Returns a text with the marks of those of the rules that set some, in their order."""
    for rule in rules:
        if rule in MARK_RULES:
            text = MARK_RULES[rule](text)
    return text


def unmark(text: str, rules: Iterable[str]) -> str:
    """Returns the text that `mark` was given; a mark that stands where none can, as a model may set it, is left out.

    What follows a text changes nothing of what came out of it: the beginning of a marked text gives the beginning of
    the text as it was.
    """
    for rule in reversed(mark_rules(rules)):
        text = _INVERSES[rule](text)
    return text


def mark_rules(rules: Iterable[str]) -> tuple[str, ...]:
    """Returns those of the cleaning rules that set marks, in their order."""
    return tuple(rule for rule in rules if rule in MARK_RULES)


def mark_capitals(text: str) -> str:
    """Writes capital letters as lower-case ones, a mark before each."""
    return _capitals().sub(lambda found: CAPITAL + _lowered(found[0]), text)


def mark_all_capitals(text: str) -> str:
    """Writes words of capitals alone, two or more, as lower-case ones with one mark before them."""
    return _capital_words().sub(lambda found: ALL_CAPITALS + _lowered(found[0]), text)


def mark_repeats(text: str) -> str:
    """Writes a character that is repeated once, and after a mark how often."""
    return _REPEATED.sub(_folded, text)


def mark_numbers(text: str) -> str:
    """Sets a mark before every run of digits."""
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
    """Returns capital -> lower-case letter, for those that lead to each other."""
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
    """Returns the lower-case letters of capitals; a mark that stands for itself stays."""
    return text.translate(_tables()[0])


def raised(text: str) -> str:
    """Returns the capitals of lower-case letters."""
    return text.translate(_tables()[1])


def is_letter(character: str) -> bool:
    """Says whether a character is a letter of which the rules know both cases."""
    capitals, lower = _tables()
    return ord(character) in lower or ord(character) in capitals


def is_lower_letter(character: str) -> bool:
    """Says whether a character is the lower case of such a letter."""
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
