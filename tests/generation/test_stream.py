from __future__ import annotations

import pickle
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus.codec import TextCodec
from textgen.corpus.marks import ALL_CAPITALS, CAPITAL, mark
from textgen.errors import UserError
from textgen.generation.stream import SAMPLED, Completion, RefusedFieldError, Request, Stream, generator_of
from textgen.spec import SamplingSpec
from textgen.windows.conditions import Condition
from textgen.windows.vocabulary import Vocabulary

LETTERS = Vocabulary(unit="characters", symbols=tuple(sorted(map(ord, "abcdefghé "))))
JOINED = Vocabulary(unit="characters", symbols=tuple(sorted(map(ord, "abcdefgh "))), separator=" ")
BYTES = Vocabulary(unit="bytes", symbols=tuple(range(256)))


CONDITIONED = Vocabulary(
    unit="characters",
    symbols=LETTERS.symbols,
    conditions=(Condition(column="label", values=("1", "5")), Condition(column="category", values=("tea",))),
)


def finish(
    text: str | bytes, settings: SamplingSpec, *, prompt: str = "", vocabulary: Vocabulary = LETTERS, num_steps: int = 3
) -> Completion:
    """Feeds a stream the ids of the prompt, of `text` and of endless ENDs (or 'a's), `num_steps` a call."""
    stream = Stream(Request(prompt=prompt, settings=settings), vocabulary)
    if isinstance(text, bytes):
        drawn = [value + vocabulary.num_reserved for value in text]
    else:
        drawn = vocabulary.encode(text).tolist()
    ids = np.array(vocabulary.encode(prompt).tolist() + drawn, dtype=np.int32)
    filler = vocabulary.start_id
    for start in range(0, 10_000, num_steps):
        forced, uniforms = stream.inputs(num_steps)
        part = ids[start : start + num_steps]
        part = np.concatenate([part, np.full(num_steps - len(part), filler, dtype=np.int32)])
        assert forced.shape == uniforms.shape == (num_steps,)
        in_prompt = forced != SAMPLED
        assert in_prompt.sum() == np.clip(len(prompt.encode() if vocabulary is BYTES else prompt) - start, 0, num_steps)
        assert (forced[in_prompt] == part[in_prompt]).all()
        stream.read(part)
        if stream.finish_reason is not None:
            return stream.completion()
    raise AssertionError("the stream does not end")


@pytest.mark.parametrize("num_steps", [1, 3, 7, 64])
@pytest.mark.parametrize(
    ("text", "settings", "completion", "reason"),
    [
        ("abcdefgh", SamplingSpec(), "abcdefgh", "end"),
        ("", SamplingSpec(), "", "end"),
        ("abcdefgh", SamplingSpec(max_new_chars=5), "abcde", "length"),
        ("abcde", SamplingSpec(max_new_chars=5), "abcde", "length"),
        ("abcdefgh", SamplingSpec(stop=("de",)), "abc", "stop"),
        ("abcdefgh", SamplingSpec(stop=("gh", "cde", "x")), "ab", "stop"),
        ("abcdefgh", SamplingSpec(stop=("bcdefg", "cd")), "ab", "stop"),  # `cd` is complete first.
        (
            "abcdefgh",
            SamplingSpec(stop=("cd", "bcd")),
            "a",
            "stop",
        ),  # Both are complete at the same character: the longer one counts.
        ("ababac", SamplingSpec(stop=("abac",)), "ab", "stop"),
        ("abcdefgh", SamplingSpec(stop=("a",)), "", "stop"),
        ("abcdefgh", SamplingSpec(stop=("fg",), max_new_chars=6), "abcdef", "length"),
        ("abcdefgh", SamplingSpec(stop=("fg",), max_new_chars=7), "abcde", "stop"),
        ("abc", SamplingSpec(stop=("cd",)), "abc", "end"),
    ],
)
def test_a_completion_ends_where_it_should(
    text: str, settings: SamplingSpec, completion: str, reason: str, num_steps: int
) -> None:
    for prompt in ("", "ab", "cdefghabcdefgh"):  # A stop text in the prompt has no effect.
        finished = finish(text, settings, prompt=prompt, num_steps=num_steps)
        assert (finished.completion, finished.finish_reason, finished.prompt) == (completion, reason, prompt)


@given(
    text=st.text("abc", max_size=40),
    stop=st.lists(st.text("abc", min_size=1, max_size=4), max_size=4),
    max_new_chars=st.integers(1, 45),
    num_steps=st.integers(1, 50),
)
def test_calls_of_any_size_end_as_one_step_per_call_does(
    text: str, stop: list[str], max_new_chars: int, num_steps: int
) -> None:
    expected = (text, "end")
    for length in range(1, len(text) + 1):
        ends = [len(entry) for entry in stop if text[:length].endswith(entry)]
        if ends:
            expected = (text[: length - max(ends)], "stop")
            break
        if length == max_new_chars:
            expected = (text[:length], "length")
            break
    finished = finish(text, SamplingSpec(stop=tuple(stop), max_new_chars=max_new_chars), num_steps=num_steps)
    assert (finished.completion, finished.finish_reason) == expected


