"""Names from other tools, and fields without their section, lead to the right field."""

from __future__ import annotations

import pytest

from textgen import presets
from textgen.errors import UserError
from textgen.spec import override
from textgen.spec.fields import paths
from textgen.spec.names import meant_by, other_names


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("temperature", "sampling.temperature"),
        ("temp", "sampling.temperature"),
        ("lr", "training.learning_rate"),
        ("LR", "training.learning_rate"),
        ("learning-rate", "training.learning_rate"),
        ("rnn_size", "model.units"),
        ("hidden_size", "model.units"),
        ("num_layers", "model.num_layers"),
        ("n_layer", "model.num_layers"),
        ("seq_length", "windows.context_length"),
        ("block_size", "windows.context_length"),
        ("batch_size", "training.global_batch_size"),
        ("training.batch_size", "training.global_batch_size"),
        ("epochs", "training.epochs"),
        ("num_completions", "sampling.n"),
        ("nsamples", "sampling.n"),
        ("max_tokens", "sampling.max_new_chars"),
        ("length", "sampling.max_new_chars"),
        ("dropout", "model.dropout"),
        ("clasifier.dropout", "classifier.dropout"),
        ("top_k", "sampling.top_k"),
        ("patience", "training.patience"),
        ("sampling.seed", "sampling.seed"),
        ("samplin.seed", "sampling.seed"),
    ],
)
def test_names_of_other_tools_and_without_a_section_lead_to_a_field(typed: str, meant: str) -> None:
    assert meant_by(typed, paths())[0] == meant


def test_other_names_lead_to_fields_and_hide_none() -> None:
    known = paths()
    names = other_names()
    assert {path for meant in names.values() for path in meant} <= set(known)
    for path in known:
        assert path in meant_by(path.partition(".")[2], known)
        assert meant_by(path, known)[0] == path


def test_the_error_shows_how_to_type_the_setting() -> None:
    spec = presets.preset("tiny")
    with pytest.raises(UserError, match=r"'lr'; did you mean training\.learning_rate\? Type --set training\.learning_"):
        override(spec, {"lr": "0.01"})
    with pytest.raises(UserError, match=r"corpus\.seed or training\.seed or sampling\.seed\? Type --set .*seed=3"):
        override(spec, {"seed": "3"})
    with pytest.raises(UserError, match=r"'modell\.unit_s'; the nearest known names are model\.units.* jobs\.settings"):
        override(spec, {"modell.unit_s": "3"})
