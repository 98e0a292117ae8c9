"""Conditions: columns whose value precedes each document as one control id per column."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from textgen.corpus.schema import CATEGORY_COLUMNS, LABEL_COLUMNS, value_text
from textgen.errors import UserError
from textgen.spec import CorpusSpec

Column = Literal["label", "category"]
NONE = "none"
"""Value of the control for documents that are not conditioned."""
KNOWN_NAMES: Mapping[Column, Sequence[str]] = {"label": LABEL_COLUMNS, "category": CATEGORY_COLUMNS}
MAX_VALUES = 1000
"""Most values of one column. With more, each has too few documents to be learned, and the vocabulary grows."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One column and its controls: `none`, then one for each value."""

    column: Column
    values: tuple[str, ...]
    """The distinct values in `train`, sorted. Documents with other values are conditioned on `none`."""
    source_column: str | None = None
    """The column's name in the sources, if the spec names it."""

    @property
    def num_controls(self) -> int:
        """Number of control ids of the column."""
        return 1 + len(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values for `from_dict`."""
        return {"column": self.column, "source_column": self.source_column, "values": list(self.values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Condition:
        """Builds a condition from `to_dict`'s result."""
        return cls(
            column=values["column"], source_column=values["source_column"], values=tuple(map(str, values["values"]))
        )

    def is_named(self, name: str) -> bool:
        """Returns whether a name refers to this column: `label`, its name in the sources, or a common one (`stars`)."""
        return name in (self.column, self.source_column) or name.lower() in KNOWN_NAMES[self.column]

    def control_of(self, value: object) -> int:
        """Returns the index of the control for a value; 0 is `none`.

        Raises:
            UserError: No document of `train` has the value.
        """
        text = value_text(value)
        if text in self.values:
            return 1 + self.values.index(text)
        if text in (None, NONE):
            return 0
        raise UserError(
            f"the condition {self.column}={text!r} does not occur in train; "
            f"the values are {', '.join(self.values)}, or {NONE}"
        )


def conditions_of(values: Collection[tuple[str, str]], spec: CorpusSpec) -> tuple[Condition, ...]:
    """Returns the conditions of a corpus, given the distinct (column, value) pairs of `train`.

    Raises:
        UserError: A column has no values, or too many.
    """
    conditions = []
    for column in spec.condition_on:
        found = sorted(value for name, value in values if name == column)
        if not found:
            raise UserError(
                f"corpus.condition_on contains {column} but no document of train has a {column}; "
                f"name its column with --set corpus.{column}_column=NAME, or remove it from corpus.condition_on"
            )
        if len(found) > MAX_VALUES:
            raise UserError(
                f"corpus.condition_on contains {column}, which has {len(found):,} values in train (such as "
                f"{found[0]!r}); at most {MAX_VALUES:,} are supported: set corpus.{column}_column to another column"
            )
        source_column = spec.label_column if column == "label" else spec.category_column
        conditions.append(Condition(column=column, values=tuple(found), source_column=source_column))
    return tuple(conditions)


def controls_of(conditions: Sequence[Condition], values: Mapping[str, object]) -> list[int]:
    """Returns the control index of each condition for the given values by name; `none` for missing ones.

    Raises:
        UserError: A name or value is unknown, or two names refer to the same condition.
    """
    controls = [0] * len(conditions)
    named: dict[int, str] = {}
    for name, value in values.items():
        places = [place for place, condition in enumerate(conditions) if condition.is_named(name)]
        if not places:
            columns = " and ".join(condition.column for condition in conditions)
            known = f"is conditioned on {columns}" if columns else "has no conditions; see corpus.condition_on"
            raise UserError(f"unknown condition {name!r}: the model {known}")
        if places[0] in named:
            raise UserError(f"the conditions {named[places[0]]!r} and {name!r} are the same; give only one of them")
        named[places[0]] = name
        controls[places[0]] = conditions[places[0]].control_of(value)
    return controls
