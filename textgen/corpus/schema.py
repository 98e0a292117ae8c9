"""Which columns of a source hold text, label and category."""

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
    """No column is known to hold text, or one that the spec names is not there."""


class RepeatedColumnError(UserError):
    """Two columns have the name that is wanted."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns that are read."""

    text: str
    """Empty where a file has no columns, and is text itself."""
    label: str | None = None
    category: str | None = None
    chosen_by: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Why, by role."""


def is_headerless(spec: CorpusSpec) -> bool:
    """Says whether the spec names the text's column by a number: its position, unless a column has that name."""
    return spec.text_column is not None and spec.text_column.isdecimal()


def positions(
    spec: CorpusSpec, *, num_columns: int, file_name: str, partitions: Sequence[str] = ()
) -> tuple[int, int | str | None, int | str | None]:
    """Returns the places of text, label and category in a file without a header line; a partition keeps its name.

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
    """Returns the columns to read among `names`: those that the spec names, else those with a known name.

    Args:
        names: the file's columns.
        spec: names columns, or None.
        file_name: for messages.
        partitions: columns whose value stands in the name of a folder; the file's own come first.
        has_text_column: says that the file has columns, and is not text itself.

    Raises:
        UserError: the text's column is not recognised, a column that the spec names is not there, or two columns have
            the name that is wanted.
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
            f"no column of {file_name} is known to hold text; its columns are {listed}: "
            "name one by --set corpus.text_column=NAME (or its position, from 0, if the file has no header line)"
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
        advice = "give one of them another name in the header line" if are_equal else f"set corpus.{role}_column to one"
        raise RepeatedColumnError(
            f"{file_name} has {len(same)} columns named {name!r}, at the positions {places} (from 0), so that it is "
            f"not clear which is meant; {advice}"
        )


def _like(one: str, other: str) -> bool:
    return one.strip().lower() == other.strip().lower()


def partitions_of(path: str) -> dict[str, str | None]:
    """Returns the columns that the folders of a path stand for, as Hive and Spark write them: `year=2014/`."""
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        pair = _PARTITION.fullmatch(folder)
        if pair is not None:
            value = unquote(pair[2])
            found[unquote(pair[1])] = None if value in (HIVE_NULL, "") else value
    return found


def value_text(value: object) -> str | None:
    """Returns a label or category as text, the same from every format: whole numbers without a decimal point."""
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