def test_without_reserved_ids_only_length_and_stop_texts_end_a_completion() -> None:
    finished = finish("abc", SamplingSpec(max_new_chars=6), vocabulary=JOINED)
    assert (finished.completion, finished.finish_reason) == ("abc   ", "length")


@pytest.mark.parametrize("num_steps", [1, 2, 3, 64])
def test_bytes_become_whole_characters(num_steps: int) -> None:
    text = "aé€😀שלום"
    for max_new_chars in range(1, 8):
        settings = SamplingSpec(max_new_chars=max_new_chars)
        finished = finish(text.encode(), settings, prompt="é", vocabulary=BYTES, num_steps=num_steps)
        assert (finished.completion, finished.finish_reason) == (text[:max_new_chars], "length")
    finished = finish(text.encode(), SamplingSpec(stop=("ל",)), vocabulary=BYTES, num_steps=num_steps)
    assert (finished.completion, finished.finish_reason) == ("aé€😀ש", "stop")


def test_invalid_bytes_become_replacement_characters() -> None:
    assert finish(b"a\xffb\xe2\x82", SamplingSpec(), vocabulary=BYTES).completion == "a\ufffdb\ufffd"


def test_missing_characters_are_reported() -> None:
    finished = finish("a", SamplingSpec(), prompt="XaZX")
    assert finished.unknown_characters == ("X", "Z")
    assert finish("a", SamplingSpec(), prompt="a").unknown_characters == ()
    with pytest.raises(UserError, match="'X' is not in the vocabulary"):
        Stream(Request(prompt="aX", settings=SamplingSpec()), JOINED)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UserError, match="half a character"):
        Request(prompt="a\ud800", settings=SamplingSpec())


def test_the_model_reads_the_normalized_prompt() -> None:
    stream = Stream(Request(prompt="AB", settings=SamplingSpec()), LETTERS, codec=TextCodec(clean=str.lower))
    assert stream.inputs(3)[0].tolist() == [*LETTERS.encode("ab").tolist(), SAMPLED]
    stream.read(np.array([*LETTERS.encode("ab"), LETTERS.end_id], dtype=np.int32))
    assert (stream.completion().prompt, stream.completion().unknown_characters) == ("AB", ())


def test_uniform_numbers_depend_on_prompt_seed_index_and_position_alone() -> None:
    def numbers(seed: int, index: int, calls: list[int], prompt: str = "") -> list[float]:
        stream = Stream(Request(prompt=prompt, settings=SamplingSpec(seed=seed), index=index), LETTERS)
        return [float(number) for count in calls for number in stream.inputs(count)[1]]

    assert numbers(7, 0, [12]) == numbers(7, 0, [1, 5, 2, 4])
    streams = [
        numbers(seed, index, [12], prompt)
        for seed in (7, 8, 2**63 - 1)
        for index in (0, 1, 64)
        for prompt in ("a", "b")
    ]
    assert len({tuple(stream) for stream in streams}) == 18
    assert generator_of("", seed=7, index=0).random(12, dtype=np.float32).tolist() == numbers(7, 0, [12])


EMOJI = Vocabulary(unit="characters", symbols=tuple(sorted({*map(ord, "ab👩👧🇮🇱"), 0x301, 0x200D})))


@pytest.mark.parametrize("num_steps", [1, 4, 50])
@pytest.mark.parametrize("vocabulary", [EMOJI, BYTES])
@pytest.mark.parametrize(
    ("text", "max_new_chars", "completion"),
    [
        ("aba\u0301b", 3, "ab"),
        ("aba\u0301b", 4, "aba\u0301"),
        ("ab👩\u200d👧b", 3, "ab"),
        ("ab👩\u200d👧b", 4, "ab"),
        ("ab👩\u200d👧b", 5, "ab👩\u200d👧"),
        ("a🇮🇱🇮🇱", 4, "a🇮🇱"),
        ("ab👩\u200d👧", 5, "ab👩\u200d👧"),
    ],
)
def test_the_limit_cuts_no_grapheme(
    text: str, max_new_chars: int, completion: str, vocabulary: Vocabulary, num_steps: int
) -> None:
    drawn = text if vocabulary is EMOJI else text.encode()
    finished = finish(drawn, SamplingSpec(max_new_chars=max_new_chars), vocabulary=vocabulary, num_steps=num_steps)
    assert (finished.completion, finished.finish_reason) == (completion, "length")


@pytest.mark.parametrize(
    ("condition", "controls"), [({}, [0, 0]), ({"stars": 5}, [2, 0]), ({"label": "1", "category": "tea"}, [1, 1])]
)
def test_controls_are_read_before_the_prompt(condition: dict[str, object], controls: list[int]) -> None:
    stream = Stream(Request(prompt="ab", settings=SamplingSpec(), condition=condition), CONDITIONED)
    opening = [*CONDITIONED.control_ids(controls), *CONDITIONED.encode("ab")]
    forced, _ = stream.inputs(8)
    assert forced.tolist() == [*opening, *[SAMPLED] * 4]
    stream.read(np.array([*opening, *CONDITIONED.encode("chd"), CONDITIONED.end_id], np.int32))
    completion = stream.completion()
    assert (completion.completion, completion.condition) == ("chd", condition)


