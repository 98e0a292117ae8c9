"""Delimiters, quotes, line ends and headers of tables, as programs and people write them."""

from __future__ import annotations

import csv
import io
import re
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
def test_quoted_tables_give_whole_texts(tmp_path: Path, name: str, delimiter: str, form: dict[str, Any]) -> None:
    assert pairs(read(tmp_path / name, table(ROWS, delimiter=delimiter, **form))) == ROWS


def test_a_tsv_with_a_few_quotes_around_whole_texts_keeps_them(tmp_path: Path) -> None:
    rows = [*((text, "4") for text in sentences(30)), ('"Great gift"', "5"), ('"Great" gift', "5"), ('so "good"', "3")]
    content = "label\treview\n" + "".join(f"{label}\t{text}\n" for text, label in rows)
    assert pairs(read(tmp_path / "r.tsv", content.encode())) == rows
    assert pairs(read(tmp_path / "r.tsv", content.encode(), quoting="none")) == rows
    content = "label\treview\n" + "".join(f'{label}\t"{text}"\n' for text, label in rows[:2])
    assert pairs(read(tmp_path / "r.tsv", content.encode(), quoting="none")) == [(f'"{t}"', n) for t, n in rows[:2]]


def test_quotes_that_happen_to_pair_up_over_a_tab_are_none(tmp_path: Path) -> None:
    rows = "".join(f"{text}\tnice\t4\n" for text in sentences(40))
    found = read(tmp_path / "r.tsv", f'review\ttitle\tstars\n{rows}"So good\tand bad"\t3\n'.encode())
    assert pairs(found)[-1] == ('"So good', "3")


def test_quoting_can_be_asked_for(tmp_path: Path) -> None:
    content = b'label\treview\n1\tplain\n2\t"one word"\n' + b"3\tno quote here\n" * 20
    assert read(tmp_path / "r.tsv", content)[1].text == '"one word"'
    assert read(tmp_path / "r.tsv", content, quoting="csv")[1].text == "one word"


@pytest.mark.parametrize("opening", ['"', ""])
def test_of_a_text_with_a_line_break_that_is_not_recognised_no_half_is_kept(tmp_path: Path, opening: str) -> None:
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
def test_other_delimiters_are_found(tmp_path: Path, delimiter: str, first: str) -> None:
    content = first.format(delimiter).encode() + table(ROWS, delimiter=delimiter)
    records, report = read_with_report(tmp_path / "r.csv", content)
    assert pairs(records) == ROWS
    assert how(report).delimiter == delimiter
    assert records[0].row == (3 if first else 2)


@pytest.mark.parametrize(("name", "given"), [("r.csv", "^"), ("r.tsv", "^"), ("r.csv", "tab"), ("r.csv", "\\t")])
def test_a_delimiter_can_be_named(tmp_path: Path, name: str, given: str) -> None:
    delimiter = "^" if given == "^" else "\t"
    assert (
        pairs(read(tmp_path / name, table(ROWS, delimiter=delimiter, quoting=csv.QUOTE_ALL), delimiter=given)) == ROWS
    )


def test_without_a_header_the_delimiter_is_found_too(tmp_path: Path) -> None:
    content = "".join(f"{place % 5};{text}{', or so' * (place % 3)}\n" for place, text in enumerate(sentences(20)))
    found = read(tmp_path / "r.csv", content.encode(), text_column="1", label_column="0")
    assert [record.text for record in found] == [
        f"{text}{', or so' * (place % 3)}" for place, text in enumerate(sentences(20))
    ]


def test_commas_in_texts_do_not_make_a_csv_another_one(tmp_path: Path) -> None:
    rows = [(f"{text}; with; semicolons", "1") for text in sentences(9)]
    records, report = read_with_report(tmp_path / "r.csv", table(rows))
    assert (pairs(records), how(report).delimiter) == (rows, ",")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"uid;words\n1;a\n2;b\n", r"holds ',' 0 times, but ';' 1 times: set corpus\.delimiter=';'"),
        (b"uid\twords\n1\ta\n", r"but a tab 1 times: set corpus\.delimiter=tab"),
        (b"id\twords, more\tx\n1\ta, b\tc\n", r"set corpus\.delimiter=tab"),
        (b"<!DOCTYPE html>\n<p>404", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid 1", "git lfs pull"),
        (b'{"a": "b"}\n{"a": "c"}\n', r"looks like JSON: set corpus\.format=jsonl"),
        ("text,label\na,1\n".encode("utf-16-le"), r"set corpus\.encoding=utf-16-le"),
        ("text,label\na,1\n".encode("utf-16-be"), r"set corpus\.encoding=.* utf-16-be"),
    ],
)
def test_what_keeps_a_table_from_being_read_is_named(tmp_path: Path, content: bytes, cause: str) -> None:
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
def test_a_table_that_is_named_as_text_is_pointed_out(tmp_path: Path, content: str, kind: str | None) -> None:
    _, report = read_with_report(tmp_path / "r.txt", content.encode() or b"\n")
    assert how(report).warnings == (() if kind is None else (how(report).warnings[0],))
    assert kind is None or f"set corpus.format={kind}" in how(report).warnings[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(("name", "delimiter"), [("r.tsv", "\t"), ("r.csv", ","), ("r.csv", ";")])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str, name: str, delimiter: str) -> None:
    rows = [(f"café שלום {text}", "5") for text in sentences(5)]
    content = table(rows, delimiter=delimiter, lineterminator="\r\n").decode().encode(encoding)
    records, report = read_with_report(tmp_path / name, content)
    assert pairs(records) == rows
    assert how(report).encoding == encoding.removesuffix("-sig")


