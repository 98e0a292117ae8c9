"""The tweets of an archive that X (Twitter) makes of one's own account: a line of JavaScript around a JSON array.

`tweets.js` reads `window.YTD.tweets.part0 = [ {"tweet": {"full_text": "...", ...}}, ... ]`. Large archives go on in
`tweets-part1.js`; older ones have `tweet.js`, and the oldest no inner object `tweet`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

from textgen.errors import UserError

PIECE_CHARS = 2**20

_FILE_NAME = re.compile(r"tweets?(-part\d+)?\.js")
_HEAD = re.compile(r"\s*([\w.$]+\s*=\s*)?\[\s*")
_BETWEEN = re.compile(r"[\s,]*")
_TAIL = re.compile(r"\]\s*;?\s*")


def holds_tweets(name: str) -> bool:
    """Says whether a file of this name holds an archive's tweets: other files of an archive hold other things."""
    return _FILE_NAME.fullmatch(name) is not None


def iter_tweets(stream: IO[str], *, uri: str) -> Iterator[dict[str, Any] | None]:
    """Yields the fields of each tweet, one at a time; None for an element that is no object.

    Raises:
        UserError: the file is no such array, or it is cut off.
    """
    decoder = json.JSONDecoder()
    text = stream.read(PIECE_CHARS)
    head = _HEAD.match(text)
    if head is None:
        raise UserError(f"{uri} holds no tweets of an archive; such a file begins with window.YTD.tweets.part0 = [")
    place = head.end()
    while True:
        between = _BETWEEN.match(text, place)
        place = between.end() if between else place
        try:
            element, place = decoder.raw_decode(text, place)
        except ValueError:  # The end of the array, or an object that goes on in the next piece.
            piece = stream.read(PIECE_CHARS)
            text, place = text[place:] + piece, 0
            if piece:
                continue
            if _TAIL.fullmatch(text):
                return
            raise UserError(f"{uri} is cut off or damaged; unpack the archive again, or ask for a new one") from None
        yield _fields(element)


def _fields(element: Any) -> dict[str, Any] | None:
    fields = element.get("tweet", element) if isinstance(element, dict) else None
    return fields if isinstance(fields, dict) else None
