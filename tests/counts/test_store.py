"""Where tables are written and found again, and what is refused."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest

from tests.written_windows import written_manifest
from textgen import storage
from textgen.counts import store
from textgen.counts.store import CountsRecord, counts_of, find_table, keep_copy, load_table, place_of
from textgen.counts.table import CountTable
from textgen.errors import MissingError, UserError
from textgen.progress import silent
from textgen.spec import ModelSpec
from textgen.windows.manifest import Manifest

SPEC = ModelSpec(counts_order=5)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    texts = [f"the cat sat {i % 7} times on the mat" for i in range(30)]
    return written_manifest(str(tmp_path / "windows"), {"train": texts, "val": texts[:3]})


def made(manifest: Manifest, spec: ModelSpec = SPEC) -> tuple[CountsRecord, CountTable]:
    record, table = CountsRecord.of(manifest, spec), counts_of(manifest, spec, say=silent)
    assert record is not None
    assert table is not None
    return record, table


def assert_same(one: CountTable, other: CountTable) -> None:
    for field in dataclasses.fields(CountTable):
        if field.name != "folds":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_model_without_counts_has_none(manifest: Manifest) -> None:
    assert CountsRecord.of(manifest, ModelSpec()) is None
    assert counts_of(manifest, ModelSpec(), say=silent) is None
    assert not storage.list_files(storage.join(manifest.uri, "counts"))


def test_a_table_is_counted_once_and_read_with_its_folds_then(manifest: Manifest) -> None:
    before = manifest.hash
    record, table = made(manifest)
    lines: list[str] = []
    again = counts_of(manifest, SPEC, say=lines.append)
    assert lines == []
    assert again is not None
    assert again.folds is not None
    assert table.folds is not None
    assert_same(table, again)
    np.testing.assert_array_equal(table.folds.children, again.folds.children)
    np.testing.assert_array_equal(table.folds.rows, again.folds.rows)
    assert record.num_ids == table.num_ids == manifest.split("train").num_ids
    assert load_table(record.uri).folds is None
    assert Manifest.load(manifest.uri).hash == before


def test_other_settings_are_another_file(manifest: Manifest) -> None:
    changes: list[dict[str, int]] = [{}, {"counts_order": 6}, {"counts_max_megabytes": 1}, {"counts_words": 1}]
    specs = [dataclasses.replace(SPEC, **change) for change in changes]
    assert len({made(manifest, spec)[0].uri for spec in specs}) == 4


def test_counts_without_words_have_the_name_and_the_form_that_they_had_before_there_were_words(
    manifest: Manifest,
) -> None:
    record, table = made(manifest)
    assert record.hash == "f472f2a4b1dc14a232a82052a6e4ba28"
    with np.load(io.BytesIO(storage.read_bytes(record.uri))) as stored:
        assert "word_flags" not in stored.files
    _, with_words = made(manifest, dataclasses.replace(SPEC, counts_words=2))
    assert (table.num_words, with_words.num_words) == (0, 2)
    assert with_words.word_flags.any()
    assert not table.word_flags.any()


@pytest.mark.parametrize("name", ["{}.npz", "{}.folds.npz"])
@pytest.mark.parametrize("is_gone", [False, True])
def test_what_is_damaged_or_missing_is_counted_again(manifest: Manifest, name: str, is_gone: bool) -> None:
    record, table = made(manifest)
    path = Path(manifest.uri) / "counts" / name.format(record.hash)
    content = path.read_bytes()
    if is_gone:
        path.unlink()
    else:
        path.write_bytes(content[:-700] + b"?" + content[-699:])
    again = counts_of(manifest, SPEC, say=silent)
    assert again is not None
    assert_same(table, again)
    assert_same(table, load_table(record.uri))


def test_a_damaged_table_is_not_read(manifest: Manifest) -> None:
    record, _ = made(manifest)
    Path(record.uri).write_bytes(b"PK")
    with pytest.raises(UserError, match="differs from what was written"):
        load_table(record.uri)


def test_folds_of_another_table_are_not_read(manifest: Manifest) -> None:
    record, _ = made(manifest)
    other, _ = made(manifest, ModelSpec(counts_order=6))
    Path(store._folds_of(record.uri)).write_bytes(Path(store._folds_of(other.uri)).read_bytes())
    with pytest.raises(UserError, match="belongs to another table"):
        store._load_folds(record.uri, like=load_table(record.uri))


def test_a_run_keeps_a_copy_that_is_found_before_the_windows(manifest: Manifest, tmp_path: Path) -> None:
    record, table = made(manifest)
    run, best = str(tmp_path / "run"), str(tmp_path / "best")
    keep_copy(record.to_dict(), run)
    storage.delete(manifest.uri)
    keep_copy(record.to_dict(), run)  # It is there: the source is not looked at.
    keep_copy(record.to_dict(), best, sources=[run])
    for folder in (run, best):
        assert storage.exists(place_of(folder, record.hash))
        assert_same(table, find_table(record.to_dict(), [folder], wanted_by="a checkpoint"))


def test_a_table_that_is_nowhere_is_said_so(manifest: Manifest, tmp_path: Path) -> None:
    record, _ = made(manifest)
    storage.delete(manifest.uri)
    with pytest.raises(UserError, match="copy the folder counts of its run"):
        find_table(record.to_dict(), [str(tmp_path / "run")], wanted_by="a checkpoint")
    with pytest.raises(UserError, match="do not exist any more"):
        keep_copy(record.to_dict(), str(tmp_path / "run"))
    with pytest.raises(MissingError):
        load_table(record.uri)


def test_a_large_vocabulary_is_refused(tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    manifest = written_manifest(str(tmp_path / "windows"), {"train": [text], "val": []})
    with pytest.raises(UserError, match=r"has 30\d ids; counts are for up to 256"):
        counts_of(manifest, SPEC, say=silent)


@pytest.mark.parametrize("order", [3, 8])
def test_orders_out_of_range_are_refused(order: int) -> None:
    with pytest.raises(UserError, match="use 4 to 7, or none"):
        ModelSpec(counts_order=order)
