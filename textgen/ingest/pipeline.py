"""Turns sources into window shards and a manifest, in three passes of Ray Data tasks.

1. Stage: read and clean source files and write their documents to runs, partitioned by key (`textgen.ingest.staging`).
2. Count: for each range of keys, find duplicates and count the symbols of `train`.
3. Write: for each range of keys, encode the documents of a split and write them as a shard.

Counting and writing each read a staged byte about once, with a number of requests proportional to the corpus
(`textgen.ingest.exchange`). Ranges are determined by the staged content and memory is bounded, so the result depends
neither on the number of CPUs nor on the order of listings, and memory does not depend on the size of the corpus.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from textgen import storage
from textgen.corpus.reading import Readings
from textgen.corpus.sources import SourceFile, origin, resolve
from textgen.corpus.splitting import KeyRange, split_ranges
from textgen.errors import UserError
from textgen.ingest import resuming, tasks
from textgen.ingest.encoding import closing_ids
from textgen.ingest.exchange import Layout
from textgen.ingest.grouping import batches, expected_bytes, groups
from textgen.ingest.plan import Staged, counting_items, writing_items
from textgen.ingest.ray_tasks import run_tasks
from textgen.ingest.result import advice_on, result_of, warnings_of
from textgen.ingest.staging import CHUNK_BYTES, REJECTED_NAME, STAGING_NAME, Chunk, marker_uri, staged_batch
from textgen.ingest.tasks import CountedRange
from textgen.progress import Say
from textgen.spec import CorpusSpec, RunSpec
from textgen.windows.conditions import conditions_of
from textgen.windows.manifest import SPLITS, Counts, Manifest, Shard, Split
from textgen.windows.vocabulary import Vocabulary, codes_of
from textgen.windows.word_vocabulary import WordVocabulary

RANGE_BYTES = 32 * 2**20
"""Memory size of the documents that a counting task reads at a time."""
SHARD_WEIGHT_BYTES = 128 * 2**20
"""Largest memory size of the documents that a writing task reads at a time, including the overhead of short ones."""
PROGRESS_SECONDS = 5.0


def ingest(sources: Sequence[str], *, output: str, spec: RunSpec, say: Say) -> dict[str, Any]:
    """Reads the sources, writes shards and a manifest under `output`, and returns the job's result.

    If the output is complete, it returns immediately without starting Ray. An incomplete output is completed.

    Raises:
        UserError: The sources cannot be read as the spec says, too many records are rejected, or no documents remain.
    """
    started = time.monotonic()
    output = storage.absolute(output)
    files = resolve(sources, output=output, say=say)
    manifest = resuming.finished_manifest(output, files, spec)
    if manifest is not None:
        say(f"ingest: {output} is already complete, with the same sources and settings; nothing to do")
    else:
        resuming.begin(output, files, spec, say)
        staged = _stage(files, output, spec, say)
        for sentence in Readings.of(chunk.reading for chunk in staged.chunks).sentences():
            say(f"ingest: {sentence}")
        _check_rejected(staged.chunks, output, spec.corpus)
        manifest = _write_manifest(staged, files, output, spec, say)
    storage.delete(storage.join(output, STAGING_NAME))
    result = result_of(manifest, spec, time.monotonic() - started)
    for sentence in warnings_of(manifest):
        say(f"ingest: warning: {sentence}")
    return result


def _stage(files: Sequence[SourceFile], output: str, spec: RunSpec, say: Say) -> Staged:
    """Stages the missing batches and returns all batches in the order of the sources."""
    layout = Layout.of(sum(expected_bytes(file) for file in files))
    batched = batches(groups(files), layout)
    first_groups = [0, *itertools.accumulate(map(len, batched))]
    there = {file.uri for file in storage.list_files(storage.join(output, STAGING_NAME))}
    missing = [batch for batch in range(len(batched)) if marker_uri(output, batch) not in there]
    if len(missing) < len(batched):
        say(f"ingest: resuming; {len(batched) - len(missing)} of {len(batched)} batches of files are already staged")
    total_bytes = sum(file.size_bytes for batch in missing for group in batched[batch] for file in group)
    say(f"ingest: reading {len(files)} files, {total_bytes / 1e6:,.1f} MB as stored")
    arguments = {
        "output": output,
        "spec": spec.corpus,
        "layout": layout,
        "chunk_bytes": min(CHUNK_BYTES, spec.windows.shard_bytes),
    }
    items = [
        {
            "batch": batch,
            "first_group": first_groups[batch],
            "groups": [[dataclasses.asdict(file) for file in group] for group in batched[batch]],
        }
        for batch in missing
    ]
    progress = Counter[str]()
    started = said = time.monotonic()
    for values in run_tasks(tasks.stage, items, say=say, **arguments):
        progress.update(values)
        now = time.monotonic()
        if now - said >= PROGRESS_SECONDS:
            said = now
            say(
                f"ingest: {progress['records']:,} records staged, {progress['weight_bytes'] / 1e6:,.0f} MB at "
                f"{progress['weight_bytes'] / 1e6 / (now - started):.1f} MB/s; files of "
                f"{progress['source_bytes'] / 1e6:,.1f} of {total_bytes / 1e6:,.1f} MB are complete"
            )
    return Staged.of([staged_batch(output, batch) for batch in range(len(batched))], layout, spec.corpus)


def _check_rejected(chunks: Sequence[Chunk], output: str, spec: CorpusSpec) -> None:
    num_records = sum(chunk.records for chunk in chunks)
    reasons = _total(chunk.rejected_by_reason for chunk in chunks)
    num_rejected = reasons.total()
    if num_records == 0:
        raise UserError("the sources hold no records; give sources that hold text")
    if num_rejected > spec.max_rejected_share * num_records:
        listed = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
        raise UserError(
            f"{num_rejected:,} of {num_records:,} records are rejected ({listed}), more than "
            f"corpus.max_rejected_share = {spec.max_rejected_share:.0%}{advice_on(reasons)}; inspect them in "
            f"{storage.join(output, REJECTED_NAME)}, then correct the files or raise the share"
        )


def _write_manifest(staged: Staged, files: Sequence[SourceFile], output: str, spec: RunSpec, say: Say) -> Manifest:
    ranges = split_ranges(staged.lowest_keys, spec.corpus)
    say(f"ingest: counting {sum(chunk.documents for chunk in staged.chunks):,} staged documents")
    staged.write_index(output)
    counted = _count(staged, ranges, output, spec, say)
    if not counted.documents["train"]:
        kept = spec.corpus.keep_categories
        advice = f"keep categories that the sources have (corpus.keep_categories is {list(kept)}), " if kept else ""
        raise UserError(
            f"no documents remain for train; {advice}use more text, less strict rules, or smaller val and test shares"
        )
    if spec.corpus.test_categories and not counted.documents["test"]:
        raise UserError(
            f"corpus.test_categories is {list(spec.corpus.test_categories)} but no text occurs only in these; name "
            "the column with --set corpus.category_column=NAME, and give categories exactly as it contains them"
        )
    vocabulary = _vocabulary(counted, spec)
    say(f"ingest: writing {sum(counted.documents.values()):,} documents with a vocabulary of {vocabulary.size}")
    splits = _write(staged, ranges, counted, vocabulary, output, spec, say)
    manifest = Manifest(
        uri=output,
        preset=spec.preset,
        corpus=spec.to_dict()["corpus"],
        windows=spec.to_dict()["windows"],
        sources=tuple(file.to_dict() for file in files),
        origin=spec.corpus.origin or origin(files),
        vocabulary=vocabulary,
        counts=_counts(staged.chunks, counted, splits, vocabulary),
        splits=splits,
        reading=Readings.of(chunk.reading for chunk in staged.chunks).to_dict(),
    )
    manifest.counts.check()
    manifest.save()
    return manifest


def _vocabulary(counted: CountedRange, spec: RunSpec) -> Vocabulary:
    windows = spec.windows
    if windows.unit == "words":
        return WordVocabulary.from_word_counts(
            counted.train_symbols, min_count=windows.min_count, max_size=windows.max_vocab_size
        )
    symbols: Mapping[int, int] = counted.train_symbols
    if windows.separator is not None:  # Without UNKNOWN, symbols missing in `train` need ids too; min_count is 1.
        symbols = {**dict.fromkeys(counted.distinct, 1), **counted.train_symbols}
    return Vocabulary.from_counts(
        symbols,
        unit=windows.unit,
        min_count=windows.min_count,
        separator=windows.separator,
        conditions=conditions_of(counted.train_values, spec.corpus),
    )


def _count(staged: Staged, ranges: dict[str, KeyRange], output: str, spec: RunSpec, say: Say) -> CountedRange:
    found = run_tasks(
        tasks.count,
        counting_items(staged, range_bytes=RANGE_BYTES),
        say=say,
        output=output,
        index=staged.index,
        splits=ranges,
        spec=spec,
    )
    counted = CountedRange()
    for values in found:
        counted.add(CountedRange.from_dict(values))
    return counted


def _write(
    staged: Staged,
    ranges: dict[str, KeyRange],
    counted: CountedRange,
    vocabulary: Vocabulary,
    output: str,
    spec: RunSpec,
    say: Say,
) -> dict[str, Split]:
    items = writing_items(
        staged,
        ranges,
        {split: _num_parts(split, counted, vocabulary, spec) for split in SPLITS},
        sorted(counted.duplicate_files, key=lambda file: file.name),
        document_order=spec.corpus.document_order,
    )
    found = run_tasks(
        tasks.write,
        items,
        say=say,
        output=output,
        index=staged.index,
        vocabulary=vocabulary,
        spec=spec.corpus,
    )
    shards: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    for values in found:
        shards[values["split"]].append(Shard(**values["shard"]))
    splits = {}
    for split, written in shards.items():
        written.sort(key=lambda shard: shard.name)
        if written and spec.windows.separator:
            written[-1] = tasks.without_last_separator(output, written[-1], vocabulary)
        splits[split] = Split(shards=tuple(written))
    return splits


def _num_parts(split: str, counted: CountedRange, vocabulary: Vocabulary, spec: RunSpec) -> int:
    """Returns the number of shards for a split; 0 if it has no documents."""
    documents = counted.documents[split]
    num_ids = counted.symbols[split] + documents * (len(vocabulary.conditions) + len(closing_ids(vocabulary)))
    by_ids = -(-num_ids * vocabulary.id_dtype.itemsize // spec.windows.shard_bytes)
    if not documents:
        return 0
    weight_bytes: float = counted.weight_bytes[split]
    if spec.corpus.test_categories:  # Held-out and other documents share the key space, so both are read.
        side = [split] if split == "test" else ["train", "val"]
        weight_bytes *= counted.weight_bytes.total() / sum(counted.weight_bytes[name] for name in side)
    return max(by_ids, math.ceil(weight_bytes / SHARD_WEIGHT_BYTES))


def _counts(chunks: Sequence[Chunk], counted: CountedRange, splits: dict[str, Split], vocabulary: Vocabulary) -> Counts:
    distinct = set(counted.distinct)
    if vocabulary.separator and any(split.num_documents > 1 for split in splits.values()):
        distinct.update(codes_of(vocabulary.separator, vocabulary.unit).tolist())
    documents = sum(split.num_documents for split in splits.values())
    num_others = len(vocabulary.conditions) + (vocabulary.end_id is not None)  # Controls and END per document.
    return Counts(
        records=sum(chunk.records for chunk in chunks),
        documents=documents,
        duplicates=sum(chunk.duplicates for chunk in chunks) + counted.duplicates,
        dropped_by_rule=dict(sorted(_total(chunk.dropped_by_rule for chunk in chunks).items())),
        rejected_by_reason=dict(sorted(_total(chunk.rejected_by_reason for chunk in chunks).items())),
        characters=sum(split.num_ids for split in splits.values()) - documents * num_others,
        distinct_characters=len(distinct),
    )


def _total(parts: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total
