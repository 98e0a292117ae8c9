"""Describes the fields of a spec: type, value, unit, and the docstring under each field in the source."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from textgen.settings import field_types
from textgen.spec.run import RunSpec

UNITS = {
    "temperature": "divisor of the logits",
    "temperatures": "divisors of the logits",
    "learning_rate": "per step",
    "clip_norm": "norm of the gradient",
    "epochs": "passes",
    "units": "width",
    "layer_units": "widths",
    "hidden_units": "widths",
    "dense_units": "width",
    "context_length": "ids",
    "stride": "ids",
    "max_vocab_size": "ids",
    "min_count": "occurrences",
    "global_batch_size": "windows",
    "patience": "validations",
    "top_p": "probability",
    "top_k": "ids",
    "n": "completions",
    "keep_checkpoints": "checkpoints",
    "max_failures": "times",
    "num_layers": "layers",
    "num_completions": "completions",
    "dropout": "share",
    "dense_dropout": "share",
    "virtual_workers": "parts",
    "counts_order": "ids",
    "counts_words": "words",
}
"""Units of fields whose names do not end with the unit."""
UNITS_BY_ENDING = {
    "steps": "steps",
    "seconds": "seconds",
    "chars": "characters",
    "bytes": "bytes",
    "megabytes": "MiB",
    "share": "share",
    "windows": "windows",
    "documents": "documents",
    "ids": "ids",
    "trials": "trials",
    "column": "name or position",
}


@dataclass(frozen=True, kw_only=True)
class FieldInWords:
    """The description of one field of a spec."""

    path: str
    """`section.field`, as used with `--set`."""
    type: str
    value: Any
    """Value in the given spec, as JSON."""
    unit: str
    """Empty if the field has no unit."""
    meaning: str


def fields_in_words(spec: RunSpec) -> list[FieldInWords]:
    """Describes all fields of a spec, section by section."""
    values = spec.to_dict()
    return [
        FieldInWords(
            path=f"{section}.{name}",
            type=type_in_words(kind),
            value=values[section][name],
            unit=_unit(name),
            meaning=meanings(cls).get(name, ""),
        )
        for section, cls in sections().items()
        for name, kind in field_types(cls).items()
    ]


def sections() -> dict[str, type]:
    """Returns the sections of a spec by name."""
    kinds = field_types(RunSpec).items()
    return {name: kind for name, kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)}


def paths() -> list[str]:
    """Returns the path of every field."""
    return [f"{section}.{name}" for section, cls in sections().items() for name in field_types(cls)]


@functools.cache
def meanings(cls: type) -> dict[str, str]:
    """Returns the docstring under each field of a dataclass, on one line, by field name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[statement.target.id] = " ".join(text.value.split())
    return found


def meaning(path: str) -> str:
    """Returns the meaning of the field at `section.field`."""
    section, _, name = path.partition(".")
    return meanings(sections()[section])[name]


def type_in_words(kind: Any) -> str:
    """Returns a field's type as users of the command line read it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("none" if one is types.NoneType else type_in_words(one) for one in arguments)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {type_in_words(arguments[0])}"
    return {bool: "true | false", int: "whole number", float: "number", str: "text"}[kind]


def _unit(name: str) -> str:
    return UNITS.get(name, UNITS_BY_ENDING.get(name.rpartition("_")[2], ""))
