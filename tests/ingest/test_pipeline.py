"""The ingest pipeline: the result does not depend on the order of work, and no record is lost."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ingest_helpers import SHARED_DATA, ids_of, ingested, run_serially, serially, shared_file
from textgen import storage
from textgen.errors import UserError
from textgen.ingest import exchange, grouping, staging
from textgen.ingest import pipeline as ingest_module
from textgen.windows.manifest import SPLITS
from textgen.windows.shards import iter_documents

__all__ = ["serially"]
pytestmark = pytest.mark.usefixtures("serially")

EVERY_SHARED_FILE = sorted(
    str(path.relative_to(SHARED_DATA)) for path in SHARED_DATA.rglob("*") if path.is_file() and path.suffix != ".md"
)
SETTINGS_OF = {
    "novels/frankenstein-2.txt": {"corpus__encoding": "cp1252"},
    "reviews/malformed_amazon_reviews.csv": {"corpus__format": "text"},
    "tweets/sentiment140_20k.csv": {"corpus__text_column": "5", "corpus__label_column": "0"},
    "tweets/thinknook_sentiment.csv": {"corpus__encoding": "cp1252"},
}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes chunks, groups and ranges so small that a test's corpus needs many."""
    monkeypatch.setattr(ingest_module, "CHUNK_BYTES", 3_000)
    monkeypatch.setattr(ingest_module, "RANGE_BYTES", 5_000)
    monkeypatch.setattr(staging, "BATCH_CHARS", 1_000)
    monkeypatch.setattr(grouping, "GROUP_BYTES", 4_000)
    monkeypatch.setattr(grouping, "MIN_FILE_BYTES", 1)
    monkeypatch.setattr(exchange, "MIN_RUN_BYTES", 3_000)
    monkeypatch.setattr(exchange, "REQUEST_BYTES", 5_000)


def corpus(folder: Path, *, num_files: int = 5, num_lines: int = 60) -> Path:
    """Writes reviews as TSV; a fifth repeat an earlier text from the same file or another."""
    drawn = random.Random(3)
    words = ["good", "bad", "תודה", "film", "😀", "never", "again"]
    said: list[str] = []
    folder.mkdir(exist_ok=True)
    for number in range(num_files):
        lines = ["review_body\tstar_rating"]
        for _ in range(num_lines + number):
            repeats = said and drawn.random() < 0.2
            text = drawn.choice(said) if repeats else " ".join(drawn.choices(words, k=drawn.randint(3, 30)))
            said.append(text)
            lines.append(f"{text}\t{drawn.randint(1, 5)}")
        (folder / f"{number}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("order", ["hash", "file"])
@pytest.mark.parametrize("separator", [None, " | "])
@pytest.mark.usefixtures("small_pieces")
def test_the_result_does_not_depend_on_pieces_or_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, separator: str | None
) -> None:
    settings: dict[str, Any] = {
        "corpus__document_order": order,
        "windows__separator": separator,
        "corpus__test_share": 0.2,
        "windows__shard_bytes": 4_000,
    }
    source = str(corpus(tmp_path / "in"))
    first, manifest = ingested([source], tmp_path / "a", **settings)
    assert len(manifest.split("train").shards) > 2
    monkeypatch.setattr(
        ingest_module, "run_tasks", lambda task, items, **kwargs: run_serially(task, list(reversed(items)), **kwargs)
    )
    listed = storage.list_files
    monkeypatch.setattr(storage, "list_files", lambda uri: listed(uri)[::-1])
    second, other = ingested([source], tmp_path / "b", **settings)
    assert {**first, "manifest_uri": "", "seconds": 0} == {**second, "manifest_uri": "", "seconds": 0}
    assert other.hash == manifest.hash
    assert ids_of(other, tmp_path / "cache-b") == ids_of(manifest, tmp_path / "cache-a")


def expected_documents(source: Path, *, deduplicate: bool = True) -> list[tuple[str, str]]:
    """Returns text and label of the documents that an ingest should keep, in file order."""
    rows = [tuple(line.split("\t")) for path in sorted(source.iterdir()) for line in path.read_text().splitlines()[1:]]
    first: dict[str, str] = {}
    for text, label in rows:
        first.setdefault(text, label)
    return list(first.items()) if deduplicate else [(text, label) for text, label in rows]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("deduplicate", [True, False])
@pytest.mark.parametrize("separator", [None, "--"])
def test_file_order_is_kept_across_chunks_and_shards(tmp_path: Path, deduplicate: bool, separator: str | None) -> None:
    source = corpus(tmp_path / "in")
    result, manifest = ingested(
        [str(source)],
        tmp_path / "out",
        corpus__document_order="file",
        corpus__deduplicate=deduplicate,
        corpus__val_share=0.0,
        corpus__test_share=0.0,
        windows__separator=separator,
        windows__shard_bytes=3_000,
    )
    expected = expected_documents(source, deduplicate=deduplicate)
    assert [(document.text, document.label) for document in iter_documents(manifest, "train")] == expected
    assert result["duplicates"] == result["records"] - len(expected)
    ids = ids_of(manifest, tmp_path / "cache")["train"]
    joined = ("" if separator is None else separator).join(text for text, _ in expected)
    assert manifest.vocabulary.decode(list(ids)) == joined
    assert result["characters"] == len(joined)
    assert result["distinct_characters"] == len(set(joined))


