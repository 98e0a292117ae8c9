"""Window shards and checkpoints made in a test, without an ingest or a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from textgen import presets
from textgen.spec import RunSpec, override
from textgen.windows.manifest import Counts, Manifest, Split
from textgen.windows.shards import SCHEMA, write_shard
from textgen.windows.vocabulary import Unit, Vocabulary, codes_of
from textgen.windows.word_vocabulary import WordVocabulary, count_words


def tiny_spec(**changes: object) -> RunSpec:
    """Returns the preset `tiny`, reduced further; keys of `changes` have the form `section__field`."""
    small = {"model.units": 6, "model.embedding_dim": 5, "windows.context_length": 7, "windows.stride": 7}
    # Fixed, so that tests depend neither on the CPU nor on the preset's optimizer and schedule.
    small |= {"training.mixed_precision": False, "training.optimizer": "adam", "training.muon_learning_rate": 0.02}
    small |= {"training.learning_rate": 1e-2, "training.warmup_steps": 20}
    return override(presets.preset("tiny"), small | {name.replace("__", "."): value for name, value in changes.items()})


def written_manifest(
    uri: str,
    splits: Mapping[str, Sequence[str]],
    *,
    unit: Unit = "characters",
    separator: str | None = None,
    documents_per_shard: int = 3,
    spec: RunSpec | None = None,
    labels: Mapping[str, Sequence[str | None]] | None = None,
) -> Manifest:
    """Writes the documents of each split to shards under `uri` and returns the saved manifest.

    `labels` gives the label of each document by split; by default, no document has one.
    """
    vocabulary = _vocabulary(splits["train"], unit, separator)
    spec = spec or tiny_spec()
    windows = dataclasses.asdict(spec.windows) | {"unit": unit, "separator": separator}
    total = sum(map(len, splits.values()))
    manifest = Manifest(
        uri=uri,
        corpus=dataclasses.asdict(spec.corpus),
        windows=windows,
        sources=(),
        origin="made in a test",
        vocabulary=vocabulary,
        counts=Counts(
            records=total,
            documents=total,
            duplicates=0,
            dropped_by_rule={},
            rejected_by_reason={},
            characters=sum(len(text) for texts in splits.values() for text in texts),
            distinct_characters=len(vocabulary.symbols),
        ),
        splits={
            name: _written_split(
                uri, name, splits.get(name, ()), vocabulary, documents_per_shard, (labels or {}).get(name)
            )
            for name in ("train", "val", "test")
        },
    )
    manifest.save()
    return Manifest.load(uri)


def _vocabulary(texts: Sequence[str], unit: Unit, separator: str | None) -> Vocabulary:
    if unit == "words":
        return WordVocabulary.from_word_counts(count_words(texts))
    symbols, counts = np.unique(np.concatenate([codes_of(text, unit) for text in texts]), return_counts=True)
    return Vocabulary.from_counts(
        dict(zip(symbols.tolist(), counts.tolist(), strict=True)), unit=unit, separator=separator
    )


def _written_split(
    uri: str,
    name: str,
    texts: Sequence[str],
    vocabulary: Vocabulary,
    documents_per_shard: int,
    labels: Sequence[str | None] | None,
) -> Split:
    end = [vocabulary.end_id] if vocabulary.separator is None else vocabulary.encode(vocabulary.separator).tolist()
    shards = []
    for start in range(0, len(texts), documents_per_shard):
        rows = []
        for number, text in enumerate(texts[start : start + documents_per_shard], start=start):
            is_last = number == len(texts) - 1 and vocabulary.separator is not None
            ids = np.array([*vocabulary.encode(text).tolist(), *([] if is_last else end)], vocabulary.id_dtype)
            label = None if labels is None else labels[number]
            rows.append({"ids": ids.tobytes(), "document_id": f"{name}-{number}", "label": label, "category": None})
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        shards.append(write_shard(uri, f"{name}/{start:05d}.parquet", table, id_dtype=vocabulary.id_dtype))
    return Split(shards=tuple(shards))
