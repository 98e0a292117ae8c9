"""Tweets out of an archive, whatever pieces the file is read in."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus import twitter_archive
from textgen.corpus.twitter_archive import holds_tweets, iter_tweets
from textgen.errors import UserError


def tweets(text: str) -> list[dict[str, Any] | None]:
    return list(iter_tweets(io.StringIO(text), uri="tweets.js"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tweets.js", True),
        ("tweet.js", True),
        ("tweets-part1.js", True),
        ("tweets-part12.js", True),
        ("deleted-tweets.js", False),
        ("tweet-headers.js", False),
        ("tweetdeck.js", False),
        ("like.js", False),
        ("tweets.json", False),
    ],
)
def test_an_archive_s_other_files_hold_no_tweets(name: str, expected: bool) -> None:
    assert holds_tweets(name) is expected


@pytest.mark.parametrize(
    "head", ["window.YTD.tweets.part0 = ", "window.YTD.tweet.part0=", "\n window.YTD.tweets.part3  =\n", ""]
)
@pytest.mark.parametrize("tail", ["", ";\n", "\n\n"])
def test_new_and_old_archives_are_read(head: str, tail: str) -> None:
    text = f'{head}[ {{"tweet" : {{"full_text" : "one ] }} , \\"x\\""}}}},\n{{"full_text": "two"}} , 3 ]{tail}'
    assert tweets(text) == [{"full_text": 'one ] } , "x"'}, {"full_text": "two"}, None]


def test_an_archive_without_tweets_is_empty() -> None:
    assert tweets("window.YTD.tweets.part0 = [ ]") == []


@given(
    texts=st.lists(st.text(max_size=9), max_size=6), indent=st.sampled_from([None, 2]), piece_chars=st.integers(40, 60)
)
def test_pieces_change_nothing(texts: list[str], indent: int | None, piece_chars: int) -> None:
    elements = [{"tweet": {"full_text": text, "lang": "en"}} for text in texts]
    text = "window.YTD.tweets.part0 = " + json.dumps(elements, ensure_ascii=False, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twitter_archive, "PIECE_CHARS", piece_chars)
        assert tweets(text) == [element["tweet"] for element in elements]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('window.YTD.tweets.part0 = [ {"tweet": {"full_text": "o', "cut off or damaged"),
        ('window.YTD.tweets.part0 = [ {"full_text": "one"}, ', "cut off or damaged"),
        ('window.YTD.tweets.part0 = [ {"full_text": "one"} ] ]', "cut off or damaged"),
        ("const tweets = require('x')", "begins with window.YTD.tweets.part0"),
    ],
)
def test_what_is_no_archive_is_explained(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tweets(text)