@pytest.mark.usefixtures("small_pieces")
def test_hash_order_keeps_every_document_once_with_its_first_label(tmp_path: Path) -> None:
    source = corpus(tmp_path / "in")
    result, manifest = ingested([str(source)], tmp_path / "out", corpus__val_share=0.1)
    documents = {split: list(iter_documents(manifest, split)) for split in SPLITS}
    found = [document for split in SPLITS for document in documents[split]]
    assert sorted((document.text, document.label) for document in found) == sorted(expected_documents(source))
    assert result["records"] == 60 * 5 + 10
    for split in SPLITS:
        keys = [document.document_id for document in documents[split]]
        assert keys == sorted(set(keys))
        assert len(keys) >= 20


def test_the_vocabulary_is_counted_only_on_train(tmp_path: Path) -> None:
    source = tmp_path / "t.txt"
    source.write_text("\n".join(f"{chr(0x4E00 + number)} word" for number in range(300)))
    result, manifest = ingested([str(source)], tmp_path / "out")
    train = {character for document in iter_documents(manifest, "train") for character in document.text}
    assert {chr(code) for code in manifest.vocabulary.symbols} == train
    assert result["distinct_characters"] == 300 + len(set(" word")) > len(train)
    assert all(0xFFFD in map(ord, document.text) for document in iter_documents(manifest, "val"))


def test_without_unknown_the_symbols_of_all_splits_have_ids(tmp_path: Path) -> None:
    source = tmp_path / "t.txt"
    source.write_text("\n".join(f"{chr(0x4E00 + number)} word" for number in range(300)))
    _, manifest = ingested([str(source)], tmp_path / "out", windows__separator="|")
    assert {chr(code) for code in manifest.vocabulary.symbols} == {chr(0x4E00 + n) for n in range(300)} | set(" word|")
    held_out = [document.text for split in ("val", "test") for document in iter_documents(manifest, split)]
    assert set(held_out) < set(source.read_text().splitlines())


def test_bytes_are_counted_and_stored_as_bytes(tmp_path: Path) -> None:
    source = tmp_path / "t.txt"
    source.write_text("שלום\nab")
    result, manifest = ingested(
        [str(source)], tmp_path / "out", windows__unit="bytes", corpus__val_share=0, corpus__test_share=0
    )
    assert (result["characters"], result["documents"], result["stored_bytes"]) == (10, 2, 12)
    assert sorted(document.text for document in iter_documents(manifest, "train")) == ["ab", "שלום"]


@pytest.mark.parametrize("name", EVERY_SHARED_FILE)
def test_no_record_of_the_real_corpora_is_lost(tmp_path: Path, name: str) -> None:
    result, manifest = ingested([shared_file(name)], tmp_path / "out", **SETTINGS_OF.get(name, {}))
    assert result["records"] > 0
    assert result["records"] == sum(result[part] for part in ("documents", "duplicates", "dropped", "rejected"))
    width = manifest.vocabulary.id_dtype.itemsize
    assert width == (1 if result["vocab_size"] <= 256 else 2)
    ids = ids_of(manifest, tmp_path / "cache")
    assert sum(map(len, ids.values())) == result["stored_bytes"]
    assert result["stored_bytes"] <= 1.1 * (result["characters"] + result["documents"]) * width


@pytest.mark.parametrize(
    ("name", "records", "rejected"),
    [
        ("reviews/Musical_instruments_reviews.csv.zip", 10_261, {"empty": 7}),
        ("reviews/All_Beauty_5.json.gz", 5_269, {"no_text": 5}),
        ("reviews/amazon_reviews_us_Gift_Card_v1_00.tsv", 1_452, {}),
        ("tweets/sentiment140_20k.csv", 20_000, {}),
        ("tweets/elonmusk_tweets.csv", 2_818, {}),
    ],
)
def test_the_real_corpora_have_their_known_sizes(
    tmp_path: Path, name: str, records: int, rejected: dict[str, int]
) -> None:
    result, _ = ingested([shared_file(name)], tmp_path / "out", **SETTINGS_OF.get(name, {}))
    assert (result["records"], result["rejected_by_reason"]) == (records, rejected)


def test_the_tweets_give_the_published_numbers(tmp_path: Path) -> None:
    result, _ = ingested([shared_file("tweets/hebrew_tweets.npy")], tmp_path / "out", preset="tweets")
    assert (result["characters"], result["distinct_characters"], result["vocab_size"]) == (134_481, 130, 130)
    assert result["windows"] == {"train": 44_814, "val": 0, "test": 0}
    assert (result["documents"], result["dropped_by_rule"]) == (1_431, {"drop_containing": 128})


