"""Restores the full texts of long tweets in a Twitter archive.

For a long tweet, `tweets.js` has only the beginning; `note-tweet.js` has the full text in elements such as
`{"noteTweet": {"noteTweetId": "...", "core": {"text": "..."}}}`. A tweet and its note are matched by id if the ids
agree, otherwise by the beginning of the text.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from textgen.errors import UserError

PIECE_CHARS = 2**20
PREFIX_CHARS = 40
"""Without matching ids, a tweet and a note must share a prefix of at least this many characters."""

_HEAD = re.compile(r"\s*([\w.$]+\s*=\s*)?\[\s*")
_BETWEEN = re.compile(r"[\s,]*")
_TAIL = re.compile(r"\]\s*;?\s*")
_CUT = re.compile(r"\s*(?P<mark>\u2026|\.\.\.)?(\s*https://t\.co/\w+)*\s*\Z")


class NoteTweets:
    """The full texts of long tweets."""

    def __init__(self, notes: Sequence[tuple[str, str]]) -> None:
        self._by_id = {number: place for place, (number, _) in enumerate(notes) if number}
        self._texts = [text for _, text in notes]
        self._by_prefix: dict[str, list[int]] = {}
        for place, text in enumerate(self._texts):
            self._by_prefix.setdefault(_plain(text)[:PREFIX_CHARS], []).append(place)
        self._used: set[int] = set()
        self.num_cut = 0
        """Number of tweets that end in an ellipsis and have no matching note."""

    @classmethod
    def read(cls, contents: Sequence[bytes], *, uri: str) -> NoteTweets:
        """Parses the contents of an archive's note-tweet files."""
        notes = []
        for content in contents:
            with io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", errors="replace") as stream:
                notes += [note for element in iter_elements(stream, uri=uri) if (note := _note(element)) is not None]
        return cls(notes)

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def num_used(self) -> int:
        """Number of notes that replaced the text of a tweet."""
        return len(self._used)

    def whole(self, tweet: dict[str, Any]) -> dict[str, Any]:
        """Returns a tweet with its full text."""
        key = "full_text" if isinstance(tweet.get("full_text"), str) else "text"
        text = tweet.get(key)
        if not isinstance(text, str):
            return tweet
        cut = _CUT.search(text)
        stem = _plain(text[: cut.start()] if cut else text)
        is_cut = bool(cut and cut["mark"])
        place = self._place(tweet, stem, is_cut=is_cut)
        if place is None:
            self.num_cut += is_cut
            return tweet
        self._used.add(place)
        return {**tweet, key: self._texts[place]}

    def _place(self, tweet: Mapping[str, Any], stem: str, *, is_cut: bool) -> int | None:
        ids = (tweet.get("id_str"), tweet.get("id"), tweet.get("note_tweet_id"), tweet.get("noteTweetId"))
        by_id = next((self._by_id[str(one)] for one in ids if one is not None and str(one) in self._by_id), None)
        if by_id is not None and (is_cut or _plain(self._texts[by_id]).startswith(stem)):
            return by_id
        if len(stem) < PREFIX_CHARS:
            return None
        near = [place for place in self._by_prefix.get(stem[:PREFIX_CHARS], ()) if self._continues(place, stem)]
        return near[0] if len(near) == 1 else None

    def _continues(self, place: int, stem: str) -> bool:
        text = _plain(self._texts[place])
        return text.startswith(stem) and len(text) > len(stem)

    def sentences(self, uri: str) -> list[str]:
        """Returns messages for the user about long tweets."""
        found = []
        if self.num_used:
            found.append(f"{self.num_used:,} long tweets of {uri} get their full text from its note-tweet.js")
        if len(self) > self.num_used:
            found.append(
                f"{len(self) - self.num_used:,} of {len(self):,} texts in note-tweet.js match no tweet of {uri}; any "
                "tweets that they belong to stay truncated"
            )
        if self.num_cut:
            found.append(
                f"{self.num_cut:,} tweets of {uri} end in an ellipsis and have no full text in a note-tweet.js; they "
                "are kept unchanged"
            )
        return found


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def _note(element: Any) -> tuple[str, str] | None:
    """Returns id and text of an element of note-tweet.js, whose layout varies between archives."""
    if not isinstance(element, dict):
        return None
    note = next((element[name] for name in ("noteTweet", "note_tweet", "tweet") if name in element), element)
    if not isinstance(note, dict):
        return None
    core = note.get("core", note)
    text = next((core[name] for name in ("text", "full_text") if isinstance(core, dict) and name in core), None)
    number = next((note[name] for name in ("noteTweetId", "id_str", "id", "tweetId") if name in note), "")
    return (str(number), text) if isinstance(text, str) else None


def iter_elements(stream: IO[str], *, uri: str) -> Iterator[Any]:
    """Yields the elements of the array in an archive's JavaScript file."""
    decoder = json.JSONDecoder()
    text = stream.read(PIECE_CHARS)
    head = _HEAD.match(text)
    if head is None:
        raise UserError(f"{uri} is not a Twitter archive file; such a file begins with window.YTD.tweets.part0 = [")
    place = head.end()
    while True:
        between = _BETWEEN.match(text, place)
        place = between.end() if between else place
        try:
            element, place = decoder.raw_decode(text, place)
        except ValueError:  # The end of the array, or an object that continues in the next piece.
            piece = stream.read(PIECE_CHARS)
            text, place = text[place:] + piece, 0
            if piece:
                continue
            if _TAIL.fullmatch(text):
                return
            raise UserError(f"{uri} is truncated or damaged; unpack the archive again, or request a new one") from None
        yield element
