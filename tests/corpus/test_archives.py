"""Compressed files and archives, and the files that accompany the data in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpus_helpers import read, read_with_report, sentences
from textgen.corpus.naming import format_of, is_about_data, is_hidden, listed, unpacked_name
from textgen.corpus.sources import resolve
from textgen.errors import UserError

TEXTS = sentences(40)
CSV = ("text,label\n" + "".join(f"{text},1\n" for text in TEXTS)).encode()


def zipped(**members: bytes) -> bytes:
    return zip_of(members)


def zip_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tar_of(members: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    return stream.getvalue()


def pack(kind: str, content: bytes) -> bytes:
    packers: dict[str, Callable[[bytes], bytes]] = {
        "plain": bytes,
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": lambda c: pa.compress(c, codec="zstd", asbytes=True),
        "lz4": lambda c: pa.compress(c, codec="lz4", asbytes=True),
    }
    return packers[kind](content)


@pytest.mark.parametrize("kind", ["plain", "gzip", "bzip2", "xz", "zstd", "lz4"])
@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.csv.xz", "r.csv.bz2", "r.csv.lz4", "r.csv.zip", "R.CSV.GZ"])
def test_compression_is_detected_by_content_and_not_by_name(tmp_path: Path, kind: str, name: str) -> None:
    records, report = read_with_report(tmp_path / name, pack(kind, CSV))
    assert [record.text for record in records] == TEXTS
    assert any("is not compressed although its name ends in" in note for note in report.notes) == (
        kind == "plain" and name != "r.csv"
    )


@pytest.mark.parametrize("kind", ["plain", "gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["r.tar", "r.tgz", "r.tar.bz2", "anything"])
def test_tars_are_archives(tmp_path: Path, kind: str, form: int, name: str) -> None:
    content = pack(
        kind, tar_of({"data/b.csv": CSV, "data/README": b"words of it", "a.json": b'{"text": "x"}'}, form=form)
    )
    records, report = read_with_report(tmp_path / name, content)
    assert [record.text for record in records] == [*TEXTS, "x"]
    assert len({record.row for record in records}) == len(records)
    assert report.left_out == ["data/README"]


def test_a_tar_without_magic_bytes_is_recognised(tmp_path: Path) -> None:
    content = bytearray(tar_of({"a.csv": CSV}, form=tarfile.USTAR_FORMAT)[512:])  # Without the folder.
    content[257:265] = bytes(8)
    header = tarfile.TarInfo.frombuf
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    assert header(bytes(content[:512]), "utf-8", "strict").name == "a.csv"
    assert [record.text for record in read(tmp_path / "old", bytes(content))] == TEXTS


def test_nested_compression_is_unpacked(tmp_path: Path) -> None:
    inner = {"part-1.csv.gz": gzip.compress(CSV), "part-2.csv": CSV, "LICENSE.txt": b"may be used"}
    for content in (zip_of(inner), tar_of(inner), gzip.compress(gzip.compress(CSV)), zip_of({"a.zip": zip_of(inner)})):
        assert {record.text for record in read(tmp_path / "r.csv.gz", content)} == set(TEXTS)


OTHERS = {
    "README.md": b"# about",
    "readme.txt": b"about\nthese data",
    "docs/ReadMe_first.txt": b"about",
    "LICENSE": b"may be used",
    "License-CC0.txt": b"may be used",
    "CHANGELOG.rst": b"changed",
    ".hidden.csv": b"text\nno",
    "__MACOSX/._data.csv": b"\0\5\x16",
    "data/.DS_Store": b"\0\0",
    "_SUCCESS": b"",
    "picture.jpg": b"\xff\xd8",
    "dataset-metadata.json": b'{"title": "x"}',
    "index.html": b"<html>",
}


@pytest.mark.parametrize("pack_members", [zip_of, tar_of])
def test_members_without_data_are_reported_and_skipped(
    tmp_path: Path, pack_members: Callable[[dict[str, bytes]], bytes]
) -> None:
    records, report = read_with_report(tmp_path / "r.zip", pack_members({**OTHERS, "data/reviews.csv": CSV}))
    assert [record.text for record in records] == TEXTS
    assert sorted(report.left_out) == sorted(OTHERS)


def test_plain_texts_are_data_and_readmes_beside_them_are_not(tmp_path: Path) -> None:
    content = zipped(**{"books/one.txt": b"a\nb", "books/two.txt": b"c", "books/readme.txt": b"about"})
    records, report = read_with_report(tmp_path / "r.zip", content)
    assert ([record.text for record in records], report.left_out) == (["a", "b", "c"], ["books/readme.txt"])


@pytest.mark.parametrize(
    ("patterns", "texts"),
    [
        (("reviews/*.csv",), ["1", "2"]),
        (("other.csv",), ["3"]),
        (("reviews/b.csv", "other.csv"), ["3", "2"]),
        (("*.csv",), ["3", "1", "2"]),
    ],
)
def test_members_can_be_selected(tmp_path: Path, patterns: tuple[str, ...], texts: list[str]) -> None:
    members = {"reviews/a.csv": b"text\n1\n", "reviews/b.csv": b"text\n2\n", "other.csv": b"text\n3\n", "r.txt": b"4"}
    records, report = read_with_report(tmp_path / "r.zip", zip_of(members), members=patterns)
    assert [record.text for record in records] == texts
    assert len(report.left_out) == 4 - len(texts)
    assert [r.text for r in read(tmp_path / "r.tar", tar_of(members), members=("README*", "other.csv"))] == ["3"]


def test_a_selection_without_matches_and_archives_without_data_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.members is \*\.tsv but .*r\.zip contains a\.csv"):
        read(tmp_path / "r.zip", zip_of({"a.csv": CSV}), members=("*.tsv",))
    with pytest.raises(UserError, match=r"contains README\.md, x\.jpg.*--set corpus\.members="):
        read(tmp_path / "r.zip", zip_of({"README.md": b"x", "x.jpg": b"x"}))
    with pytest.raises(UserError, match="contains no files"):
        read(tmp_path / "r.zip", zip_of({}))
    assert [r.text for r in read(tmp_path / "r.zip", zip_of({"a.xml": b"words"}), format="text")] == ["words"]


def test_a_member_without_texts_can_be_skipped(tmp_path: Path) -> None:
    content = zip_of({"test.csv": b"text\na\n", "sample_submission.csv": b"id,target\n1,0\n"})
    with pytest.raises(UserError, match=r"\(sample_submission\.csv\) is recognised as text.*--set corpus\.members="):
        read(tmp_path / "r.zip", content)
    assert [record.text for record in read(tmp_path / "r.zip", content, members=("test*",))] == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "a 7-Zip archive: unpack it"),
        (b"Rar!\x1a\x07\x01" + bytes(50), "a RAR archive"),
        (b"%PDF-1.4\n", "a PDF document"),
        (
            zip_of({"[Content_Types].xml": b"<x>", "xl/workbook.xml": b"<x>"}),
            "an Excel or Word document; save it as CSV",
        ),
        (b"SQLite format 3\0" + bytes(99), "an SQLite database"),
    ],
)
@pytest.mark.parametrize("name", ["r.csv", "r.xlsx", "r"])
def test_unsupported_file_types_are_named(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / name, content)


def test_parquet_and_npy_are_recognised_by_content(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": TEXTS}), sink)
    for name in ("part-00000", "r.csv", "r.parquet.gz"):
        assert [r.text for r in read(tmp_path / name, sink.getvalue().to_pybytes())] == TEXTS


def test_truncated_archives_are_reported_as_damaged(tmp_path: Path) -> None:
    for name, content in (
        ("r.csv.xz", lzma.compress(CSV * 50)[:-40]),
        ("r.tar.gz", gzip.compress(tar_of({"a.csv": CSV * 50}))[:-40]),
        ("r.tar", tar_of({"a.csv": CSV * 50})[:3000]),
    ):
        with pytest.raises(UserError, match=f"{name} is truncated or damaged"):
            read(tmp_path / name, content)


def test_readmes_in_a_folder_are_skipped(tmp_path: Path) -> None:
    for name in ("a.csv", "README.md", "readme.txt", "LICENSE", "sub/notes.txt", "sub/license.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text\nx\n")
    said: list[str] = []
    files = resolve([str(tmp_path)], say=said.append)
    assert [Path(file.uri).name for file in files] == ["a.csv", "notes.txt"]
    (line,) = said
    assert "README.md" in line
    assert "4 files" in line
    assert [Path(file.uri).name for file in resolve([str(tmp_path / "readme.txt")])] == ["readme.txt"]
    assert [Path(file.uri).name for file in resolve([str(tmp_path / "*.txt")])] == ["readme.txt"]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "README.txt").write_text("words")
    assert len(resolve([str(tmp_path / "only")])) == 1


@pytest.mark.parametrize(
    ("name", "is_about"),
    [
        ("README", True),
        ("readme.txt", True),
        ("read_me.txt.gz", True),
        ("x/Licence.TXT", True),
        ("notes.md", True),
        ("readme_reviews.csv", False),
        ("licenses.csv", False),
        ("readers.txt", False),
        ("license_to_kill.txt", True),
        ("changes.csv", False),
        ("reviews.json", False),
        ("metadata.json", True),
    ],
)
def test_names_identify_files_about_the_data(name: str, is_about: bool) -> None:
    assert is_about_data(name) is is_about


def test_format_names_ignore_compression_suffixes() -> None:
    assert [unpacked_name(name) for name in ("a.csv.tar.gz", "a.csv.tgz", "a.CSV.GZ", "gz", "a.b")] == [
        "a.csv",
        "a.csv",
        "a.CSV",
        "gz",
        "a.b",
    ]
    assert (format_of("a.JSON.xz"), format_of("a"), format_of("tweets.js.gz")) == ("jsonl", None, "twitter_archive")
    assert [is_hidden(path) for path in ("a/.b/c", "__MACOSX/a", "_x", "_x/a", "a_")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert listed(map(str, range(8))) == "0, 1, 2, 3, 4 and 3 more"