def test_the_novel_gives_its_known_numbers(tmp_path: Path) -> None:
    source = shared_file("novels/frankenstein-2.txt")
    for unit in ("paragraph", "file"):  # Paragraphs joined by spaces give the same text as the whole file.
        result, manifest = ingested(
            [source], tmp_path / unit, preset="novel", corpus__encoding="cp1252", corpus__document_unit=unit
        )
        assert (result["characters"], result["distinct_characters"], result["vocab_size"]) == (80_233, 40, 40)
        assert result["windows"] == {"train": 80_133, "val": 0, "test": 0}
        assert result["documents"] == {"paragraph": 221, "file": 1}[unit]
        text = manifest.vocabulary.decode(list(ids_of(manifest, tmp_path / "cache")["train"]))
        assert text.startswith("chapter 1 birth genevese family one distinguished republic ancestors many years")


def test_header_and_licence_of_a_book_are_left_out(tmp_path: Path) -> None:
    source = shared_file("novels/frankenstein_pg84.txt")
    result, manifest = ingested([source], tmp_path / "out", preset="novel_best")
    text = "\n\n".join(document.text for split in SPLITS for document in iter_documents(manifest, split))
    assert 410_000 < result["characters"] < 420_000
    assert "Gutenberg" not in text
    assert "I am by birth a Genevese" in text


def test_the_malformed_csv_is_an_error_and_its_valid_rows_can_be_read(tmp_path: Path) -> None:
    source = shared_file("reviews/malformed_amazon_reviews.csv")
    with pytest.raises(
        UserError, match=r"5,000 of 5,000 records are rejected \(columns 3,831, empty 1,169\).*rejected"
    ):
        ingested([source], tmp_path / "out")
    header = Path(source).read_text().partition("\n")[0].partition(",")[2]
    result, _ = ingested([source], tmp_path / "out2", corpus__text_column=header, corpus__max_rejected_share=0.8)
    assert (result["records"], result["rejected_by_reason"]) == (5_000, {"columns": 3_831})
    assert result["documents"] + result["duplicates"] == 1_169


def test_a_wrong_encoding_is_an_error_that_can_be_corrected_in_the_same_output(tmp_path: Path) -> None:
    source = tmp_path / "t.txt"
    source.write_bytes("\n".join(f"it’s {number}" for number in range(90)).encode("cp1252"))
    with pytest.raises(UserError, match=r"line 1: the byte 0x92 .* corpus\.encoding=cp1252"):
        ingested([str(source)], tmp_path / "out")
    result, _ = ingested([str(source)], tmp_path / "out", corpus__encoding="cp1252")
    assert result["documents"] == 90


def test_too_many_rejected_records_fail_until_the_share_is_raised(tmp_path: Path) -> None:
    source = tmp_path / "r.jsonl"
    source.write_text("".join(f'{{"text": "line {n}"}}\n' if n % 4 else "broken\n" for n in range(200)))
    with pytest.raises(UserError, match=r"50 of 200 records .*malformed 50.*max_rejected_share = 5%"):
        ingested([str(source)], tmp_path / "out")
    rejected = [file.uri for file in storage.list_files(str(tmp_path / "out" / "rejected"))]
    assert len(rejected) == 1
    result, _ = ingested([str(source)], tmp_path / "out", corpus__max_rejected_share=0.3)
    assert (result["documents"], result["rejected"]) == (150, 50)


def test_no_remaining_documents_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a\nb")
    with pytest.raises(UserError, match="no documents remain for train"):
        ingested([str(tmp_path / "t.txt")], tmp_path / "out", corpus__min_document_chars=9)
    with pytest.raises(UserError, match=r"corpus\.keep_categories is \['books'\]"):
        ingested([str(tmp_path / "t.txt")], tmp_path / "out1", corpus__keep_categories="books")
    (tmp_path / "u.txt").write_text("\n \n")
    with pytest.raises(UserError, match="hold no records"):
        ingested([str(tmp_path / "u.txt")], tmp_path / "out2")


MEASURED = """
import json, resource, sys
from tests.ingest_helpers import run_serially, spec_with
from textgen.ingest import exchange, grouping, staging
from textgen.ingest import pipeline
pipeline.run_tasks = run_serially
pipeline.CHUNK_BYTES = pipeline.RANGE_BYTES = pipeline.SHARD_WEIGHT_BYTES = 2**20
staging.BATCH_CHARS = 2**18
spec = spec_with("tiny", windows__shard_bytes=2**20)
result = pipeline.ingest([sys.argv[1]], output=sys.argv[2], spec=spec, say=lambda _: None)
print(json.dumps([result["characters"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """A process that runs all tasks of an ingest needs no more memory for a corpus ten times as large."""
    measured = []
    for num_lines in (4_000, 40_000):
        drawn = random.Random(num_lines)
        source = tmp_path / f"{num_lines}.txt.gz"
        with gzip.open(source, "wt", compresslevel=1) as stream:
            for _ in range(num_lines):
                stream.write(f"{drawn.getrandbits(2048):x}\n")
        command = [sys.executable, "-c", MEASURED, str(source), str(tmp_path / f"out{num_lines}")]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
        measured.append(json.loads(done.stdout))
    (few, little), (many, much) = measured
    assert many > 9 * few
    assert much - little < 10 * 2**20 < (many - few) * 0.6, (little, much)
