"""Parses and validates values of settings from command lines and JSON."""

from __future__ import annotations

import difflib
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from textgen.errors import UserError


def parse_settings(settings: list[str]) -> dict[str, str]:
    """Parses the arguments of `--set`, such as `section.field=value`."""
    pairs = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set received {setting!r}; write it as section.field=value")
        pairs[path.strip()] = value
    return pairs


def field_types(kind: Any) -> Mapping[str, Any]:
    """Returns the type of each field of a dataclass."""
    return _hints(kind)


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)  # Takes milliseconds for all sections, and every prompt overrides settings.


def coerce(value: Any, kind: Any, path: str) -> Any:
    """Converts `value` to the type `kind`; strings are parsed as on a command line, lists become tuples.

    Raises:
        UserError: The value does not have the type; the message names `path`.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
            return None
        return coerce(value, next(a for a in arguments if a is not types.NoneType), path)
    if origin is Literal:
        if value in arguments:
            return value
        raise UserError(f"{path} is {value!r}; {nearest(str(value), [str(a) for a in arguments])}")
    if origin is tuple:
        if not isinstance(value, str | list | tuple):
            raise UserError(f"{path} is {value!r}; it must be a list")
        return tuple(coerce(item, arguments[0], path) for item in _as_list(value))
    try:
        return _scalar(value, kind)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{path} is {value!r}; it must be {_KINDS_IN_WORDS[kind]}") from None


_KINDS_IN_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _scalar(value: Any, kind: type) -> Any:
    if isinstance(value, bool) != (kind is bool) and not isinstance(value, str):
        raise ValueError(value)
    if kind is bool:
        text = str(value).lower()
        if text not in ("true", "false"):
            raise ValueError(value)
        return text == "true"
    if kind is int:
        if float(value) != int(float(value)):
            raise ValueError(value)
        return int(value) if not isinstance(value, str) or value.lstrip("+-").isdigit() else int(float(value))
    if kind is str and not isinstance(value, str):
        raise ValueError(value)
    return kind(value)


def _as_list(value: Any) -> list[Any]:
    """Parses `[0.2, 1]`, `0.2,1` and sequences; the empty text is the empty list.

    Numbers in a text stay texts until their type is known, because `[2008]` may be a list of categories.
    """
    if not isinstance(value, str):
        return list(value)
    if value.startswith("["):
        try:
            return list(json.loads(value, parse_int=str, parse_float=str))
        except json.JSONDecodeError:
            pass
    return [item.strip() for item in value.strip("[]").split(",") if item.strip()]


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """Returns a clause for an error message that suggests the most similar known names."""
    near = sorted(known, key=lambda candidate: -_likeness(name, candidate))
    shown = ", ".join(near[:6])
    return f"did you mean {shown}?" if len(near) <= 6 else f"the nearest known names are {shown}"


def _likeness(typed: str, candidate: str) -> float:
    """Returns the similarity of two names: mainly of the last parts (prefixes and initials count), then of sections."""
    typed_section, _, typed_key = typed.rpartition(".")
    section, _, key = candidate.rpartition(".")
    likeness = difflib.SequenceMatcher(None, typed_key, key).ratio()
    if typed_key and typed_key == "".join(word[:1] for word in key.split("_")):
        likeness = max(likeness, 0.95)
    elif typed_key and key.startswith(typed_key):
        likeness = max(likeness, 0.9)
    return likeness + difflib.SequenceMatcher(None, typed_section, section).ratio() / 2


MAX_SEED = 2**53 - 1
"""Largest seed that every JSON parser preserves: numbers in JavaScript cannot represent larger integers exactly."""


def check_seed(value: int, path: str) -> None:
    """Raises a `UserError` if a seed given by a user is not in 0 to `MAX_SEED`."""
    check(0 <= value <= MAX_SEED, f"{path} is {value}; use a whole number from 0 to {MAX_SEED}")


def check(valid: bool, message: str) -> None:
    """Raises a `UserError` with the message if a setting is not valid."""
    if not valid:
        raise UserError(message)
