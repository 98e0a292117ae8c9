"""Tweets and long tweets from a Twitter archive, independent of how the file is read in pieces."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus.test_archives import tar_of, zip_of
from tests.corpus_helpers import read_with_report, sentences
from textgen.corpus import note_tweets
from textgen.corpus.naming import holds_tweets
from textgen.corpus.note_tweets import NoteTweets
from textgen.corpus.records import read_records
from textgen.corpus.sources import resolve
from textgen.corpus.twitter_archive import iter_tweets
from textgen.errors import UserError
from textgen.spec import CorpusSpec


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
def test_other_files_of_an_archive_hold_no_tweets(name: str, expected: bool) -> None:
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
        patch.setattr(note_tweets, "PIECE_CHARS", piece_chars)
        assert tweets(text) == [element["tweet"] for element in elements]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('window.YTD.tweets.part0 = [ {"tweet": {"full_text": "o', "truncated or damaged"),
        ('window.YTD.tweets.part0 = [ {"full_text": "one"}, ', "truncated or damaged"),
        ('window.YTD.tweets.part0 = [ {"full_text": "one"} ] ]', "truncated or damaged"),
        ("const tweets = require('x')", "begins with window.YTD.tweets.part0"),
    ],
)
def test_other_files_are_errors(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tweets(text)


LONG = [" ".join(sentences(12, seed=seed)) for seed in range(4)]
LINK = " https://t.co/abc123"


def archive(part: str, elements: list[Any]) -> bytes:
    return f"window.YTD.{part}.part0 = {json.dumps(elements, indent=2, ensure_ascii=False)}".encode()


def note(number: str, text: str) -> dict[str, Any]:
    core = {"styletags": [], "urls": [], "text": text, "mentions": []}
    return {"noteTweet": {"noteTweetId": number, "updatedAt": "2023-02-08T22:00:00.000Z", "core": core}}


MEMBERS = {
    "data/tweets.js": archive(
        "tweets",
        [
            {"tweet": {"id_str": "1", "full_text": LONG[0][:275] + "\u2026" + LINK}},
            {"tweet": {"id_str": "2", "full_text": LONG[1][:275] + "\u2026"}},
            {"tweet": {"id_str": "3", "full_text": "short &amp; whole"}},
            {"tweet": {"id_str": "4", "full_text": "no note for this one..."}},
            {"tweet": {"id_str": "5", "full_text": "R&amp;D " + LONG[2][:200]}},
        ],
    ),
    "data/note-tweet.js": archive("note_tweet", [note("77", LONG[0]), note("2", LONG[1]), note("9", "R&D " + LONG[2])]),
    "data/note-tweet-part1.js": archive("note_tweet", [note("10", "of a deleted tweet"), {"odd": 1}, 3]),
    "data/like.js": archive("like", [{"like": {"fullText": "not mine"}}]),
    "Your archive.html": b"<html>",
    "data/tweets_media/1.jpg": b"picture",
}
WHOLE = [LONG[0], LONG[1], "short &amp; whole", "no note for this one...", "R&D " + LONG[2]]


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_long_tweets_get_their_full_text(tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    records, report = read_with_report(tmp_path / "twitter.zip", pack(MEMBERS))
    assert [record.text for record in records] == WHOLE
    assert [note.partition(" of ")[0] for note in report.notes] == [
        "3 long tweets",
        "1",
        "1 tweets",
    ]


def test_long_tweets_of_an_unpacked_archive_get_their_full_text(tmp_path: Path) -> None:
    for name, content in MEMBERS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    said: list[str] = []
    (file,) = resolve([str(tmp_path)], say=said.append)
    assert [record.text for record in read_records(file, CorpusSpec())] == WHOLE
    assert "like.js" in said[0]


def test_only_an_unambiguous_note_is_used() -> None:
    start = LONG[0][:60]
    notes = NoteTweets([("1", start + " one way"), ("2", start + " another way")])
    assert notes.whole({"full_text": start + "\u2026"})["full_text"] == start + "\u2026"  # Either may be meant.
    assert notes.whole({"id_str": "2", "full_text": start + "\u2026"})["full_text"] == start + " another way"
    assert notes.whole({"id": 1, "full_text": "something else"})["full_text"] == "something else"
    assert notes.whole({"full_text": start[:20] + "\u2026"})["full_text"] == start[:20] + "\u2026"
    assert notes.whole({"lang": "en"}) == {"lang": "en"}
    assert (len(notes), notes.num_used, notes.num_cut) == (2, 1, 2)
