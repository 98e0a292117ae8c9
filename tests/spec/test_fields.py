"""Descriptions of fields: every field has a type, a value and a meaning, and a unit if it has one."""

from __future__ import annotations

from dataclasses import dataclass

from textgen import presets
from textgen.spec import override
from textgen.spec.fields import UNITS, fields_in_words, meaning, meanings, paths, type_in_words


def test_every_field_has_a_meaning_and_accepts_its_own_value() -> None:
    spec = presets.preset("novel")
    fields = fields_in_words(spec)
    assert [field.path for field in fields] == paths()
    for field in fields:
        assert len(field.meaning) > 10, f"{field.path} has no text under it in textgen/spec"
        assert "\n" not in field.meaning
        assert field.type
    values = {field.path: field.value for field in fields}
    assert override(spec, values) == spec
    assert (values["model.layer_units"], values["training.clip_norm"]) == ([256, 256, 128], None)


def test_units_belong_to_existing_fields() -> None:
    assert set(UNITS) <= {path.partition(".")[2] for path in paths()}
    units = {field.path: field.unit for field in fields_in_words(presets.preset("tiny"))}
    assert units["training.warmup_steps"] == "steps"
    assert units["sampling.max_new_chars"] == "characters"
    assert units["windows.stride"] == "ids"
    assert units["corpus.rules"] == ""


def test_types_in_words() -> None:
    types = {field.path: field.type for field in fields_in_words(presets.preset("tiny"))}
    assert types["model.units"] == "whole number"
    assert types["training.max_steps"] == "whole number or none"
    assert types["model.cell"] == "lstm | gru"
    assert types["corpus.condition_on"] == "list of label | category"
    assert types["classifier.features"] == "bag_of_words | language_model or none"
    assert type_in_words(bool) == "true | false"


def test_a_meaning_belongs_to_the_field_above_it() -> None:
    assert meanings(Nested) == {"first": "Its docstring, over two lines."}
    assert meaning("sampling.top_p").startswith("Samples only from the smallest set")


@dataclass
class Nested:
    """Docstring of the class."""

    first: int = 3
    """Its docstring,
    over two lines."""
    second: int = 4
