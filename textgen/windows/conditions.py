"""What documents are conditioned on: columns whose value is told before each document, by one control id a column."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from textgen.corpus.schema import CATEGORY_COLUMNS, LABEL_COLUMNS, value_text
from textgen.errors import UserError
from textgen.spec import CorpusSpec

Column = Literal["label", "category"]
NONE = "none"
"""Names the control of documents whose value is not told."""
KNOWN_NAMES: Mapping[Column, Sequence[str]] = {"label": LABEL_COLUMNS, "category": CATEGORY_COLUMNS}
MAX_VALUES = 1000
"""Of one column: more are not told apart by few documents each, but grow the vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One column, and its controls: `none`, then one for each value."""

    column: Column
    values: tuple[str, ...]
    """The distinct values of `train`, sorted. Any other is told as `none`."""
    source_column: str | None = None
    """The column's name in the sources, where the spec has one."""

    @property
    def num_controls(self) -> int:
        """Ids that the column takes."""
        return 1 + len(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` reads: JSON-ready."""
        return {"column": self.column, "source_column": self.source_column, "values": list(self.values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Condition:
        """Builds a condition from `to_dict`'s result."""
        return cls(
            column=values["column"], source_column=values["source_column"], values=tuple(map(str, values["values"]))
        )

    def is_named(self, name: str) -> bool:
        """Says whether people mean this column: by `label`, by its name in the sources, or by a usual one (`stars`)."""
        return name in (self.column, self.source_column) or name.lower() in KNOWN_NAMES[self.column]

    def control_of(self, value: object) -> int:
        """Returns which of its controls tells a value; 0 is `none`.

        Raises:
            UserError: no document of `train` had the value.
        """
        text = value_text(value)
        if text in self.values:
            return 1 + self.values.index(text)
        if text in (None, NONE):
            return 0
        raise UserError(
            f"the condition {self.column}={text!r} was told before no document of train; "
            f"the values are {', '.join(self.values)}, or {NONE}"
        )


def conditions_of(values: Collection[tuple[str, str]], spec: CorpusSpec) -> tuple[Condition, ...]:
    """Returns the conditions of a corpus, of whose `train` the distinct (column, value) are given.

    Raises:
        UserError: a column has no value at all, or too many.
    """
    conditions = []
    for column in spec.condition_on:
        found = sorted(value for name, value in values if name == column)
        if not found:
            raise UserError(
                f"corpus.condition_on names the {column} but no document of train has one; "
                f"name its column by --set corpus.{column}_column=NAME, or leave it out of corpus.condition_on"
            )
        if len(found) > MAX_VALUES:
            raise UserError(
                f"corpus.condition_on names the {column}, which has {len(found):,} values in train (such as "
                f"{found[0]!r}); at most {MAX_VALUES:,} can be told apart: name another corpus.{column}_column"
            )
        source_column = spec.label_column if column == "label" else spec.category_column
        conditions.append(Condition(column=column, values=tuple(found), source_column=source_column))
    return tuple(conditions)


def controls_of(conditions: Sequence[Condition], told: Mapping[str, object]) -> list[int]:
    """Returns the control of each condition where values are told by name; `none` for those that are not.

    Raises:
        UserError: a name is no condition's, two are the same one's, or a value is not known.
    """
    controls = [0] * len(conditions)
    named: dict[int, str] = {}
    for name, value in told.items():
        places = [place for place, condition in enumerate(conditions) if condition.is_named(name)]
        if not places:
            columns = " and ".join(condition.column for condition in conditions)
            known = f"it was trained on {columns}" if columns else "it was trained without; see corpus.condition_on"
            raise UserError(f"the condition {name!r} is not one that the model knows: {known}")
        if places[0] in named:
            raise UserError(f"the conditions {named[places[0]]!r} and {name!r} are the same; give one of them")
        named[places[0]] = name
        controls[places[0]] = conditions[places[0]].control_of(value)
    return controls
