"""Conditions: the control of each value, and errors for unknown names and values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import UserError
from textgen.spec import CorpusSpec
from textgen.windows import conditions as module
from textgen.windows.conditions import Condition, conditions_of, controls_of
from textgen.windows.vocabulary import Vocabulary

STARS = Condition(column="label", values=("1", "10", "5"))
YEARS = Condition(column="category", values=("2007", "2008"), source_column="year")


def vocabulary_of(text: str, *conditions: Condition) -> Vocabulary:
    return Vocabulary(unit="characters", symbols=tuple(sorted(map(ord, text))), conditions=conditions)


@pytest.mark.parametrize(
    ("given", "controls"),
    [
        ({}, [0, 0]),
        ({"label": "5"}, [3, 0]),
        ({"stars": 1}, [1, 0]),
        ({"Star_Rating": "10.0"}, [2, 0]),
        ({"overall": 5.0, "year": "2008"}, [3, 2]),
        ({"product_category": "2007", "label": "none"}, [0, 1]),
        ({"category": None}, [0, 0]),
    ],
)
def test_conditions_accept_any_name_of_their_column(given: dict[str, object], controls: list[int]) -> None:
    assert controls_of((STARS, YEARS), given) == controls


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": "6"}, r"label='6' does not occur in train; the values are 1, 10, 5, or none"),
        ({"mood": "5"}, r"unknown condition 'mood': the model is conditioned on label and category"),
        ({"stars": 5, "label": 5}, r"'stars' and 'label' are the same"),
    ],
)
def test_an_unknown_condition_is_an_error_that_lists_the_known_ones(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        controls_of((STARS, YEARS), given)


@pytest.mark.parametrize("given", [{"\ud800": 1}, {"label": "\ud800"}])
def test_the_error_for_an_unknown_condition_can_be_encoded_as_utf_8(given: dict[str, object]) -> None:
    with pytest.raises(UserError) as refused:
        controls_of((STARS, YEARS), given)
    assert b"ud800" in str(refused.value).encode()


def test_conditioning_a_model_without_conditions_is_an_error() -> None:
    assert controls_of((), {}) == []
    with pytest.raises(UserError, match=r"has no conditions; see corpus\.condition_on"):
        controls_of((), {"label": "1"})


def test_a_value_named_none_has_its_own_control() -> None:
    named = Condition(column="category", values=("music", "none"))
    assert [named.control_of(value) for value in ("music", "none", None)] == [1, 2, 0]


def test_conditions_have_the_columns_of_the_spec_and_the_values_of_train() -> None:
    spec = CorpusSpec(condition_on=("category", "label"), category_column="year")
    found = {("label", "5"), ("category", "2008"), ("label", "1"), ("category", "2007"), ("label", "10")}
    assert conditions_of(found, spec) == (YEARS, STARS)
    assert conditions_of(found, CorpusSpec()) == ()


def test_a_column_with_no_values_or_too_many_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = CorpusSpec(condition_on=("label",))
    with pytest.raises(
        UserError, match=r"contains label but no document of train has a label; .*corpus\.label_column=NAME"
    ):
        conditions_of({("category", "a")}, spec)
    monkeypatch.setattr(module, "MAX_VALUES", 2)
    with pytest.raises(UserError, match=r"label, which has 3 values in train \(such as 'a'\); at most 2"):
        conditions_of({("label", value) for value in "abc"}, spec)


def test_control_ids_follow_the_symbols() -> None:
    vocabulary = vocabulary_of("ab", STARS, YEARS)
    assert (vocabulary.first_control_id, vocabulary.num_controls, vocabulary.size) == (4, 7, 11)
    assert vocabulary.control_ids([[0, 0], [3, 2]]).tolist() == [[4, 8], [7, 10]]
    assert vocabulary.control_names == (
        "label=none", "label=1", "label=10", "label=5", "category=none", "category=2007", "category=2008",
    )  # fmt: skip
    assert vocabulary.is_control([[1, 3], [4, 10]]).tolist() == [[False, False], [True, True]]
    assert vocabulary.never_drawn == (0, *range(4, 11))
    assert vocabulary_of("ab").never_drawn == (0,)
    assert not vocabulary_of("ab").is_control([0, 3]).any()
    assert vocabulary_of("ab").control_ids([]).shape == (0,)


@given(text=st.text("abc", max_size=9), controls=st.tuples(st.integers(0, 3), st.integers(0, 2)))
def test_text_never_contains_controls(text: str, controls: tuple[int, int]) -> None:
    vocabulary = vocabulary_of("abc", STARS, YEARS)
    ids = vocabulary.encode(text)
    assert not vocabulary.is_control(ids).any()
    assert vocabulary.decode(np.concatenate([vocabulary.control_ids(controls), ids, [vocabulary.end_id]])) == text


def test_controls_count_for_the_width_of_ids() -> None:
    letters = "".join(map(chr, range(33, 33 + 250)))
    assert vocabulary_of(letters).id_dtype == np.uint8
    assert vocabulary_of(letters, STARS).id_dtype == np.uint8  # 2 + 250 + 4 ids.
    assert vocabulary_of(letters, STARS, YEARS).id_dtype == np.uint16


def test_a_vocabulary_with_conditions_round_trips_through_json() -> None:
    vocabulary = vocabulary_of("aש", YEARS, STARS)
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict(), sort_keys=True))) == vocabulary
    assert "conditions" not in vocabulary_of("a").to_dict()  # Keeps the hash of manifests without conditions.
