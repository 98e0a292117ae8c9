"""Sources -> shards and manifest: the same from every order of work, nothing lost, resumed where it was broken off."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ingest_helpers import SHARED_DATA, ids_of, ingested, run_serially, serially, shared_file, spec_with
from textgen import storage
from textgen.errors import UserError
from textgen.ingest import exchange, grouping, staging, tasks
from textgen.ingest import pipeline as ingest_module
from textgen.ingest.pipeline import ingest
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
    """Makes chunks, groups and ranges so small that a test's corpus takes many of each."""
    monkeypatch.setattr(ingest_module, "CHUNK_BYTES", 3_000)
    monkeypatch.setattr(ingest_module, "RANGE_BYTES", 5_000)
    monkeypatch.setattr(staging, "BATCH_CHARS", 1_000)
    monkeypatch.setattr(grouping, "GROUP_BYTES", 4_000)
    monkeypatch.setattr(grouping, "MIN_FILE_BYTES", 1)
    monkeypatch.setattr(exchange, "MIN_RUN_BYTES", 3_000)
    monkeypatch.setattr(exchange, "REQUEST_BYTES", 5_000)


def corpus(folder: Path, *, num_files: int = 5, num_lines: int = 60) -> Path:
    """Writes reviews as TSV, a fifth of them said before, in the same file or another."""
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
def test_pieces_and_their_order_change_nothing(
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
    """Returns text and label of what an ingest should keep, in the order of the files."""
    rows = [tuple(line.split("\t")) for path in sorted(source.iterdir()) for line in path.read_text().splitlines()[1:]]
    first: dict[str, str] = {}
    for text, label in rows:
        first.setdefault(text, label)
    return list(first.items()) if deduplicate else [(text, label) for text, label in rows]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("deduplicate", [True, False])
@pytest.mark.parametrize("separator", [None, "--"])
def test_file_order_is_kept_over_chunks_and_shards(tmp_path: Path, deduplicate: bool, separator: str | None) -> None:
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


def test_the_vocabulary_is_counted_on_train_alone(tmp_path: Path) -> None:
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
    for unit in ("paragraph", "file"):  # Paragraphs joined by a space are the same text as the words of all.
        result, manifest = ingested(
            [source], tmp_path / unit, preset="novel", corpus__encoding="cp1252", corpus__document_unit=unit
        )
        assert (result["characters"], result["distinct_characters"], result["vocab_size"]) == (80_233, 40, 40)
        assert result["windows"] == {"train": 80_133, "val": 0, "test": 0}
        assert result["documents"] == {"paragraph": 221, "file": 1}[unit]
        text = manifest.vocabulary.decode(list(ids_of(manifest, tmp_path / "cache")["train"]))
        assert text.startswith("chapter 1 birth genevese family one distinguished republic ancestors many years")


def test_header_and_licence_of_a_whole_book_stay_out(tmp_path: Path) -> None:
    source = shared_file("novels/frankenstein_pg84.txt")
    result, manifest = ingested([source], tmp_path / "out", preset="novel_best")
    text = "\n\n".join(document.text for split in SPLITS for document in iter_documents(manifest, split))
    assert 410_000 < result["characters"] < 420_000
    assert "Gutenberg" not in text
    assert "I am by birth a Genevese" in text


def test_the_malformed_csv_is_explained_and_its_good_rows_can_be_had(tmp_path: Path) -> None:
    source = shared_file("reviews/malformed_amazon_reviews.csv")
    with pytest.raises(
        UserError, match=r"5,000 of 5,000 records cannot be used \(columns 3,831, empty 1,169\).*rejected"
    ):
        ingested([source], tmp_path / "out")
    header = Path(source).read_text().partition("\n")[0].partition(",")[2]
    result, _ = ingested([source], tmp_path / "out2", corpus__text_column=header, corpus__max_rejected_share=0.8)
    assert (result["records"], result["rejected_by_reason"]) == (5_000, {"columns": 3_831})
    assert result["documents"] + result["duplicates"] == 1_169


def test_a_wrong_encoding_is_explained_and_mended_in_the_same_output(tmp_path: Path) -> None:
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


def test_nothing_left_is_explained(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a\nb")
    with pytest.raises(UserError, match="no document is left for train"):
        ingested([str(tmp_path / "t.txt")], tmp_path / "out", corpus__min_document_chars=9)
    with pytest.raises(UserError, match=r"corpus\.keep_categories is \['books'\]"):
        ingested([str(tmp_path / "t.txt")], tmp_path / "out1", corpus__keep_categories="books")
    (tmp_path / "u.txt").write_text("\n \n")
    with pytest.raises(UserError, match="hold no records"):
        ingested([str(tmp_path / "u.txt")], tmp_path / "out2")


def test_a_finished_output_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = corpus(tmp_path / "in")
    first, _ = ingested([str(source)], tmp_path / "out")
    monkeypatch.setattr(ingest_module, "run_tasks", None)
    said: list[str] = []
    again = ingest([str(source)], output=str(tmp_path / "out"), spec=spec_with("tiny"), say=said.append)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert "finished already" in said[0]
    with pytest.raises(UserError, match=r"other corpus\.seed and windows\.min_count"):
        ingested([str(source)], tmp_path / "out", corpus__seed=1, windows__min_count=2)
    with pytest.raises(UserError, match="other sources"):
        ingested([str(source / "0.tsv")], tmp_path / "out")
    os.utime(source / "0.tsv", ns=(5, 5))  # As when a label was mended in place.
    with pytest.raises(UserError, match="files of the sources have changed since the finished ingest in"):
        ingested([str(source)], tmp_path / "out")
    forget_versions(tmp_path / "out")
    wider, _ = ingested(
        [str(source)],
        tmp_path / "out",
        training__order="shuffled",
        windows__context_length=16,
        windows__stride=4,
    )
    assert wider["windows"]["train"] > first["windows"]["train"]


def forget_versions(output: Path) -> None:
    """Makes a manifest one that was written before files had versions."""
    content = json.loads((output / "manifest.json").read_text())
    content["sources"] = [{"uri": file["uri"], "size_bytes": file["size_bytes"]} for file in content["sources"]]
    (output / "manifest.json").write_text(json.dumps(content))


def broken_off(after: int) -> Callable[..., Any]:
    """Returns a stand-in for `run_tasks` that breaks off after so many results."""
    left = after

    def run(task: Any, items: Any, **arguments: Any) -> Any:
        nonlocal left
        for value in run_serially(task, items, **arguments):
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            yield value

    return run


@pytest.mark.usefixtures("small_pieces")
def test_what_is_staged_of_files_that_were_mended_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = corpus(tmp_path / "in")
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "run_tasks", broken_off(3))
        with pytest.raises(KeyboardInterrupt):
            ingested([str(source)], tmp_path / "out")
    mended = source / "0.tsv"
    mended.write_bytes(mended.read_bytes()[::-1].replace(b"\n", b" ")[::-1])
    os.utime(mended, ns=(5, 5))
    _, whole = ingested([str(source)], tmp_path / "whole")
    _, completed = ingested([str(source)], tmp_path / "out")
    assert completed.hash == whole.hash


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("after", "num_again"), [(3, 2), (10, 1), (22, 0)])
def test_a_half_finished_ingest_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, num_again: int
) -> None:
    source = corpus(tmp_path / "in")
    whole, manifest = ingested([str(source)], tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "run_tasks", broken_off(after))
        with pytest.raises(KeyboardInterrupt):
            ingested([str(source)], tmp_path / "out")
    assert not storage.exists(str(tmp_path / "out" / "manifest.json"))
    with pytest.raises(UserError, match="unfinished ingest of other sources or settings"):
        ingested([str(source)], tmp_path / "out", corpus__seed=5)
    staged_again: list[int] = []
    original = tasks.stage
    monkeypatch.setattr(
        tasks, "stage", lambda item, **kwargs: staged_again.append(item["batch"]) or original(item, **kwargs)
    )
    result, completed = ingested([str(source)], tmp_path / "out")
    assert len(staged_again) == num_again
    assert completed.hash == manifest.hash
    assert not (tmp_path / "out" / "_staging").exists()
    assert {**result, "seconds": 0, "manifest_uri": ""} == {**whole, "seconds": 0, "manifest_uri": ""}
    assert not storage.list_files(str(tmp_path / "out" / "_staging"))


@pytest.mark.parametrize("settings", [{}, {"corpus__seed": 5}])
def test_what_another_version_staged_is_staged_anew(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Version 1 had a Parquet file a chunk; its fingerprint named no version."""
    source = corpus(tmp_path / "in")
    _, whole = ingested([str(source)], tmp_path / "whole", **settings)
    with pytest.raises(UserError, match="no document is left for train"):  # Leaves what it staged.
        ingested([str(source)], tmp_path / "out", corpus__min_document_chars=1000)
    staged = tmp_path / "out" / "_staging"
    content = json.loads((staged / "fingerprint.json").read_text())
    assert content.pop("staging_version") == 2
    (staged / "fingerprint.json").write_text(json.dumps(content))
    (staged / "00000.json").write_text('[{"name": "_staging/00000-00000.parquet", "source_bytes": 1}]')
    said: list[str] = []
    spec = spec_with("tiny", **settings)
    result = ingest([str(source)], output=str(tmp_path / "out"), spec=spec, say=said.append)
    assert "another version of textgen" in said[0]
    assert result["manifest_hash"] == whole.hash
    assert not staged.exists()


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
    """A process that does all tasks of an ingest takes no more room for a corpus ten times as large."""
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
