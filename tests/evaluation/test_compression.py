"""The xz baseline: the compressed text, and the divisor of its bits."""

import lzma
import math

import numpy as np
import pytest

from textgen.evaluation.compression import xz_bits_per_character


def xz_bits(content: bytes) -> int:
    return 8 * len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def test_each_end_is_one_byte_and_the_divisor_is_characters() -> None:
    expected = xz_bits("été\nשלום!\n".encode()) / (3 + 1 + 5 + 1)
    assert xz_bits_per_character(["été", "שלום!"]) == pytest.approx(expected)


def test_separators_only_join_documents() -> None:
    expected = xz_bits(b"ab -- c -- def") / 14
    assert xz_bits_per_character(["ab", "c", "def"], separator=" -- ") == pytest.approx(expected)


def test_random_letters_cost_their_entropy_and_repetition_almost_nothing() -> None:
    letters = np.random.default_rng(3).integers(0, 16, 20_000)
    noise = "".join("abcdefghijklmnop"[letter] for letter in letters)
    assert 4.0 < xz_bits_per_character([noise]) < 4.6
    assert xz_bits_per_character(["abcdefgh"] * 3_000) < 0.1


def test_without_text_it_is_nan() -> None:
    assert math.isnan(xz_bits_per_character([]))
