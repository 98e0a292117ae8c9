"""The xz baseline: what is compressed, and what its bits are divided by."""

import lzma
import math

import numpy as np
import pytest

from textgen.evaluation.compression import xz_bits_per_character


def xz_bits(content: bytes) -> int:
    return 8 * len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def test_one_byte_an_end_and_characters_not_bytes() -> None:
    expected = xz_bits("été\nשלום!\n".encode()) / (3 + 1 + 5 + 1)
    assert xz_bits_per_character(["été", "שלום!"]) == pytest.approx(expected)


def test_a_separator_stands_between_documents_only() -> None:
    expected = xz_bits(b"ab -- c -- def") / 14
    assert xz_bits_per_character(["ab", "c", "def"], separator=" -- ") == pytest.approx(expected)


def test_random_letters_cost_their_entropy_and_repetition_almost_nothing() -> None:
    letters = np.random.default_rng(3).integers(0, 16, 20_000)
    noise = "".join("abcdefghijklmnop"[letter] for letter in letters)
    assert 4.0 < xz_bits_per_character([noise]) < 4.6
    assert xz_bits_per_character(["abcdefgh"] * 3_000) < 0.1


def test_of_no_text_it_is_not_defined() -> None:
    assert math.isnan(xz_bits_per_character([]))
