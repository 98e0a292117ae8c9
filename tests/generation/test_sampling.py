from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

PROBABILITIES = np.array([0.5, 0.25, 0.125, 0.0625, 0.0625])
"""Of the ids 0 to 4; the last two are equally likely."""


NUM_ROWS = 1024
"""Rows of every call, so that one compilation serves all tests with the same number of ids."""


@functools.cache
def compiled() -> Any:
    """Returns `sample` as the loop compiles it."""
    import tensorflow as tf

    from textgen.generation.sampling import sample

    return tf.function(sample, jit_compile=True)


def draw(uniforms: Any, *, logits: Any = None, temperature: Any = 1.0, top_k: Any = 5, top_p: Any = 1.0) -> list[int]:
    """Draws one id per uniform number; every row has the same logits, and its own settings where these are lists."""
    logits = np.log(PROBABILITIES) if logits is None else np.asarray(logits)
    num_drawn = len(uniforms)

    def rows(values: Any, dtype: type) -> Any:
        padded = np.empty(NUM_ROWS, dtype=dtype)
        padded[:num_drawn] = values
        padded[num_drawn:] = padded[num_drawn - 1]
        return padded

    drawn = compiled()(
        np.broadcast_to(logits, (NUM_ROWS, len(logits))).astype(np.float32),
        uniform=rows(uniforms, np.float32),
        temperature=rows(temperature, np.float32),
        top_k=rows(top_k, np.int32),
        top_p=rows(top_p, np.float32),
    )
    ids: list[int] = drawn.numpy()[:num_drawn].tolist()
    return ids


def shares(**settings: Any) -> Any:
    """Returns how often each id is drawn over an even grid of uniform numbers: its probability, to 1/1024."""
    grid = (np.arange(NUM_ROWS) + 0.5) / NUM_ROWS
    return np.bincount(draw(grid, **settings), minlength=len(settings.get("logits", PROBABILITIES))) / NUM_ROWS


def test_uniform_numbers_fall_into_the_ids_intervals() -> None:
    assert draw([0.0, 0.49, 0.51, 0.74, 0.76, 0.87, 0.88, 0.93, 0.94, 0.999]) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_every_id_has_its_probability() -> None:
    np.testing.assert_allclose(shares(), PROBABILITIES, atol=1e-3)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(temperature: float) -> None:
    expected = PROBABILITIES ** (1 / temperature)
    np.testing.assert_allclose(shares(temperature=temperature), expected / expected.sum(), atol=2e-3)


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1e-45])
def test_no_temperature_is_the_likeliest_id(temperature: float) -> None:
    assert set(draw([0.0, 0.5, 0.999], logits=[1.0, 3.0, 2.0], temperature=temperature, top_k=3)) == {1}


def test_greedy_takes_the_first_of_equals() -> None:
    assert draw([0.9], logits=[1.0, 3.0, 3.0], temperature=0.0, top_k=3) == [1]


def test_a_huge_temperature_makes_all_equal() -> None:
    np.testing.assert_allclose(shares(temperature=1e30), np.full(5, 0.2), atol=1e-3)


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_the_likeliest_and_of_equals_the_first(top_k: int, kept: list[int]) -> None:
    expected = np.where(np.isin(np.arange(5), kept), PROBABILITIES, 0)
    np.testing.assert_allclose(shares(top_k=min(top_k, 5)), expected / expected.sum(), atol=1e-3)


def test_top_k_goes_by_probability_not_by_id() -> None:
    np.testing.assert_allclose(shares(logits=np.log([0.1, 0.2, 0.3, 0.4]), top_k=2), [0, 0, 3 / 7, 4 / 7], atol=1e-3)


@pytest.mark.parametrize(
    ("top_p", "num_kept"), [(1e-45, 1), (1e-6, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.9, 4), (0.94, 5), (1.0, 5)]
)
def test_top_p_keeps_the_fewest_that_have_the_share(top_p: float, num_kept: int) -> None:
    expected = np.where(np.arange(5) < num_kept, PROBABILITIES, 0)
    np.testing.assert_allclose(shares(top_p=top_p), expected / expected.sum(), atol=1e-3)


def test_top_p_is_a_share_of_what_top_k_leaves() -> None:
    # The first of 0.5, 0.25, 0.125 has 57 % of their sum: enough for 0.55 of the sum, but not for 0.55 of everything.
    assert set(draw([0.0, 0.5, 0.999], top_k=3, top_p=0.55)) == {0}
    assert set(draw([0.0, 0.5, 0.999], top_k=5, top_p=0.55)) == {0, 1}


def test_each_row_has_its_own_settings() -> None:
    uniforms, temperatures = [0.99] * 5, [0.0, 1.0, 1.0, 1.0, 1.0]
    assert draw(uniforms, temperature=temperatures, top_k=[5, 1, 2, 5, 5], top_p=[1, 1, 1, 0.8, 1]) == [0, 0, 1, 2, 4]


def test_a_neighbours_filter_does_not_change_a_row() -> None:
    rng = np.random.default_rng(3)
    logits, uniforms = rng.normal(size=57), rng.random(64)
    alone = draw(uniforms, logits=logits, top_k=57)
    beside = draw(uniforms, logits=logits, top_k=[57] * 63 + [3], top_p=[1.0] * 62 + [0.2, 1.0])
    assert beside[:62] == alone[:62]
    assert beside[62:] != alone[62:]


def test_ids_without_weight_are_never_drawn() -> None:
    logits = [-np.inf, 0.0, -np.inf, 0.0, -np.inf]
    largest = np.nextafter(np.float32(1), np.float32(0))
    assert draw([0.0, 0.4999, 0.5, largest], logits=logits) == [1, 1, 3, 3]
    assert draw([0.0, largest], logits=logits, top_k=4) == [1, 3]
    assert draw([largest], logits=[-np.inf, 0.0, -np.inf, -np.inf, -200.0]) in ([1], [4])


def test_settings_of_random_rows_against_plain_numpy() -> None:
    rng = np.random.default_rng(11)
    logits = rng.normal(size=13).round(1)  # Rounded, so that ties occur.
    top_ks, top_ps = rng.integers(1, 14, size=300), rng.choice([0.3, 0.7, 0.95, 1.0], size=300)
    uniforms = rng.random(300, dtype=np.float32)
    assert draw(uniforms, logits=logits, top_k=top_ks, top_p=top_ps) == [
        _by_hand(logits, *row) for row in zip(uniforms, top_ks, top_ps, strict=True)
    ]


def _by_hand(logits: Any, uniform: float, top_k: int, top_p: float) -> int:
    probabilities = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    left = probabilities[order] / probabilities[order].sum()
    kept = sorted(order[np.cumsum(left) - left < top_p])
    cumulative = np.cumsum(probabilities[kept]) / probabilities[kept].sum()
    return int(kept[np.searchsorted(cumulative, uniform, side="right")])
