"""Tallies: figures by hand, sums of parts, and the cost of UNKNOWN."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.evaluation.tally import Tally, TextSizes
from textgen.windows.vocabulary import END_ID, Vocabulary, codes_of


def vocabulary_of(text: str, *, unit: str = "characters", separator: str | None = None) -> Vocabulary:
    counts = dict.fromkeys(codes_of(text, unit).tolist(), 1)  # type: ignore[arg-type]
    return Vocabulary.from_counts(counts, unit=unit, separator=separator)  # type: ignore[arg-type]


def test_figures_by_hand() -> None:
    tally = Tally(nats=6 * math.log(2), num_ids=4, num_characters=3, num_bytes=6, num_correct=1, num_unknown=2)
    assert tally.loss == pytest.approx(2 * math.log(2))
    assert tally.bits_per_character == pytest.approx(2)
    assert tally.bits_per_byte == pytest.approx(1)
    assert tally.perplexity == pytest.approx(4)
    assert (tally.accuracy, tally.unknown_rate) == (0.25, 0.5)


def test_a_perplexity_that_overflows_is_infinite() -> None:
    tally = Tally(nats=800.0, num_ids=1, num_characters=1, num_bytes=1)
    assert (tally.loss, tally.perplexity) == (800.0, math.inf)


def test_without_text_figures_are_nan() -> None:
    empty = Tally()
    figures = (empty.loss, empty.bits_per_character, empty.bits_per_byte, empty.accuracy, empty.unknown_rate)
    assert all(map(math.isnan, figures))


@given(st.lists(st.tuples(st.floats(0, 9), *[st.integers(0, 99)] * 5), max_size=5))
def test_tallies_add_up_field_by_field(parts: list[tuple[float, int, int, int, int, int]]) -> None:
    names = list(asdict(Tally()))
    total = sum((Tally(**dict(zip(names, part, strict=True))) for part in parts), Tally())
    assert list(asdict(total).values()) == pytest.approx(
        [sum(column) for column in zip(*parts, strict=True)] or [0] * 6
    )


@pytest.mark.parametrize("unit", ["characters", "bytes"])
@given(documents=st.lists(st.text(alphabet="aé\N{GRINNING FACE}ש ", max_size=8), max_size=4))
def test_characters_and_bytes_include_one_per_end(unit: str, documents: list[str]) -> None:
    vocabulary = vocabulary_of("aé\N{GRINNING FACE}ש ", unit=unit)
    ids = np.array([i for text in documents for i in [*vocabulary.encode(text), END_ID]], dtype=np.uint8)
    tally = TextSizes(vocabulary).tally(ids, nats=1.5, num_correct=2)
    assert tally.num_characters == sum(len(text) + 1 for text in documents)
    assert tally.num_bytes == sum(len(text.encode()) + 1 for text in documents)
    assert (tally.num_ids, tally.nats, tally.num_correct, tally.num_unknown) == (len(ids), 1.5, 2, 0)


def test_unknown_includes_the_cost_of_choosing_among_unseen_characters() -> None:
    vocabulary = vocabulary_of("ab")
    tally = TextSizes(vocabulary).tally(vocabulary.encode("a?b!"), nats=10.0)
    assert tally.num_unknown == 2
    assert tally.nats == pytest.approx(10 + 2 * math.log(0x110000 - 2048 - 2))
    assert tally.num_bytes == 2 + 2 * len("\N{REPLACEMENT CHARACTER}".encode())


def test_unknown_bytes_are_bytes() -> None:
    vocabulary = vocabulary_of("a", unit="bytes")
    tally = TextSizes(vocabulary).tally(vocabulary.encode("ab"), nats=0.0)
    assert (tally.num_characters, tally.num_bytes) == (2, 2)
    assert tally.nats == pytest.approx(math.log(255))


def test_with_a_separator_no_id_is_unknown_or_end() -> None:
    vocabulary = vocabulary_of("aé", separator=" ")
    tally = TextSizes(vocabulary).tally(vocabulary.encode(" é"), nats=0.5)
    assert (tally.num_unknown, tally.num_characters, tally.num_bytes, tally.nats) == (0, 2, 3, 0.5)
