"""Determines which columns of a source hold the text, label and category."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from textgen.corpus.nulls import MISSING_VALUES, is_null
from textgen.errors import UserError
from textgen.spec import CorpusSpec

TEXT_COLUMNS = (
    "review_body", "reviewtext", "review_text", "text", "review", "sentence", "sentimenttext", "body", "content",
    "full_text", "tweet", "comment", "document",
)  # fmt: skip
LABEL_COLUMNS = ("star_rating", "overall", "rating", "label", "sentiment", "stars", "score", "polarity")
CATEGORY_COLUMNS = ("product_category", "main_category", "category", "source")
ROLES = ("text", "label", "category")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE_NUMBER = re.compile(r"[+-]?\d+\.0*")
_PARTITION = re.compile(r"([A-Za-z_][\w.\- ]*)=(.*)", re.DOTALL)

BY_SETTING = "named by corpus.{role}_column"
BY_NAME = "recognised by its name"
BY_FOLDER = "recognised by the name of a folder"


class UnknownColumnsError(UserError):
    """No column is recognised as text, or a column named by the spec does not exist."""


class RepeatedColumnError(UserError):
    """Several columns have the requested name."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns to read."""

    text: str
    """Empty if the file is plain text without columns."""
    label: str | None = None
    category: str | None = None
    chosen_by: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Reason for the choice, by role."""


def is_headerless(spec: CorpusSpec) -> bool:
    """Returns whether the spec gives the text column as a number, which is a position unless a column has that name."""
    return spec.text_column is not None and spec.text_column.isdecimal()


def positions(
    spec: CorpusSpec, *, num_columns: int, file_name: str, partitions: Sequence[str] = ()
) -> tuple[int, int | str | None, int | str | None]:
    """Returns the positions of text, label and category in a file without a header line.

    A partition column is returned by name.

    Raises:
        UserError: A position is out of range, or label or category is given by name.
    """

    def place(role: str, value: str) -> int:
        if value.isdecimal() and int(value) < num_columns:
            return int(value)
        raise UserError(
            f"corpus.{role}_column is {value!r} but {file_name} has columns 0 to {num_columns - 1}; if "
            "corpus.text_column is a position, the file has no header line and the other columns are positions too"
        )

    def other(role: str, value: str | None, known: Sequence[str]) -> int | str | None:
        if value is None:
            return _first_known(partitions, known)
        return value if value in partitions else place(role, value)

    return (
        place("text", spec.text_column or ""),
        other("label", spec.label_column, LABEL_COLUMNS),
        other("category", spec.category_column, CATEGORY_COLUMNS),
    )


def recognise(
    names: Sequence[str],
    spec: CorpusSpec,
    *,
    file_name: str,
    partitions: Sequence[str] = (),
    has_text_column: bool = True,
) -> Columns:
    """Returns the columns to read: those that the spec names, otherwise those with a known name.

    Args:
        names: Columns of the file.
        spec: May name the columns.
        file_name: Used in messages.
        partitions: Columns whose value is given by a folder name. Columns of the file take precedence.
        has_text_column: False if the file is plain text without columns.

    Raises:
        UserError: No text column is recognised, a column named by the spec does not exist, or several columns have the
            requested name.
    """
    folders = [name for name in partitions if name not in names]
    listed = ", ".join(repr(name if len(name) <= 40 else name[:37] + "...") for name in (*names, *folders)) or "none"
    wanted = ROLES if has_text_column else ROLES[1:]
    for role in wanted:
        named = getattr(spec, f"{role}_column")
        if named is not None and named not in names and named not in folders and has_text_column:
            raise UnknownColumnsError(f"corpus.{role}_column is {named!r} but the columns of {file_name} are {listed}")
    text = (spec.text_column or _first_known(names, TEXT_COLUMNS)) if has_text_column else ""
    if text is None:
        raise UnknownColumnsError(
            f"no column of {file_name} is recognised as text; its columns are {listed}: "
            "name one with --set corpus.text_column=NAME (or its position, from 0, if the file has no header line)"
        )
    others = [name for name in (*names, *folders) if name != text]
    columns = Columns(
        text=text,
        label=_named(spec.label_column, others, text) or _first_known(others, LABEL_COLUMNS),
        category=_named(spec.category_column, others, text) or _first_known(others, CATEGORY_COLUMNS),
        chosen_by={},
    )
    chosen_by = {}
    for role in wanted:
        name = getattr(columns, role)
        if name is not None:
            is_named = getattr(spec, f"{role}_column") == name
            _check_unique(name, names, role=role, file_name=file_name, is_named=is_named)
            chosen_by[role] = BY_SETTING.format(role=role) if is_named else BY_NAME if name in names else BY_FOLDER
    return Columns(text=text, label=columns.label, category=columns.category, chosen_by=chosen_by)


def _named(name: str | None, others: Sequence[str], text: str) -> str | None:
    return name if name in others or name == text else None


def _check_unique(name: str, names: Sequence[str], *, role: str, file_name: str, is_named: bool) -> None:
    same = [place for place, other in enumerate(names) if other == name or (not is_named and _like(other, name))]
    if len(same) > 1:
        places = " and ".join(map(str, same))
        are_equal = len({names[place] for place in same}) == 1
        advice = "rename one of them in the header line" if are_equal else f"set corpus.{role}_column to one of them"
        raise RepeatedColumnError(
            f"{file_name} has {len(same)} columns named {name!r}, at the positions {places} (from 0), so the name is "
            f"ambiguous; {advice}"
        )


def _like(one: str, other: str) -> bool:
    return one.strip().lower() == other.strip().lower()


def partitions_of(path: str) -> dict[str, str | None]:
    """Returns the partition columns in a path's folder names, as Hive and Spark write them: `year=2014/`."""
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        pair = _PARTITION.fullmatch(folder)
        if pair is not None:
            value = unquote(pair[2])
            found[unquote(pair[1])] = None if value in (HIVE_NULL, "") else value
    return found


def value_text(value: object) -> str | None:
    """Returns a label or category as text that is the same for every format: whole numbers have no decimal point."""
    if isinstance(value, str):
        text = value
    elif is_null(value):
        return None
    else:
        text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    if text in MISSING_VALUES:
        return None
    return text.partition(".")[0] if _WHOLE_NUMBER.fullmatch(text) else text


def _first_known(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_lower = {name.strip().lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in known if name in by_lower), None)
