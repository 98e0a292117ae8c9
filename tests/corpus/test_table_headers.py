"""Header lines of tables, and which column is used as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.test_tables import table
from tests.corpus_helpers import how, pairs, read, read_with_report, sentences
from textgen.errors import UserError


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("name", "delimiter"), [("r.tsv", "\t"), ("r.csv", ",")])
def test_repeated_header_lines_are_distinguished_from_texts(
    tmp_path: Path, name: str, delimiter: str, mark: str
) -> None:
    one = table([(text, "1") for text in sentences(4)], delimiter=delimiter).decode()
    found = read(tmp_path / name, (one + mark + one + mark + one).encode())
    assert [record.reason for record in found].count("repeated_header") == 2
    assert len(pairs(found)) == 12


def test_headers_may_differ_in_case_spaces_and_order(tmp_path: Path) -> None:
    content = b"review,rating,id\na,4,x\n Review, Rating,ID\nb,3,x\nrating,id,review\n2,x,c\nid,review,rating\nx,d,1\n"
    found = read(tmp_path / "r.csv", content)
    assert pairs(found) == [("a", "4"), ("b", "3"), ("c", "2"), ("d", "1")]
    assert [record.reason for record in found].count("repeated_header") == 3


@pytest.mark.parametrize("name", ["r.csv", "r.tsv"])
def test_row_names_written_by_r_need_no_column_name(tmp_path: Path, name: str) -> None:
    rows = [(text, str(place % 5)) for place, text in enumerate(sentences(9))]
    lines = ['"review"\t"rating"', *(f'"{place}"\t"{text}"\t{label}' for place, (text, label) in enumerate(rows))]
    content = "\n".join(lines).replace("\t", "," if name == "r.csv" else "\t")
    assert pairs(read(tmp_path / name, content.encode())) == rows


def test_a_text_equal_to_the_column_name_is_kept(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "r.csv", b"review,rating\nreview,1\nx,2\n")) == [("review", "1"), ("x", "2")]


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        ("text,label,text", {}, r"2 columns named 'text', at the positions 0 and 2"),
        ("id,review,label,Review", {}, r"at the positions 1 and 3"),
        ("label,text,label", {}, r"2 columns named 'label', at the positions 0 and 2"),
        ("a,b,a", {"text_column": "a"}, r"2 columns named 'a', at the positions 0 and 2"),
    ],
)
def test_an_ambiguous_column_is_an_error(tmp_path: Path, header: str, settings: dict[str, Any], message: str) -> None:
    row = ",".join("x" for _ in header.split(","))
    for name in ("r.csv", "r.tsv"):
        content = f"{header}\n{row}\n".replace(",", "\t" if name == "r.tsv" else ",")
        with pytest.raises(UserError, match=message):
            read(tmp_path / name, content.encode(), **settings)


def test_other_columns_may_share_a_name(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "r.csv", b"x,text,x\n1,a,2\n")) == [("a", None)]
    assert pairs(read(tmp_path / "r.csv", b"Text,text,label\na,b,2\n", text_column="text")) == [("b", "2")]


@pytest.mark.parametrize("header", [",0", "0", "0,1", ",0,1", "a,0"])
def test_a_column_named_by_a_number_takes_precedence_over_a_position(tmp_path: Path, header: str) -> None:
    names = header.split(",")
    texts = sentences(6)
    rows = [",".join(text if name == "0" else str(place) for name in names) for place, text in enumerate(texts)]
    found = read(tmp_path / "r.csv", "\n".join([header, *rows]).encode(), text_column="0")
    assert [record.text for record in found] == texts


def test_a_label_equal_to_the_position_is_ambiguous(tmp_path: Path) -> None:
    texts = sentences(6)
    content = "\n".join(f"{place % 2 + 1},{text}" for place, text in enumerate(texts, 0))
    assert [r.text for r in read(tmp_path / "r.csv", content.encode(), text_column="1")] == texts
    with pytest.raises(UserError, match="may mean the column with that name or the column at that position"):
        read(tmp_path / "r.csv", b"1,b,0\n2,c,1\n3,d,0\n", text_column="0")


def test_a_header_is_skipped_when_columns_are_given_by_position(tmp_path: Path) -> None:
    found = read(tmp_path / "r.csv", b"id,Review\n1,a b\n2,c d\n", text_column="1")
    assert [record.text for record in found] == ["a b", "c d"]


@pytest.mark.parametrize(
    ("content", "settings", "sentence"),
    [
        (
            "id,review\n" + "".join(f"{t},{n}.5\n" for n, t in enumerate(sentences(9))),
            {},
            "'review'.*mostly numbers.*'id'",
        ),
        (
            "n,words\n" + "".join(f"{n},{t}\n" for n, t in enumerate(sentences(9))),
            {"text_column": "n"},
            "mostly numbers.*'words'",
        ),
        (
            "review,body_text\n" + "".join(f"ok,{t}\n" for t in sentences(9)),
            {},
            "'review'.*corpus.text_column=body_text",
        ),
    ],
)
def test_an_unlikely_text_column_causes_a_warning(
    tmp_path: Path, content: str, settings: dict[str, Any], sentence: str
) -> None:
    (warning,) = how(read_with_report(tmp_path / "r.csv", content.encode(), **settings)[1]).warnings
    assert re.search(sentence, warning)


def test_the_right_column_causes_no_warning(tmp_path: Path) -> None:
    content = "title,review,url\n" + "".join(f"{t[:9]},{t},http://x/{t.replace(' ', '-')}\n" for t in sentences(9))
    _, report = read_with_report(tmp_path / "r.csv", content.encode())
    assert how(report).warnings == ()
    assert how(report).columns == {"text": "review", "label": None, "category": None}
    assert how(report).chosen_by == {"text": "recognised by its name"}
    _, report = read_with_report(tmp_path / "r.csv", content.encode(), text_column="title")
    assert how(report).warnings == ()
    assert how(report).chosen_by == {"text": "named by corpus.text_column"}
