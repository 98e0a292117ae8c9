"""Streams objects from JSON that is not line-delimited, one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from textgen.errors import UserError

PIECE_CHARS = 2**20
ELEMENT_LIMIT_CHARS = 64 * 2**20
"""A longer object counts as unclosed."""
EXCERPT_CHARS = 300

_SPACE = re.compile(r"[\ufeff\s]*")
_BETWEEN = re.compile(r"[\ufeff\s,]*")
_KEY = re.compile(r'[\s,]*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
_DECODER = json.JSONDecoder()

Path = tuple[str, ...]
"""Keys from the outermost object to the array of records."""


def path_of_records(head: str, *, is_wanted: Callable[[Sequence[str]], bool]) -> Path:
    """Returns the path to the array of records within an object, or () if the object is a record or none is found.

    An array holds records if its first object has the required columns. Only `head` is searched.
    """
    start = head.lstrip("\ufeff \t\r\n")
    return _search(start, 0, (), is_wanted)[0] or ()


def _search(text: str, place: int, path: Path, is_wanted: Callable[[Sequence[str]], bool]) -> tuple[Path | None, int]:
    """Returns the path within the object that starts at `place`, and the object's end (the text's end if truncated)."""
    if len(path) > 4 or not text.startswith("{", place):
        return None, len(text)
    place += 1
    while True:
        key = _KEY.match(text, place)
        if key is None:
            end = text.find("}", place)
            return None, len(text) if end < 0 else end + 1
        below = (*path, json.loads(key[1]))
        place = key.end()
        try:
            if text.startswith("[", place):
                inner = _SPACE.match(text, place + 1)
                if inner and text.startswith("{", inner.end()):
                    element, _ = _DECODER.raw_decode(text, inner.end())
                    if is_wanted(list(element)):
                        return below, place
            elif text.startswith("{", place):
                found, after = _search(text, place, below, is_wanted)
                if found is not None:
                    return found, after
            _, place = _DECODER.raw_decode(text, place)
        except ValueError:
            return None, len(text)


class Scanner:
    """Reads JSON values from a text stream and buffers at most one value and one piece."""

    def __init__(self, stream: IO[str], *, uri: str) -> None:
        self._stream, self._uri = stream, uri
        self._text, self._place = "", 0
        self._num_values = 0

    def items(self, path: Path = ()) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
        """Yields number, excerpt and fields of each record, from an array or from concatenated objects.

        Args:
            path: Keys that lead to the array, if it is nested in objects.
        """
        while self._skip(_BETWEEN):
            if path:
                yield from self._inside(path)
            elif self._next() == "[":
                yield from self._elements()
            else:
                yield self._item()

    def _inside(self, path: Path) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
        """Yields the records of an object's array and skips the object's other values."""
        if self._next() != "{":
            raise self._cut_off()
        self._place += 1
        while True:
            self._skip(_BETWEEN)
            if self._next() == "}":
                self._place += 1
                return
            key = self._value()
            self._skip(_SPACE)
            if self._next() != ":" or not isinstance(key, str):
                raise self._cut_off()
            self._place += 1
            self._skip(_SPACE)
            if key == path[0] and len(path) > 1 and self._next() == "{":
                yield from self._inside(path[1:])
            elif key == path[0] and len(path) == 1 and self._next() == "[":
                yield from self._elements()
            else:
                self._value()

    def _elements(self) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
        self._place += 1
        while True:
            self._skip(_BETWEEN)
            if self._next() == "]":
                self._place += 1
                return
            yield self._item()

    def _item(self) -> tuple[int, str, dict[str, Any] | None]:
        value = self._value()
        self._num_values += 1
        if isinstance(value, dict):
            return self._num_values, "", value
        return self._num_values, json.dumps(value, ensure_ascii=False)[:EXCERPT_CHARS], None

    def _value(self) -> Any:
        size = PIECE_CHARS
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except (ValueError, RecursionError):
                end = len(self._text)
            if end < len(self._text):
                self._place = end
                return value
            if len(self._text) - self._place > ELEMENT_LIMIT_CHARS or not self._read(size):
                try:  # A number may end with the file.
                    value, self._place = _DECODER.raw_decode(self._text, self._place)
                except (ValueError, RecursionError):
                    raise self._cut_off() from None
                return value
            size *= 2  # A long value is parsed a logarithmic number of times.

    def _next(self) -> str:
        """Returns the next character; empty at the end."""
        if self._place == len(self._text):
            self._read(PIECE_CHARS)
        return self._text[self._place : self._place + 1]

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Skips text that matches the pattern; returns whether any text follows."""
        while True:
            found = pattern.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text):
                return True
            if not self._read(PIECE_CHARS):
                return False

    def _read(self, size: int) -> bool:
        piece = self._stream.read(size)
        self._text, self._place = self._text[self._place :] + piece, 0
        return bool(piece)

    def _cut_off(self) -> UserError:
        excerpt = self._text[self._place : self._place + 40]
        return UserError(
            f"{self._uri} is truncated or is not valid JSON after record {self._num_values:,} (at {excerpt!r}); "
            "download it again, correct it, or set corpus.format to the format of the file"
        )
