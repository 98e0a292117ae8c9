"""The result of a recipe: each figure as published, from our faithful version, and from our best version."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


class DataAbsentError(Exception):
    """A corpus that the recipe needs is missing on this machine; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure of a recipe."""

    name: str
    """The measured quantity, with its unit (`test bits per character`, `accuracy on IMDb`)."""
    published: str | None = None
    """The recipe's own figure, as stated by its source, or None."""
    faithful: float | None = None
    """The figure of the same recipe, run here."""
    best: float | None = None
    """The figure of our own version on the same data."""
    better: str = "lower"
    """Whether `lower` or `higher` is better."""


@dataclass(frozen=True, kw_only=True)
class RecipeResult:
    """All figures of a recipe's run, the most important one first."""

    recipe: str
    figures: tuple[Figure, ...]
    seconds: float
    """Wall time of the whole run."""
    scale: float
    """1.0 is the recipe's full length."""
    details: dict[str, Any] = field(default_factory=dict)
    """Other measurements: curves, samples, settings."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as JSON values."""
        return dataclasses.asdict(self)
