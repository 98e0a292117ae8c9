"""What a recipe's run says: each figure as it was published, as our faithful version gives it, and as our best does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


class DataAbsentError(Exception):
    """A corpus that the recipe needs is not on this machine; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure of a recipe."""

    name: str
    """What is measured, with its unit (`test bits per character`, `accuracy on IMDb`)."""
    published: str | None = None
    """The recipe's own figure, as its source states it; None where it gave none."""
    faithful: float | None = None
    """The same recipe run here."""
    best: float | None = None
    """Our own version on the same data."""
    better: str = "lower"
    """Which way is better: `lower` or `higher`."""


@dataclass(frozen=True, kw_only=True)
class RecipeResult:
    """All figures of a recipe's run; the first one stands in the table."""

    recipe: str
    figures: tuple[Figure, ...]
    seconds: float
    """Wall time of the whole run."""
    scale: float
    """1.0 is the recipe's full length."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else was measured: curves, samples, settings."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as a JSON-ready dictionary."""
        return dataclasses.asdict(self)
