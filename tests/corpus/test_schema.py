"""Column selection by known names, by settings and by position, and its errors."""

from __future__ import annotations

import pytest

from textgen.corpus.schema import Columns, is_headerless, positions, recognise, value_text
from textgen.errors import UserError
from textgen.spec import CorpusSpec

AMAZON_TSV = [
    "marketplace",
    "review_id",
    "product_title",
    "product_category",
    "star_rating",
    "review_body",
    "review_date",
]


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (AMAZON_TSV, Columns(text="review_body", label="star_rating", category="product_category")),
        (["overall", "reviewText", "summary"], Columns(text="reviewText", label="overall")),
        (["rating", "title", "text", "asin"], Columns(text="text", label="rating")),
        (["text", "label", "source"], Columns(text="text", label="label", category="source")),
        (["ItemID", "Sentiment", "SentimentSource", "SentimentText"], Columns(text="SentimentText", label="Sentiment")),
        (["label", "sentence"], Columns(text="sentence", label="label")),
    ],
)
def test_known_schemas_are_recognised(names: list[str], columns: Columns) -> None:
    assert recognise(names, CorpusSpec(), file_name="f") == columns


def test_named_columns_take_precedence() -> None:
    spec = CorpusSpec(text_column="title", label_column="asin", category_column="text")
    found = recognise(["rating", "title", "text", "asin"], spec, file_name="f")
    assert found == Columns(text="title", label="asin", category="text")


def test_an_unknown_schema_lists_its_columns_and_the_setting() -> None:
    with pytest.raises(UserError, match=r"'uid', 'words'.*--set corpus.text_column=NAME"):
        recognise(["uid", "words"], CorpusSpec(), file_name="f")


@pytest.mark.parametrize("role", ["text", "label", "category"])
def test_a_named_column_that_is_absent_is_an_error(role: str) -> None:
    with pytest.raises(UserError, match=rf"corpus.{role}_column is 'gone' but the columns of f are 'text'"):
        recognise(["text"], CorpusSpec(**{f"{role}_column": "gone"}), file_name="f")


def test_a_position_implies_that_there_is_no_header() -> None:
    spec = CorpusSpec(text_column="5", label_column="0")
    assert is_headerless(spec)
    assert not is_headerless(CorpusSpec(text_column="text"))
    assert positions(spec, num_columns=6, file_name="f") == (5, 0, None)


@pytest.mark.parametrize("spec", [CorpusSpec(text_column="6"), CorpusSpec(text_column="1", label_column="stars")])
def test_positions_beyond_the_columns_are_errors(spec: CorpusSpec) -> None:
    with pytest.raises(UserError, match="columns 0 to 5"):
        positions(spec, num_columns=6, file_name="f")


@pytest.mark.parametrize(
    ("value", "text"), [(5.0, "5"), ("4.0", "4"), (3, "3"), ("3.5", "3.5"), ("good", "good"), ("", None), (None, None)]
)
def test_labels_are_the_same_in_every_format(value: object, text: str | None) -> None:
    assert value_text(value) == text
