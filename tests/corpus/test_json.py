"""JSON in every supported layout."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus_helpers import how, pairs, read, read_with_report, sentences
from textgen.corpus import json_scanner
from textgen.corpus.json_scanner import Scanner, path_of_records
from textgen.errors import UserError

OBJECTS: list[dict[str, Any]] = [
    {"id": place, "review": text, "stars": place % 5 + 1, "more": {"tags": [{"a": 1}], "helpful": [2, 3]}}
    for place, text in enumerate([*sentences(12), 'a "quote", [a bracket] and {a brace}', "it's שלום 😀", "two\nlines"])
]
EXPECTED = [(one["review"], str(one["stars"])) for one in OBJECTS]


def dumped(separator: str, *, indent: int | None = None) -> str:
    return separator.join(json.dumps(one, ensure_ascii=False, indent=indent) for one in OBJECTS)


@pytest.mark.parametrize(
    ("content", "form"),
    [
        pytest.param(dumped("\n"), "json lines", id="lines"),
        pytest.param(dumped("\r\n") + "\r\n\r\n", "json lines", id="lines, CRLF"),
        pytest.param("[\n" + dumped(",\n") + "\n]\n", "json array", id="an element a line"),
        pytest.param("[" + dumped(",\n") + "]", "json array", id="an element a line, brackets beside"),
        pytest.param("[\n " + dumped("\n,") + "\n];", "json array", id="commas in front"),
        pytest.param("\ufeff[\r\n" + dumped(",\r\n") + "\r\n]", "json array", id="a mark and CRLF"),
        pytest.param(json.dumps(OBJECTS), "json array", id="all in one line"),
        pytest.param(json.dumps(OBJECTS, indent=2), "json array", id="pretty"),
        pytest.param(dumped("\n", indent=4), "json objects", id="pretty, one after another"),
        pytest.param(dumped(""), "json objects", id="one after another"),
        pytest.param(dumped(", "), "json objects", id="commas between"),
        pytest.param(json.dumps({"reviews": OBJECTS}), "json object around an array", id="wrapped"),
        pytest.param(
            json.dumps({"n": 2, "meta": {"a": [{"b": 1}]}, "reviews": OBJECTS, "end": [1]}, indent=1),
            "json object around an array",
            id="wrapped, pretty, others around",
        ),
        pytest.param(
            json.dumps({"ok": True, "data": {"page": 1, "items": OBJECTS}}),
            "json object around an array",
            id="wrapped twice",
        ),
        pytest.param(
            '{"reviews": [\n' + dumped(",\n") + "\n]}", "json object around an array", id="wrapped, an element a line"
        ),
        pytest.param(
            "\n".join(json.dumps({"page": n, "reviews": OBJECTS[n : n + 5]}) for n in (0, 5, 10)),
            "json object around an array",
            id="a page a line",
        ),
        pytest.param("\n".join(map(repr, OBJECTS)), "python dictionaries", id="Python, lines"),
        pytest.param(repr(OBJECTS), "python dictionaries", id="Python, a list"),
        pytest.param("[" + ",\n".join(map(repr, OBJECTS)) + "]\n", "python dictionaries", id="Python, a list of lines"),
        pytest.param("[\n" + ",\n".join(map(repr, OBJECTS)) + ",\n]\n", "python dictionaries", id="Python, formatted"),
    ],
)
@pytest.mark.parametrize("piece_chars", [50, 2**20])
def test_every_layout_gives_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, form: str, piece_chars: int
) -> None:
    monkeypatch.setattr(json_scanner, "PIECE_CHARS", piece_chars)
    records, report = read_with_report(tmp_path / "r.json", content.encode())
    assert pairs(records) == EXPECTED
    assert len(records) == len(EXPECTED)
    assert how(report).format == form
    assert len({record.row for record in records}) == len(EXPECTED)


def test_malformed_lines_of_an_array_are_rejected(tmp_path: Path) -> None:
    lines = [json.dumps(one) for one in OBJECTS[:6]]
    lines[2] = lines[2][:30]
    lines[4] = "7"
    found = read(tmp_path / "r.json", ("[\n" + ",\n".join(lines) + "\n]").encode())
    assert [(record.row, record.reason) for record in found] == [
        (2, None),
        (3, None),
        (4, "malformed"),
        (5, None),
        (6, "malformed"),
        (7, None),
    ]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(OBJECTS)[:-100],
        json.dumps(OBJECTS, indent=1)[:-1],
        "[\n" + dumped(",\n"),
        json.dumps({"reviews": OBJECTS})[:-1],
    ],
)
def test_a_truncated_array_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r"r\.json is truncated"):
        read(tmp_path / "r.json", content.encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n"a",\n"b"]', "holds no JSON objects"),
        ('[["text"], ["a"]]', "holds no JSON objects"),
        ("<html>", "it is a web page"),
        ("plain words", "holds no JSON objects.*set corpus.format"),
        ('{"review": {"0": "a", "1": "b"}, "uid": {"0": 1, "1": 2}}', "orient='records'"),
        ('{\n"words": {"0": "a"},\n"uid": {"0": 1}\n}', "orient='records'"),
        ('{"columns": ["text"], "data": [["a"], ["b"]]}', "orient='records'"),
        ('{"text": ["a", "b"]}', "orient='records'"),
        ("[set(), 'a']", "truncated or is not valid JSON|cannot be parsed as dictionaries"),
        (json.dumps({"text": "a"}).encode("utf-16-le").decode("latin-1"), "corpus.encoding=utf-16-le"),
    ],
)
def test_unsupported_json_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / "r.json", content.encode("latin-1"))


def test_a_record_may_contain_an_array_of_objects(tmp_path: Path) -> None:
    rows = [{"replies": [{"text": f"answer {n}"}], "text": f"question {n}"} for n in range(4)]
    for content in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps(rows, indent=1)):
        assert [r.text for r in read(tmp_path / "r.json", content.encode())] == [f"question {n}" for n in range(4)]


def test_python_literals_are_read_without_evaluating_code(tmp_path: Path) -> None:
    lines = [
        "{'review': u'a', 'stars': 5.0, 'ok': True, 'x': None}",
        "{'review': nan, 'stars': 4}",
        "{'review': \"it's\", 'stars': nan}",
        "{'review': __import__('os').getcwd(), 'stars': 1}",
        "{'review': '\\d', 'stars': 2}",
        "{broken",
        "{'_id': ObjectId('5f'), 'review': 'b', 'ok': true, 'at': datetime.date(2020, 1, 1), 'n': null, 'x': a.b}",
    ]
    found = read(tmp_path / "r.json", "\n".join(lines).encode())
    assert [(record.text, record.label, record.reason) for record in found if record.reason is None] == [
        ("a", "5", None),
        ("it's", None, None),
        ("\\d", "2", None),
        ("b", None, None),
    ]
    assert [record.reason for record in found] == [
        None,
        "no_text",
        None,
        "no_text",
        None,
        "malformed",
        None,
    ]


def test_an_array_is_read_piece_by_piece() -> None:
    class Watched(io.StringIO):
        most = 0

        def read(self, size: int | None = -1) -> str:
            assert size is not None
            assert 0 <= size <= 10_000
            return super().read(size)

    content = json.dumps({"reviews": [{"text": "x" * 50, "n": n} for n in range(5000)]})
    scanner = Scanner(Watched(content), uri="r.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scanner, "PIECE_CHARS", 1000)
        longest = 0
        for number, (row, _, values) in enumerate(scanner.items(("reviews",)), 1):
            longest = max(longest, len(scanner._text))
            assert values is not None
            assert (row, values["n"]) == (number, number - 1)
    assert longest < 5000


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    objects=st.lists(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=3), max_size=5),
    indent=st.sampled_from([None, 1]),
    piece_chars=st.integers(1, 40),
)
def test_pieces_change_nothing(objects: list[dict[str, Any]], indent: int | None, piece_chars: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scanner, "PIECE_CHARS", piece_chars)
        for content, path in ((json.dumps(objects, indent=indent), ()), (json.dumps({"a": objects, "b": 1}), ("a",))):
            found = [values for _, _, values in Scanner(io.StringIO(content), uri="r").items(path)]
            assert found == objects


@given(st.text(max_size=60))
def test_the_search_for_records_accepts_any_text(text: str) -> None:
    assert path_of_records(text, is_wanted=lambda names: "text" in names) in ((),) or "text" in text


def test_infinity_is_a_number_and_nan_is_missing(tmp_path: Path) -> None:
    content = "\n".join(json.dumps({"review": value, "stars": value}) for value in (math.inf, math.nan, 3, None))
    assert [(r.text, r.label, r.reason) for r in read(tmp_path / "r.json", content.encode())][::2] == [
        ("inf", "inf", None),
        ("3", "3", None),
    ]


def test_only_line_feeds_end_lines(tmp_path: Path) -> None:
    content = '{"text": "a\u2028b"}\n{"text": "c\x85d"}\n{broken\n'
    found = read(tmp_path / "r.jsonl", content.encode())
    assert [(r.text, r.reason) for r in found] == [("a\u2028b", None), ("c\x85d", None), ("{broken\n", "malformed")]
