"""A codebook of a language model's states: maps each state to an entry, so that states can be counted.

States are standardized, projected on their principal components, and clustered twice: into groups, then each group into
entries. The entry of a state is the nearest one in the nearest group. Two small searches replace a large one, which
saves a factor of about 60 in arithmetic with 16,384 entries, both to build and to use the codebook (a vocabulary tree,
Nistér and Stewénius 2006).

Letters: N states, F values of a state, P values of a projected one, G groups, E entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

PROJECTED_SIZE = 64
"""P: covers 83 % of the variance of the states of 128 units (h and c)."""
ITERATIONS = 8
"""Iterations of k-means; further ones hardly move the centres."""


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """The projection of states, and the centres of groups and entries."""

    mean: Floats
    """[F]"""
    projection: Floats
    """Standardizes and projects, [F, P]."""
    groups: Floats
    """Centres of the groups, [G, P]."""
    entries: Floats
    """Centres of the entries, group by group, [E, P]."""
    starts: Numbers
    """Index of each group's first entry, followed by E, [G + 1]."""

    def __len__(self) -> int:
        """Returns E."""
        return len(self.entries)

    @classmethod
    def of(cls, states: Floats, *, num_entries: int, seed: int = 0) -> Codebook:
        """Builds a codebook with about `num_entries` entries from states, [N, F]; fewer states give fewer entries."""
        generator = np.random.default_rng(seed)
        mean, spread = states.mean(axis=0), states.std(axis=0) + 1e-3  # Keeps constant units from dominating.
        standardized = (states - mean) / spread
        _, vectors = np.linalg.eigh(standardized.T @ standardized / len(states))  # In ascending order of variance.
        projection = (vectors[:, ::-1][:, :PROJECTED_SIZE] / spread[:, None]).astype(np.float32)
        projected = (states - mean) @ projection
        groups = _k_means(projected, max(1, round(num_entries**0.5)), generator)
        in_groups = _partition(nearest(projected, groups), len(groups))
        entries = [
            _k_means(projected[members], max(1, len(members) * num_entries // len(projected)), generator)
            if len(members)
            else groups[number : number + 1]
            for number, members in enumerate(in_groups)
        ]
        starts = np.cumsum([0, *map(len, entries)])
        return cls(mean=mean, projection=projection, groups=groups, entries=np.concatenate(entries), starts=starts)

    def entries_of(self, states: Floats) -> Numbers:
        """Returns the index of the entry of each state [N, F], [N]."""
        projected = np.asarray((states - self.mean) @ self.projection, dtype=np.float32)
        found = np.zeros(len(projected), dtype=np.int64)
        for number, members in enumerate(_partition(nearest(projected, self.groups), len(self.groups))):
            start, stop = self.starts[number : number + 2]
            found[members] = start + nearest(projected[members], self.entries[start:stop])
        return found


def nearest(values: Floats, centres: Floats) -> Numbers:
    """Returns the index of the nearest centre [G, P] to each value [N, P], [N]; the first one in a tie."""
    places: Numbers = (values @ centres.T - (centres * centres).sum(axis=1) / 2).argmax(axis=1)
    return places


def _partition(numbers: Numbers, num_parts: int) -> list[Numbers]:
    """Returns the ascending indices of each part number from 0."""
    return np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers, minlength=num_parts))[:-1])


def _k_means(values: Floats, num_centres: int, generator: np.random.Generator) -> Floats:
    """Runs Lloyd's algorithm from randomly drawn values; a centre without members stays where it is."""
    centres = values[generator.choice(len(values), min(num_centres, len(values)), replace=False)]
    for _ in range(ITERATIONS):
        for number, members in enumerate(_partition(nearest(values, centres), len(centres))):
            if len(members):
                centres[number] = values[members].mean(axis=0)
    return centres
