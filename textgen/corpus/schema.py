"""Which columns of a source hold text, label and category."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from textgen.errors import UserError
from textgen.spec import CorpusSpec

TEXT_COLUMNS = (
    "review_body", "reviewtext", "review_text", "text", "review", "sentence", "sentimenttext", "body", "content",
    "full_text", "tweet", "comment", "document",
)  # fmt: skip
LABEL_COLUMNS = ("star_rating", "overall", "rating", "label", "sentiment", "stars", "score", "polarity")
CATEGORY_COLUMNS = ("product_category", "main_category", "category", "source")
_WHOLE_NUMBER = re.compile(r"[+-]?\d+\.0*")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns that are read."""

    text: str
    label: str | None = None
    category: str | None = None


def is_headerless(spec: CorpusSpec) -> bool:
    """Says whether the spec names the text's column by its position, which means that no header line stands first."""
    return spec.text_column is not None and spec.text_column.isdecimal()


def positions(spec: CorpusSpec, *, num_columns: int, file_name: str) -> tuple[int, int | None, int | None]:
    """Returns the places of text, label and category in a file without a header line.

    Raises:
        UserError: a position lies beyond the columns, or label or category is given by name.
    """

    def place(role: str, value: str) -> int:
        if value.isdecimal() and int(value) < num_columns:
            return int(value)
        raise UserError(
            f"corpus.{role}_column is {value!r} but {file_name} has columns 0 to {num_columns - 1}; where "
            "corpus.text_column is a position there is no header line, and the others are positions too"
        )

    return (
        place("text", spec.text_column or ""),
        None if spec.label_column is None else place("label", spec.label_column),
        None if spec.category_column is None else place("category", spec.category_column),
    )


def recognise(names: Sequence[str], spec: CorpusSpec, *, file_name: str) -> Columns:
    """Returns the columns to read among `names`: those that the spec names, else those with a known name.

    Raises:
        UserError: the text's column is not recognised, or a column that the spec names is not there.
    """
    listed = ", ".join(repr(name if len(name) <= 40 else name[:37] + "...") for name in names) or "none"
    for role in ("text", "label", "category"):
        named = getattr(spec, f"{role}_column")
        if named is not None and named not in names:
            raise UserError(f"corpus.{role}_column is {named!r} but the columns of {file_name} are {listed}")
    text = spec.text_column or _first_known(names, TEXT_COLUMNS)
    if text is None:
        raise UserError(
            f"no column of {file_name} is known to hold text; its columns are {listed}: "
            "name one by --set corpus.text_column=NAME (or its position, from 0, if the file has no header line)"
        )
    return Columns(
        text=text,
        label=spec.label_column or _first_known([name for name in names if name != text], LABEL_COLUMNS),
        category=spec.category_column or _first_known([name for name in names if name != text], CATEGORY_COLUMNS),
    )


def value_text(value: object) -> str | None:
    """Returns a label or category as text, the same from every format: whole numbers without a decimal point."""
    if value is None or value == "":
        return None
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    return text.partition(".")[0] if _WHOLE_NUMBER.fullmatch(text) else text


def _first_known(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_lower = {name.strip().lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in known if name in by_lower), None)