def test_a_big_endian_mark_and_other_formats_are_known_too(tmp_path: Path) -> None:
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
def test_spaces_beside_delimiters_are_no_part_of_a_field(tmp_path: Path, line: str) -> None:
    rows = [(f"{text}, it goes on", "3") for text in sentences(7)] + [
        ('a ""quote"" , within', "2"),
        ("two\nlines", "1"),
    ]
    content = "".join(line.format(*row) for row in [("review", "rating"), *rows])
    expected = [(text.replace('""', '"'), label) for text, label in rows]
    assert pairs(read(tmp_path / "r.csv", content.encode())) == expected


def test_spaces_after_delimiters_of_fields_without_quotes(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "r.csv", b"id, review, rating\n1, so good, 5\n2, bad, 1\n")) == [
        ("so good", "5"),
        ("bad", "1"),
    ]


def test_spaces_around_fields_without_quotes(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "r.csv", b" review , rating \n so good , 5 \n bad , 1 \n")) == [
        ("so good", "5"),
        ("bad", "1"),
    ]


def test_a_padded_row_that_is_none_is_kept_apart(tmp_path: Path) -> None:
    rows = "".join(f'"{text}" ,"1"\n' for text in sentences(30))
    found = read(tmp_path / "r.csv", f'"review" ,"rating"\n{rows}"a "b"" ,"2"\n"never closed ,1\n'.encode())
    assert [(record.row, record.reason) for record in found[30:]] == [(32, "malformed"), (33, "unclosed_quote")]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("name", "delimiter"), [("r.tsv", "\t"), ("r.csv", ",")])
def test_header_lines_of_files_put_together_are_told_from_texts(
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
def test_the_names_of_rows_that_r_writes_need_no_name(tmp_path: Path, name: str) -> None:
    rows = [(text, str(place % 5)) for place, text in enumerate(sentences(9))]
    lines = ['"review"\t"rating"', *(f'"{place}"\t"{text}"\t{label}' for place, (text, label) in enumerate(rows))]
    content = "\n".join(lines).replace("\t", "," if name == "r.csv" else "\t")
    assert pairs(read(tmp_path / name, content.encode())) == rows


def test_a_text_that_is_the_column_s_name_is_a_text(tmp_path: Path) -> None:
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
def test_a_wanted_name_that_two_columns_have_is_refused(
    tmp_path: Path, header: str, settings: dict[str, Any], message: str
) -> None:
    row = ",".join("x" for _ in header.split(","))
    for name in ("r.csv", "r.tsv"):
        content = f"{header}\n{row}\n".replace(",", "\t" if name == "r.tsv" else ",")
        with pytest.raises(UserError, match=message):
            read(tmp_path / name, content.encode(), **settings)


def test_other_columns_may_have_one_name(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "r.csv", b"x,text,x\n1,a,2\n")) == [("a", None)]
    assert pairs(read(tmp_path / "r.csv", b"Text,text,label\na,b,2\n", text_column="text")) == [("b", "2")]


@pytest.mark.parametrize("header", [",0", "0", "0,1", ",0,1", "a,0"])
def test_a_column_with_a_number_for_a_name_comes_before_a_position(tmp_path: Path, header: str) -> None:
    names = header.split(",")
    texts = sentences(6)
    rows = [",".join(text if name == "0" else str(place) for name in names) for place, text in enumerate(texts)]
    found = read(tmp_path / "r.csv", "\n".join([header, *rows]).encode(), text_column="0")
    assert [record.text for record in found] == texts


def test_a_label_that_equals_the_position_is_no_header(tmp_path: Path) -> None:
    texts = sentences(6)
    content = "\n".join(f"{place % 2 + 1},{text}" for place, text in enumerate(texts, 0))
    assert [r.text for r in read(tmp_path / "r.csv", content.encode(), text_column="1")] == texts
    with pytest.raises(UserError, match="may be the column with that name or the one at that position"):
        read(tmp_path / "r.csv", b"1,b,0\n2,c,1\n3,d,0\n", text_column="0")


def test_a_header_above_a_column_named_by_position_is_no_text(tmp_path: Path) -> None:
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
def test_a_column_that_is_hardly_the_text_is_pointed_out(
    tmp_path: Path, content: str, settings: dict[str, Any], sentence: str
) -> None:
    (warning,) = how(read_with_report(tmp_path / "r.csv", content.encode(), **settings)[1]).warnings
    assert re.search(sentence, warning)


def test_the_right_column_raises_no_doubt(tmp_path: Path) -> None:
    content = "title,review,url\n" + "".join(f"{t[:9]},{t},http://x/{t.replace(' ', '-')}\n" for t in sentences(9))
    _, report = read_with_report(tmp_path / "r.csv", content.encode())
    assert how(report).warnings == ()
    assert how(report).columns == {"text": "review", "label": None, "category": None}
    assert how(report).chosen_by == {"text": "recognised by its name"}
    _, report = read_with_report(tmp_path / "r.csv", content.encode(), text_column="title")
    assert how(report).warnings == ()
    assert how(report).chosen_by == {"text": "named by corpus.text_column"}


LETTERS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(LETTERS.filter(lambda text: text.strip("\n ") != "" and "\\" not in text), min_size=1, max_size=9),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_whatever_a_quoted_table_holds_comes_back_or_is_rejected_whole(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], delimiter: str, quoting: Any
) -> None:
    content = table([(text, "1") for text in texts], delimiter=delimiter, quoting=quoting)
    found = read(tmp_path_factory.mktemp("q") / "r.csv", content)
    kept = [record.text for record in found if record.reason is None]
    missing = [text for text in texts if text in ("null", "None", "nan", "NaN", "NULL", "NaT", "<NA>")]
    assert kept == [text for text in texts if text not in missing]
