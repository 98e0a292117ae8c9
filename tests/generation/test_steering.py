"""Held units: parsed from text, at their values before every id, and no change if none is held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from textgen.spec import ModelSpec, SamplingSpec
from textgen.windows.vocabulary import Vocabulary

pytestmark = pytest.mark.tensorflow

VOCABULARY = Vocabulary(unit="characters", symbols=tuple(map(ord, " abcde")))


def model_of(cell: str) -> Any:
    from textgen.model.language_model import LanguageModel

    spec = ModelSpec(embedding_dim=3, layer_units=(5, 4), num_layers=2, cell=cell)  # type: ignore[arg-type]
    return LanguageModel(spec, vocab_size=VOCABULARY.size, seed=1)


def test_held_units_are_parsed() -> None:
    from textgen.generation.steering import HeldUnit, parse_held_unit

    assert parse_held_unit("17=+3") == HeldUnit(unit=17, value=3.0)
    assert parse_held_unit("2:17=-.5") == HeldUnit(layer=2, unit=17, value=-0.5)
    for text in ("17=+3", "2:17=-0.5"):
        assert str(parse_held_unit(text)) == text
    for wrong in ("17", "17=", "a=3", "17=3=4", "-1=3", "17=nan", "1:2:3=4", "17=1e3"):
        with pytest.raises(ValueError, match="write unit=value"):
            parse_held_unit(wrong)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_cell_state_alone_is_overwritten(cell: str) -> None:
    from textgen.generation.steering import HeldUnit, Steering

    model = model_of(cell)
    state = [np.full(part.shape, 0.25, np.float32) for part in model.initial_state(3)]
    held = [HeldUnit(unit=4, value=2.0), HeldUnit(unit=0, value=-1.0), HeldUnit(layer=2, unit=3, value=7.0)]
    expected = [part.copy() for part in state]
    first, second = (1, 3) if cell == "lstm" else (0, 1)
    expected[first][:, [4, 0]] = 2.0, -1.0
    expected[second][:, 3] = 7.0
    for part, wanted in zip(Steering(held, model)(state), expected, strict=True):
        np.testing.assert_array_equal(part, wanted)


def test_a_missing_unit_is_named() -> None:
    from textgen.generation.steering import HeldUnit, Steering

    for held, problem in (
        ([HeldUnit(unit=5, value=1.0)], "layer 1 has units 0 to 4"),
        ([HeldUnit(layer=2, unit=4, value=1.0)], "layer 2 has units 0 to 3"),
        ([HeldUnit(layer=3, unit=0, value=1.0)], "layers 1 to 2"),
        ([HeldUnit(unit=1, value=1.0), HeldUnit(unit=1, value=2.0)], "1:1 twice"),
    ):
        with pytest.raises(ValueError, match=problem):
            Steering(held, model_of("lstm"))


def test_generation_uses_the_held_state() -> None:
    """Greedy text equals stepping by hand with the unit overwritten before every id, including the prompt's."""
    import tensorflow as tf

    from textgen.generation.engine import Engine
    from textgen.generation.steering import HeldUnit, Steering
    from textgen.generation.stream import Request

    model = model_of("lstm")
    for variable in model.variables_by_name().values():
        variable.assign(4 * variable)  # Further from a uniform distribution.
    held = [HeldUnit(unit=2, value=3.0), HeldUnit(layer=2, unit=1, value=-4.0)]
    request = Request(prompt="bad", settings=SamplingSpec(temperature=0.0, max_new_chars=30))
    free = Engine(model, VOCABULARY, num_slots=3).generate([request])[0].completion
    steered = Engine(model, VOCABULARY, num_slots=3, steer=Steering(held, model)).generate([request])[0].completion
    assert steered != free

    for written, values in ((free, ()), (steered, ((1, 2, 3.0), (3, 1, -4.0)))):
        state, logits, drawn = model.initial_state(1), None, []
        for one in [VOCABULARY.start_id, *VOCABULARY.encode("bad" + written).tolist()]:
            state = [part.numpy() for part in map(tf.convert_to_tensor, state)]
            for part, unit, value in values:
                state[part][0, unit] = value
            logits, state = model.step(tf.constant([one]), state)
            drawn.append(int(np.where(np.arange(VOCABULARY.size) == 0, -np.inf, logits[0]).argmax()))
        assert VOCABULARY.decode(drawn[3:-1]) == written
