"""The spec: fields validate themselves and can be set by name."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen import presets
from textgen.errors import UserError
from textgen.settings import parse_settings
from textgen.spec import RunSpec, override

DEFAULT = RunSpec(preset="mine")


@pytest.mark.parametrize("name", presets.PRESET_NAMES)
def test_a_preset_round_trips_through_json(name: str) -> None:
    spec = presets.preset(name)
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_changed_spec_round_trips_through_json() -> None:
    spec = override(
        DEFAULT,
        {
            "sampling.stop": ("\n", "א"),
            "training.clip_norm": None,
            "corpus.text_column": "text",
            "windows.separator": " ",
        },
    )
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_missing_field_that_every_version_had_takes_its_default() -> None:
    read = RunSpec.from_dict({"preset": "mine", "model": {"units": 3}})
    assert (read.model.units, read.model.embedding_dim) == (3, DEFAULT.model.embedding_dim)
    assert read.sampling == DEFAULT.sampling


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "mine", "modell": {}}, "no section 'modell'; the nearest known names are model"),
        ({"preset": "mine", "model": {"unit": 3}}, "the section model has no field 'unit'; .* units"),
        ({"preset": "mine", "model": {"units": "many"}}, "model.units is 'many'; it must be a whole number"),
    ],
)
def test_an_invalid_dictionary_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunSpec.from_dict(values)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("model.units", "96", 96),
        ("training.max_steps", "1e3", 1000),
        ("training.max_steps", "none", None),
        ("sampling.seed", str(2**53 - 1), 2**53 - 1),
        ("training.learning_rate", "1e-3", 1e-3),
        ("training.epochs", "3", 3.0),
        ("training.checkpoint_every_seconds", "inf", float("inf")),
        ("training.clip_norm", "None", None),
        ("training.record_steps", "True", True),
        ("training.record_steps", "false", False),
        ("training.optimizer", "rmsprop", "rmsprop"),
        ("training.sample_temperatures", "0,0.5", (0.0, 0.5)),
        ("training.sample_temperatures", "[0.2, 1]", (0.2, 1.0)),
        ("training.sample_temperatures", "0.9", (0.9,)),
        ("training.sample_temperatures", "", ()),
        ("sweep.units", "[8,16]", (8, 16)),
        ("sampling.stop", '["\\n", "a, b"]', ("\n", "a, b")),
        ("corpus.drop_containing", "http,&gt", ("http", "&gt")),
        ("corpus.test_categories", "[2007, 08, tea]", ("2007", "08", "tea")),
        ("corpus.test_categories", '[2007, "2008"]', ("2007", "2008")),
        ("corpus.condition_on", "[label,category]", ("label", "category")),
        ("corpus.text_column", "null", None),
        ("corpus.text_column", "5", "5"),
        ("windows.separator", " ", " "),
    ],
)
def test_a_text_is_converted_to_the_type_of_its_field(path: str, text: str, expected: object) -> None:
    section, field = path.split(".")
    got = getattr(getattr(override(DEFAULT, {path: text}), section), field)
    assert (got, type(got)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.units", "12.5", "model.units is '12.5'; it must be a whole number"),
        ("model.units", "inf", "model.units is 'inf'; it must be a whole number"),
        ("model.units", True, "model.units is True; it must be a whole number"),
        ("model.units", None, "model.units is None; it must be a whole number"),
        ("model.units", 0, "model.units is 0; use 1 or more"),
        ("model.dropout", "1", r"model.dropout is 1.0; it must lie in \[0, 1\)"),
        ("model.dense_units", 0, "model.dense_units is 0; use 1 or more, or none"),
        ("model.dropout", "nan", "model.dropout is nan"),
        ("model.layer_units", "[8, 9]", r"model.layer_units is \[8, 9\] with model.num_layers 1; give a width"),
        (
            "model.layer_units",
            "[0]",
            r"model.layer_units is \[0\] with model.num_layers 1; .* 1 or more for each layer",
        ),
        ("model.cell", "rnn", "model.cell is 'rnn'; did you mean"),
        ("training.loss_at", "last", "training.loss_at is last with training.order stateful; .*order=shuffled too"),
        ("training.learning_rate", "fast", "training.learning_rate is 'fast'; it must be a number"),
        ("training.learning_rate", "inf", "training.learning_rate is inf; .* finite"),
        ("training.record_steps", "yes", "training.record_steps is 'yes'; it must be true or false"),
        ("training.optimizer", "adm", "training.optimizer is 'adm'; did you mean adam"),
        ("training.block_windows", 48, "training.block_windows is 48; it must be a power of two"),
        ("training.seed", -1, "training.seed is -1; use a whole number from 0 to 9007199254740991"),
        ("corpus.seed", 2**53, "corpus.seed is 9007199254740992; use a whole number from 0 to 9007199254740991"),
        ("training.weight_decay", 0.1, "only adamw and muon support weight decay"),
        ("training.patience", 0, "training.patience is 0; use 1 or more, or none"),
        ("training.unfreeze_every_steps", 0, "training.unfreeze_every_steps is 0; use 1 or more, or none"),
        (
            "training.layer_rate_factor",
            0.5,
            r"training.layer_rate_factor is 0.5; use 1 \(the same rate for all layers\) or more",
        ),
        ("training.decay", "one-cycle", "training.decay is 'one-cycle'; did you mean one_cycle"),
        (
            "training.sample_temperatures",
            "[1, -1]",
            r"training.sample_temperatures is \[1.0, -1.0\]; each must be from 0",
        ),
        ("training.sample_temperatures", 0.5, "training.sample_temperatures is 0.5; it must be a list"),
        ("sweep.units", "8,0", r"sweep.units is \[8, 0\]; each must be 1 or more"),
        ("sweep.units", "", "sweep.units is empty"),
        ("sampling.top_p", 0, r"sampling.top_p is 0.0; it must lie in \(0, 1\]"),
        ("sampling.temperature", -0.1, "sampling.temperature is -0.1; use 0"),
        ("sampling.temperature", float("inf"), r"sampling.temperature is inf; use 0 \(greedy\) to 1000"),
        ("sampling.stop", '[""]', "sampling.stop has an empty text"),
        (
            "corpus.encoding",
            "utf-9",
            "corpus.encoding is 'utf-9', which Python does not know; use a name such as utf-8",
        ),
        ("corpus.rules", "html,lowercase", "corpus.rules has 'lowercase'; the nearest known names are lower"),
        ("corpus.val_share", 1, r"corpus.val_share \+ corpus.test_share is 1.01; it must lie in \[0, 1\)"),
        ("corpus.max_document_chars", 0, "corpus.max_document_chars is 0; use 1"),
        ("windows.separator", "", "windows.separator is empty"),
        ("windows.stride", 63, "training.order is stateful with windows.stride 63 and windows.context_length 64"),
    ],
)
def test_an_invalid_value_is_an_error_that_names_valid_ones(path: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        override(DEFAULT, {path: value})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("training.lr", "training.learning_rate"),
        ("learning_rate", "training.learning_rate"),
        ("training.learningrate", "training.learning_rate"),
        ("traning.epochs", "training.epochs"),
        ("mode.dropout", "model.dropout"),
        ("training.batch_size", "training.global_batch_size"),
        ("model.embedding", "model.embedding_dim"),
        ("sampling.max_new_tokens", "sampling.max_new_chars"),
        ("windows.contextlength", "windows.context_length"),
    ],
)
def test_an_unknown_name_lists_the_nearest_first(typed: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"there is no setting '{typed}'; ") as raised:
        override(DEFAULT, {typed: "1"})
    listed = re.findall(r"\w+\.\w+", str(raised.value).partition("; ")[2])
    assert listed[0] == meant


def test_two_fields_of_a_section_change_together() -> None:
    changed = override(DEFAULT, {"windows.context_length": 9, "windows.stride": 9})
    assert (changed.windows.context_length, changed.windows.stride) == (9, 9)
    decayed = override(DEFAULT, {"training.weight_decay": 0.1, "training.optimizer": "adamw"})
    assert decayed.training.weight_decay == 0.1


def test_fields_of_two_sections_change_together() -> None:
    changed = override(DEFAULT, {"windows.stride": 3, "training.order": "shuffled"})
    assert (changed.windows.stride, changed.training.order) == (3, "shuffled")
    assert override(changed, {"training.order": "stateful", "windows.stride": 64}) == DEFAULT


@pytest.mark.parametrize(
    ("changes", "widths"),
    [
        ({"model.units": 7, "model.num_layers": 3}, (7, 7, 7)),
        ({"model.num_layers": 3, "model.layer_units": "9,5,6"}, (9, 5, 6)),
    ],
)
def test_layers_have_equal_or_given_widths(changes: dict[str, Any], widths: tuple[int, ...]) -> None:
    assert override(DEFAULT, changes).model.widths == widths


def test_override_keeps_other_fields() -> None:
    changed = override(DEFAULT, {"model.units": 7})
    assert changed == dataclasses.replace(DEFAULT, model=dataclasses.replace(DEFAULT.model, units=7))
    assert override(DEFAULT, {}) == DEFAULT


@given(
    st.lists(st.floats(0, 10), max_size=5),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=4),
)
def test_lists_in_json_keep_every_value(temperatures: list[float], stops: list[str]) -> None:
    changed = override(
        DEFAULT, {"training.sample_temperatures": json.dumps(temperatures), "sampling.stop": json.dumps(stops)}
    )
    assert changed.training.sample_temperatures == tuple(temperatures)
    assert changed.sampling.stop == tuple(stops)


def test_settings_are_split_at_their_first_equals_sign() -> None:
    assert parse_settings(["sampling.stop==", " model.units =7", "model.units=8"]) == {
        "sampling.stop": "=",
        "model.units": "8",
    }
    with pytest.raises(UserError, match=r"--set received 'model.units'; write it as section.field=value"):
        parse_settings(["model.units"])


def test_a_stored_seed_may_exceed_the_limit_for_given_seeds() -> None:
    stored = override(presets.tiny(), {"sampling.seed": 7}).to_dict()
    stored["sampling"]["seed"] = 2**60
    assert RunSpec.from_dict(stored).sampling.seed == 2**60
