"""The codebook: each state belongs to the nearest entry of its group, and clusters are separated."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.probing.codebook import PROJECTED_SIZE, Codebook, nearest

NUM_CLUSTERS = 9


def clusters(num_states: int, *, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns states around distant points, and the point of each."""
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(NUM_CLUSTERS, width)) * 10
    around = generator.integers(NUM_CLUSTERS, size=num_states)
    return (points[around] + generator.normal(size=(num_states, width)) * 0.01).astype(np.float32), around


def test_clusters_share_no_entries() -> None:
    states, around = clusters(700, width=12)
    codebook = Codebook.of(states, num_entries=40)
    entries = codebook.entries_of(states)
    assert entries.max() < len(codebook) <= 40 + NUM_CLUSTERS
    owners = {(entry, cluster) for entry, cluster in zip(entries.tolist(), around.tolist(), strict=True)}
    assert len({entry for entry, _ in owners}) == len(owners) > NUM_CLUSTERS


def test_an_entry_is_the_nearest_of_the_nearest_group() -> None:
    states, _ = clusters(300, width=7, seed=1)
    codebook = Codebook.of(states, num_entries=25, seed=2)
    projected = (states - codebook.mean) @ codebook.projection
    for values, entry in zip(projected, codebook.entries_of(states), strict=True):
        group = int(((codebook.groups - values) ** 2).sum(axis=1).argmin())
        start, stop = codebook.starts[group : group + 2]
        distances = ((codebook.entries[start:stop] - values) ** 2).sum(axis=1)
        assert start <= entry < stop
        assert distances[entry - start] <= distances.min() * (1 + 1e-4) + 1e-4


def test_a_wide_state_is_projected_and_a_constant_unit_has_no_effect() -> None:
    states, _ = clusters(400, width=PROJECTED_SIZE + 30)
    states[:, 3] = 5.0
    codebook = Codebook.of(states, num_entries=16)
    assert codebook.projection.shape == (PROJECTED_SIZE + 30, PROJECTED_SIZE)
    moved = states.copy()
    moved[:, 3] += 1e-3
    assert (codebook.entries_of(moved) == codebook.entries_of(states)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_any_number_of_states_makes_a_codebook(num_states: int, num_entries: int, seed: int) -> None:
    states, _ = clusters(num_states, width=5, seed=seed)
    codebook = Codebook.of(states, num_entries=num_entries, seed=seed)
    entries = codebook.entries_of(states)
    assert codebook.starts[0] == 0
    assert codebook.starts[-1] == len(codebook)
    assert (np.diff(codebook.starts) >= 1).all()
    assert entries.shape == (num_states,)
    assert ((entries >= 0) & (entries < len(codebook))).all()


def test_the_first_of_equally_near_centres_is_chosen() -> None:
    centres = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    assert nearest(np.array([[2.0, 0.0], [0.5, 0.5]], dtype=np.float32), centres).tolist() == [0, 0]
