"""Delimiters, quoting, line endings and headers of tables, as programs and people write them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus_helpers import how, pairs, read, read_with_report, sentences
from textgen.corpus.formats import Record
from textgen.errors import UserError

TEXTS = [
    'said "so" and left',
    "two\nlines of it",
    "a\ttab within",
    'all of it: ""',
    *sentences(20),
    "with, commas; semicolons | and bars",
]
ROWS = [(text, str(place % 5 + 1)) for place, text in enumerate(TEXTS)]


def table(rows: Any, header: tuple[str, ...] = ("id", "label", "review"), **form: Any) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, **{"lineterminator": "\n", **form})
    writer.writerow(header)
    writer.writerows((f"r{place}", label, text) for place, (text, label) in enumerate(rows))
    return stream.getvalue().encode()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({}, id="quotes where needed"),
        pytest.param({"quoting": csv.QUOTE_ALL}, id="quotes everywhere"),
        pytest.param({"quoting": csv.QUOTE_NONNUMERIC, "lineterminator": "\r\n"}, id="texts quoted, CRLF"),
        pytest.param({"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL}, id="backslashes"),
    ],
)
@pytest.mark.parametrize(("name", "delimiter"), [("r.tsv", "\t"), ("r.csv", "\t"), ("r.csv", ","), ("r.csv", ";")])
def test_quoted_tables_give_complete_texts(tmp_path: Path, name: str, delimiter: str, form: dict[str, Any]) -> None:
    assert pairs(read(tmp_path / name, table(ROWS, delimiter=delimiter, **form))) == ROWS


def test_a_tsv_with_a_few_quotes_around_whole_texts_keeps_them(tmp_path: Path) -> None:
    rows = [*((text, "4") for text in sentences(30)), ('"Great gift"', "5"), ('"Great" gift', "5"), ('so "good"', "3")]
    content = "label\treview\n" + "".join(f"{label}\t{text}\n" for text, label in rows)
    assert pairs(read(tmp_path / "r.tsv", content.encode())) == rows
    assert pairs(read(tmp_path / "r.tsv", content.encode(), quoting="none")) == rows
    content = "label\treview\n" + "".join(f'{label}\t"{text}"\n' for text, label in rows[:2])
    assert pairs(read(tmp_path / "r.tsv", content.encode(), quoting="none")) == [(f'"{t}"', n) for t, n in rows[:2]]


def test_quotes_that_pair_across_a_tab_are_text(tmp_path: Path) -> None:
    rows = "".join(f"{text}\tnice\t4\n" for text in sentences(40))
    found = read(tmp_path / "r.tsv", f'review\ttitle\tstars\n{rows}"So good\tand bad"\t3\n'.encode())
    assert pairs(found)[-1] == ('"So good', "3")


def test_quoting_can_be_set(tmp_path: Path) -> None:
    content = b'label\treview\n1\tplain\n2\t"one word"\n' + b"3\tno quote here\n" * 20
    assert read(tmp_path / "r.tsv", content)[1].text == '"one word"'
    assert read(tmp_path / "r.tsv", content, quoting="csv")[1].text == "one word"


@pytest.mark.parametrize("opening", ['"', ""])
def test_both_parts_of_a_text_split_at_a_line_break_are_rejected(tmp_path: Path, opening: str) -> None:
    rows = "".join(f"{place}\tgood {text}\n" for place, text in enumerate(sentences(9)))
    content = f'label\treview\n5\tshe said "no" twice\n{rows}7\t{opening}first half\nsecond half{opening}\n8\tlast\n'
    found = read(tmp_path / "r.tsv", content.encode())
    assert len(found) == 13
    assert [record.text for record in found if record.reason == "columns"] == [
        f"{opening}first half",
        f"second half{opening}",
    ]
    found = read(tmp_path / "r.csv", b"label,review\n1,whole\n2,first half\nsecond half\n3,whole too\n")
    assert [(record.row, record.reason) for record in found] == [(2, None), (3, "columns"), (4, "columns"), (5, None)]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n", "SEP={}\n", "\ufeffsep={}\n"])
def test_other_delimiters_are_detected(tmp_path: Path, delimiter: str, first: str) -> None:
    content = first.format(delimiter).encode() + table(ROWS, delimiter=delimiter)
    records, report = read_with_report(tmp_path / "r.csv", content)
    assert pairs(records) == ROWS
    assert how(report).delimiter == delimiter
    assert records[0].row == (3 if first else 2)


@pytest.mark.parametrize(("name", "given"), [("r.csv", "^"), ("r.tsv", "^"), ("r.csv", "tab"), ("r.csv", "\\t")])
def test_the_delimiter_can_be_set(tmp_path: Path, name: str, given: str) -> None:
    delimiter = "^" if given == "^" else "\t"
    assert (
        pairs(read(tmp_path / name, table(ROWS, delimiter=delimiter, quoting=csv.QUOTE_ALL), delimiter=given)) == ROWS
    )


def test_the_delimiter_is_detected_without_a_header(tmp_path: Path) -> None:
    content = "".join(f"{place % 5};{text}{', or so' * (place % 3)}\n" for place, text in enumerate(sentences(20)))
    found = read(tmp_path / "r.csv", content.encode(), text_column="1", label_column="0")
    assert [record.text for record in found] == [
        f"{text}{', or so' * (place % 3)}" for place, text in enumerate(sentences(20))
    ]


def test_commas_in_texts_do_not_change_the_delimiter(tmp_path: Path) -> None:
    rows = [(f"{text}; with; semicolons", "1") for text in sentences(9)]
    records, report = read_with_report(tmp_path / "r.csv", table(rows))
    assert (pairs(records), how(report).delimiter) == (rows, ",")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"uid;words\n1;a\n2;b\n", r"contains ',' 0 times but ';' 1 times: set corpus\.delimiter=';'"),
        (b"uid\twords\n1\ta\n", r"but a tab 1 times: set corpus\.delimiter=tab"),
        (b"id\twords, more\tx\n1\ta, b\tc\n", r"set corpus\.delimiter=tab"),
        (b"<!DOCTYPE html>\n<p>404", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid 1", "git lfs pull"),
        (b'{"a": "b"}\n{"a": "c"}\n', r"looks like JSON: set corpus\.format=jsonl"),
        ("text,label\na,1\n".encode("utf-16-le"), r"set corpus\.encoding=utf-16-le"),
        ("text,label\na,1\n".encode("utf-16-be"), r"set corpus\.encoding=.* utf-16-be"),
    ],
)
def test_the_reason_why_a_table_cannot_be_read_is_reported(tmp_path: Path, content: bytes, cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        read(tmp_path / "r.csv", content)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("id\treview\n" + "".join(f'1\t"so" {text}\n' for text in sentences(5)), "tsv"),
        ("id,review\n" + "".join(f'1,"{text}, {text}"\n' for text in sentences(5)), "csv"),
        ("".join(f'{{"text": "{text}"}}\n' for text in sentences(5)), "jsonl"),
        ("review, text and more\n" + "\n".join(sentences(5)), None),
        ("a film; a review\n" + "\n".join(f"{text}; and" for text in sentences(9)), None),
        ("", None),
    ],
)
def test_a_table_read_as_text_causes_a_warning(tmp_path: Path, content: str, kind: str | None) -> None:
    _, report = read_with_report(tmp_path / "r.txt", content.encode() or b"\n")
    assert how(report).warnings == (() if kind is None else (how(report).warnings[0],))
    assert kind is None or f"set corpus.format={kind}" in how(report).warnings[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(("name", "delimiter"), [("r.tsv", "\t"), ("r.csv", ","), ("r.csv", ";")])
def test_a_byte_order_mark_sets_the_encoding(tmp_path: Path, encoding: str, name: str, delimiter: str) -> None:
    rows = [(f"café שלום {text}", "5") for text in sentences(5)]
    content = table(rows, delimiter=delimiter, lineterminator="\r\n").decode().encode(encoding)
    records, report = read_with_report(tmp_path / name, content)
    assert pairs(records) == rows
    assert how(report).encoding == encoding.removesuffix("-sig")


def test_a_big_endian_mark_works_in_other_formats(tmp_path: Path) -> None:
    assert read(tmp_path / "t.txt", b"\xfe\xff" + "a\nb".encode("utf-16-be")) == [Record(1, "a"), Record(2, "b")]
    assert read(tmp_path / "t.jsonl", '{"text": "a"}\n'.encode("utf-16")) == [Record(1, "a")]


@pytest.mark.parametrize("name", ["r.tsv", "r.csv"])
def test_lines_may_end_in_a_carriage_return(tmp_path: Path, name: str) -> None:
    rows = [(text, "2") for text in sentences(8)]
    content = table(rows, delimiter="\t" if name == "r.tsv" else ",", lineterminator="\r")
    assert pairs(read(tmp_path / name, content)) == rows
    assert [r.text for r in read(tmp_path / "r.jsonl", b'{"text": "a"}\r{"text": "b"}\r')] == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('"{}" ,"{}"\n', id="before"),
        pytest.param('"{}", "{}"\n', id="after"),
        pytest.param(' "{}" , "{}" \r\n', id="around"),
        pytest.param('"{}" ; "{}"\n', id="around semicolons"),
    ],
)
def test_spaces_around_delimiters_are_ignored(tmp_path: Path, line: str) -> None:
    rows = [(f"{text}, it goes on", "3") for text in sentences(7)] + [
        ('a ""quote"" , within', "2"),
        ("two\nlines", "1"),
    ]
    content = "".join(line.format(*row) for row in [("review", "rating"), *rows])
    expected = [(text.replace('""', '"'), label) for text, label in rows]
    assert pairs(read(tmp_path / "r.csv", content.encode())) == expected


def test_spaces_after_delimiters_of_unquoted_fields(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "r.csv", b"id, review, rating\n1, so good, 5\n2, bad, 1\n")) == [
        ("so good", "5"),
        ("bad", "1"),
    ]


def test_spaces_around_unquoted_fields(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "r.csv", b" review , rating \n so good , 5 \n bad , 1 \n")) == [
        ("so good", "5"),
        ("bad", "1"),
    ]


def test_a_malformed_padded_row_is_rejected(tmp_path: Path) -> None:
    rows = "".join(f'"{text}" ,"1"\n' for text in sentences(30))
    found = read(tmp_path / "r.csv", f'"review" ,"rating"\n{rows}"a "b"" ,"2"\n"never closed ,1\n'.encode())
    assert [(record.row, record.reason) for record in found[30:]] == [(32, "malformed"), (33, "unclosed_quote")]


LETTERS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(LETTERS.filter(lambda text: text.strip("\n ") != "" and "\\" not in text), min_size=1, max_size=9),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_every_row_of_a_quoted_table_is_restored_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], delimiter: str, quoting: Any
) -> None:
    content = table([(text, "1") for text in texts], delimiter=delimiter, quoting=quoting)
    found = read(tmp_path_factory.mktemp("q") / "r.csv", content)
    kept = [record.text for record in found if record.reason is None]
    missing = [text for text in texts if text in ("null", "None", "nan", "NaN", "NULL", "NaT", "<NA>")]
    assert kept == [text for text in texts if text not in missing]
