"""The tweets of an archive that X (Twitter) makes of one's own account: a line of JavaScript around a JSON array.

`tweets.js` reads `window.YTD.tweets.part0 = [ {"tweet": {"full_text": "...", ...}}, ... ]`. Large archives go on in
`tweets-part1.js`; older ones have `tweet.js`, and the oldest no inner object `tweet`. Of a long tweet it holds the
beginning; the whole text stands in `note-tweet.js`, `{"noteTweet": {"noteTweetId": "...", "core": {"text": "..."}}}`.
The two are matched by id where the ids agree, else by the beginning of the text.
"""

from __future__ import annotations

import dataclasses
import html
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from textgen.corpus.detection import encoding_of
from textgen.corpus.formats import PEEK_ROWS, Record, Source, decoded
from textgen.corpus.json_records import doubts_of, record_of
from textgen.corpus.schema import BY_NAME, recognise
from textgen.errors import UserError

PIECE_CHARS = 2**20
PREFIX_CHARS = 40
"""A text as long as this in common, and nothing else, makes a tweet the beginning of a long one."""

_HEAD = re.compile(r"\s*([\w.$]+\s*=\s*)?\[\s*")
_BETWEEN = re.compile(r"[\s,]*")
_TAIL = re.compile(r"\]\s*;?\s*")
_CUT = re.compile(r"\s*(?P<mark>\u2026|\.\.\.)?(\s*https://t\.co/\w+)*\s*\Z")


class NoteTweets:
    """The whole texts of long tweets."""

    def __init__(self, notes: Sequence[tuple[str, str]]) -> None:
        self._by_id = {number: place for place, (number, _) in enumerate(notes) if number}
        self._texts = [text for _, text in notes]
        self._by_prefix: dict[str, list[int]] = {}
        for place, text in enumerate(self._texts):
            self._by_prefix.setdefault(_plain(text)[:PREFIX_CHARS], []).append(place)
        self._used: set[int] = set()
        self.num_cut = 0
        """Tweets that end in an ellipsis and have no long text."""

    @classmethod
    def read(cls, contents: Sequence[bytes], *, uri: str) -> NoteTweets:
        """Reads the files of an archive that hold them."""
        notes = []
        for content in contents:
            with io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", errors="replace") as stream:
                notes += [note for element in iter_elements(stream, uri=uri) if (note := _note(element)) is not None]
        return cls(notes)

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def num_used(self) -> int:
        """Long texts that stand for a tweet's."""
        return len(self._used)

    def whole(self, tweet: dict[str, Any]) -> dict[str, Any]:
        """Returns a tweet with its whole text."""
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
        near = [place for place in self._by_prefix.get(stem[:PREFIX_CHARS], ()) if self._goes_on(place, stem)]
        return near[0] if len(near) == 1 else None

    def _goes_on(self, place: int, stem: str) -> bool:
        text = _plain(self._texts[place])
        return text.startswith(stem) and len(text) > len(stem)

    def sentences(self, uri: str) -> list[str]:
        """Returns what a user should know of the long tweets."""
        found = []
        if self.num_used:
            found.append(f"{self.num_used:,} long tweets of {uri} are taken whole from its note-tweet.js")
        if len(self) > self.num_used:
            found.append(
                f"{len(self) - self.num_used:,} of {len(self):,} texts in note-tweet.js match no tweet of {uri}; their "
                "tweets, if they have any, stay cut"
            )
        if self.num_cut:
            found.append(
                f"{self.num_cut:,} tweets of {uri} end in an ellipsis and have no longer text in a note-tweet.js; they "
                "stay as they are"
            )
        return found


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def _note(element: Any) -> tuple[str, str] | None:
    """Returns id and text of an element of note-tweet.js; its layout differs between archives."""
    if not isinstance(element, dict):
        return None
    note = next((element[name] for name in ("noteTweet", "note_tweet", "tweet") if name in element), element)
    if not isinstance(note, dict):
        return None
    core = note.get("core", note)
    text = next((core[name] for name in ("text", "full_text") if isinstance(core, dict) and name in core), None)
    number = next((note[name] for name in ("noteTweetId", "id_str", "id", "tweetId") if name in note), "")
    return (str(number), text) if isinstance(text, str) else None


def read_twitter_archive(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads tweets with their language as category; `source`, the name of the app that sent them, is none."""
    spec, notes = source.spec, source.note_tweets or NoteTweets(())
    encoding = encoding_of(source.head, spec)
    with decoded(stream, encoding, "\n") as content:
        tweets = (None if values is None else notes.whole(values) for values in iter_tweets(content, uri=source.uri))
        peeked = list(itertools.islice(tweets, PEEK_ROWS))
        objects = [values for values in peeked if values is not None]
        if not peeked:
            return
        names = list(dict.fromkeys(key for values in objects for key in values))
        found = recognise(names, spec, file_name=source.uri, partitions=tuple(source.partitions))
        category = spec.category_column or ("lang" if "lang" in names else None)
        chosen_by = {role: why for role, why in found.chosen_by.items() if role != "category" or spec.category_column}
        if category is not None:
            chosen_by.setdefault("category", BY_NAME)
        columns = dataclasses.replace(found, category=category, chosen_by=chosen_by)
        source.begin(
            "twitter_archive", columns, encoding=encoding.removesuffix("-sig"), warnings=doubts_of(columns, objects)
        )
        for number, values in enumerate(itertools.chain(peeked, tweets), 1):
            if values is None:
                yield Record(number, "", reason="malformed")
            else:
                yield record_of(number, values, columns, source.partitions, has_missing=False)
    source.report.notes += notes.sentences(source.uri)


def iter_tweets(stream: IO[str], *, uri: str) -> Iterator[dict[str, Any] | None]:
    """Yields the fields of each tweet, one at a time; None for an element that is no object.

    Raises:
        UserError: the file is no such array, or it is cut off.
    """
    return map(_fields, iter_elements(stream, uri=uri))


def iter_elements(stream: IO[str], *, uri: str) -> Iterator[Any]:
    """Yields the elements of an archive's array."""
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
        yield element


def _fields(element: Any) -> dict[str, Any] | None:
    fields = element.get("tweet", element) if isinstance(element, dict) else None
    return fields if isinstance(fields, dict) else None
