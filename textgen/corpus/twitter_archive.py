"""Reads tweets from the archive of an account that X (Twitter) provides: a JSON array assigned in JavaScript.

`tweets.js` contains `window.YTD.tweets.part0 = [ {"tweet": {"full_text": "...", ...}}, ... ]`. Large archives continue
in `tweets-part1.js`. Older archives have `tweet.js`, and the oldest lack the inner object `tweet`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import IO, Any

from textgen.corpus.detection import encoding_of
from textgen.corpus.formats import PEEK_ROWS, Record, Source, decoded
from textgen.corpus.json_records import doubts_of, record_of
from textgen.corpus.note_tweets import NoteTweets, iter_elements
from textgen.corpus.schema import BY_NAME, recognise


def read_twitter_archive(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads tweets with their language as category. The field `source` (the app that sent the tweet) is not used."""
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
    """Yields the fields of each tweet, or None for an element that is not an object.

    Raises:
        UserError: The file does not contain such an array, or is truncated.
    """
    return map(_fields, iter_elements(stream, uri=uri))


def _fields(element: Any) -> dict[str, Any] | None:
    fields = element.get("tweet", element) if isinstance(element, dict) else None
    return fields if isinstance(fields, dict) else None