def test_conditions_seed_the_generator_whatever_their_name() -> None:
    def uniforms(**condition: object) -> list[float]:
        request = Request(prompt="ab", settings=SamplingSpec(), condition=condition)
        return Stream(request, CONDITIONED).inputs(5)[1].tolist()

    unconditioned = generator_of("ab", seed=0, index=0).random(5, dtype=np.float32).tolist()
    assert uniforms() == uniforms(label="none") == unconditioned
    assert uniforms(label="1") == uniforms(stars=1) != unconditioned
    assert uniforms(label="5") not in (uniforms(label="1"), unconditioned)


def test_an_unknown_condition_is_refused() -> None:
    with pytest.raises(UserError, match=r"the condition label='3' .* the values are 1, 5, or none"):
        Stream(Request(prompt="", settings=SamplingSpec(), condition={"stars": 3}), CONDITIONED)
    with pytest.raises(UserError, match=r"has no conditions; see corpus\.condition_on"):
        Stream(Request(prompt="", settings=SamplingSpec(), condition={"stars": 3}), LETTERS)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 9])
def test_completions_are_unmarked_however_the_ids_arrive(num_steps: int) -> None:
    rules = ("mark_all_capitals", "mark_capitals")
    vocabulary = Vocabulary.from_counts(
        dict.fromkeys(map(ord, "abcdefgh " + ALL_CAPITALS + CAPITAL), 1), unit="characters"
    )
    codec = TextCodec.of_marks(rules)

    def completed(prompt: str, marked: str, **settings: Any) -> str:
        request = Request(prompt=prompt, settings=SamplingSpec(**settings))
        read = mark(prompt, rules)
        stream = Stream(request, vocabulary, codec=codec)
        ids = [*vocabulary.encode(read), *vocabulary.encode(marked), *[vocabulary.end_id] * num_steps]
        for start in range(0, len(ids), num_steps):
            stream.read(np.array(ids[start : start + num_steps], np.int32))
            stream.inputs(num_steps)
            if stream.finish_reason is not None:
                break
        return stream.completion().completion

    assert completed("", f"{CAPITAL}abe {ALL_CAPITALS}bad") == "Abe BAD"
    assert completed("a BE", f"ad{ALL_CAPITALS}") == "AD"  # The all-capitals word of the prompt continues.
    assert (
        completed("", f"{CAPITAL}a{CAPITAL}b{CAPITAL}c", max_new_chars=2) == "AB"
    )  # Marks do not count towards the limit.
    assert completed("", f"a {ALL_CAPITALS}bad egg", stop=("AD",)) == "a B"


@pytest.mark.parametrize(("stop", "completion"), [("The End", "abc "), ("ABC", ""), ("É", "abc the end")])
def test_stop_texts_are_written_as_the_corpus_is(stop: str, completion: str) -> None:
    vocabulary = Vocabulary.from_counts(dict.fromkeys(map(ord, "abcdefghnté "), 1), unit="characters")
    codec = TextCodec(clean=lambda text: unicodedata.normalize("NFC", text).lower())
    stream = Stream(Request(prompt="", settings=SamplingSpec(stop=(stop,))), vocabulary, codec=codec)
    stream.read(np.array([*vocabulary.encode("abc the endé"), vocabulary.end_id], np.int32))
    assert stream.completion().completion == completion


def test_stop_texts_are_searched_in_the_unmarked_text() -> None:
    rules = ("mark_capitals",)
    vocabulary = Vocabulary.from_counts(dict.fromkeys(map(ord, "abc " + CAPITAL), 1), unit="characters")
    codec = TextCodec.of_marks(rules)
    stream = Stream(Request(prompt="", settings=SamplingSpec(stop=("B",))), vocabulary, codec=codec)
    stream.read(vocabulary.encode(mark("ab cB", rules)).astype(np.int32))
    assert (stream.completion().completion, stream.completion().finish_reason) == ("ab c", "stop")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(prompt="aX", settings=SamplingSpec()), "prompt"),
        (Request(prompt="", settings=SamplingSpec(), condition={"stars": 3}), "condition"),
        (Request(prompt="", settings=SamplingSpec(stop=("a", "\x00"))), "stop"),
        (Request(prompt="", settings=SamplingSpec(stop=("\ud83d",))), "stop"),
    ],
)
def test_a_refused_request_names_its_field(request_: Request, field: str) -> None:
    codec = TextCodec(clean=lambda text: text.replace("\x00", ""))
    with pytest.raises(RefusedFieldError) as refused:
        Stream(request_, JOINED, codec=codec)
    assert refused.value.field == field
    assert pickle.loads(pickle.dumps(refused.value)).field == field  # noqa: S301 (our own bytes)
