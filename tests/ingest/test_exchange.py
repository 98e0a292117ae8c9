"""Runs: documents written by chunk are read by key range, with one request per run."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen import storage
from textgen.corpus.splitting import AFTER_LAST_KEY, EVERY_KEY, FIRST_KEY, KeyRange, key_text
from textgen.ingest.exchange import MIN_RUN_BYTES, Area, Layout, Part, RunIndex, RunWriter, Slice, read_parts

SCHEMA = pa.schema([("key", pa.string()), ("text", pa.string())])
KEYS = st.integers(0, 2**128 - 1).map(key_text)


def documents(keys: list[str], salt: str = "") -> pa.Table:
    return pa.table({"key": sorted(keys), "text": [f"{salt}{key[:5]}" for key in sorted(keys)]}, schema=SCHEMA)


@given(KEYS, KEYS, st.integers(1, 5000))
def test_the_buckets_of_a_range_are_the_fewest_that_cover_it(first: str, second: str, num_buckets: int) -> None:
    layout = Layout(run_bytes=1, num_buckets=num_buckets)
    start, stop = sorted([first, second])
    bounds = [layout.keys(bucket, bucket + 1) for bucket in range(num_buckets)]
    assert (bounds[0].start, bounds[-1].stop) == (FIRST_KEY, AFTER_LAST_KEY)
    assert [keys.stop for keys in bounds[:-1]] == [keys.start for keys in bounds[1:]]
    begins, end = layout.buckets(KeyRange(start=start, stop=stop))
    assert layout.keys(begins, end).start <= start
    assert stop <= layout.keys(begins, end).stop
    assert begins == bisect.bisect_right([keys.start for keys in bounds], start) - 1
    if start < stop:
        assert bounds[end - 1].start < stop


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(KEYS, min_size=1, max_size=30), min_size=1, max_size=4),
    st.integers(1, 12),
    st.lists(st.tuples(st.tuples(KEYS, KEYS), st.tuples(st.integers(0, 4), st.integers(0, 4))), min_size=1, max_size=5),
    st.data(),
)
def test_a_part_has_the_documents_of_its_keys_and_chunks(
    chunks: list[list[str]],
    num_buckets: int,
    wanted: list[tuple[tuple[str, str], tuple[int, int]]],
    data: st.DataObject,
) -> None:
    layout = Layout(run_bytes=1, num_buckets=num_buckets)
    cut = data.draw(st.integers(1, len(chunks)))  # Chunks of the first run; the second run has the others.
    with tempfile.TemporaryDirectory() as output, contextlib.closing(RunWriter(num_buckets)) as writer:
        runs = []
        for number, keys in enumerate(chunks):
            writer.add(documents(keys, str(number)), chunk=number, weight_bytes=10)
            if number + 1 in (cut, len(chunks)):
                runs.append(writer.write(output, f"{len(runs)}.run"))
        index = RunIndex(
            name="offsets",
            names=[run.name for run in runs],
            bases=[100] * len(runs),
            first_chunks=[100 + run.first_chunk for run in runs],
        )
        offsets = np.array([run.offsets for run in runs], np.int64)
        storage.write_bytes(storage.join(output, index.name), np.ascontiguousarray(offsets.T).tobytes())
        parts = [
            Part(
                keys=KeyRange(start=min(keys), stop=max(keys)), first_chunk=100 + min(ends), stop_chunk=100 + max(ends)
            )
            for keys, ends in wanted
        ]
        buckets = [layout.buckets(part.keys) for part in parts]
        area = Area(buckets=(min(first for first, _ in buckets), max(stop for _, stop in buckets)), runs=(0, len(runs)))
        found = list(read_parts(output, index.slices(output, area), parts, SCHEMA))
    assert sum(run.weight_bytes for run in runs) == 10 * len(chunks)
    for part, table in zip(parts, found, strict=True):
        expected = [
            (key, f"{number}{key[:5]}", 100 + number)
            for number, keys in enumerate(chunks)
            for key in keys
            if part.keys.start <= key < part.keys.stop and part.first_chunk <= 100 + number < part.stop_chunk
        ]
        assert sorted((row["key"], row["text"], row["chunk"]) for row in table.to_pylist()) == sorted(expected)


def test_each_slice_is_one_request_for_its_own_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(300)]
    runs = []
    with contextlib.closing(RunWriter(16)) as writer:
        for number in range(3):
            writer.add(documents(keys[number::3]), chunk=0, weight_bytes=1)
            runs.append(writer.write(str(tmp_path), f"{number}.run"))
    asked: list[tuple[str, int, int]] = []
    opened = storage.open_range

    @contextlib.contextmanager
    def watched(uri: str, *, start: int, stop: int) -> Iterator[IO[bytes]]:
        asked.append((Path(uri).name, start, stop))
        with opened(uri, start=start, stop=stop) as stream:
            yield stream
            assert stream.read() == b""

    monkeypatch.setattr(storage, "open_range", watched)
    slices = [Slice(name=run.name, start=run.offsets[3], stop=run.offsets[7]) for run in runs]
    (table,) = read_parts(str(tmp_path), slices, [Part(keys=EVERY_KEY)], SCHEMA)
    assert asked == [(run.name, run.offsets[3], run.offsets[7]) for run in runs]
    own = Layout(run_bytes=1, num_buckets=16).keys(3, 7)
    assert sorted(table["key"].to_pylist()) == sorted(key for key in keys if own.start <= key < own.stop)


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**30, 2**34, 2**40])
def test_a_corpus_needs_few_requests_or_requests_of_about_a_mebibyte(size: int) -> None:
    layout = Layout.of(size)
    num_runs = math.ceil(size / layout.run_bytes)
    assert layout.run_bytes >= MIN_RUN_BYTES
    assert num_runs**2 <= max(64, 1.01 * size / 2**20)
    assert layout.num_buckets == 4 * max(1, num_runs)


def test_a_range_of_a_file_is_read_as_a_stream(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(200)))
    streams: Any = [(3, 9), (0, 200), (199, 200)]
    for start, stop in streams:
        with storage.open_range(str(tmp_path / "file"), start=start, stop=stop) as stream:
            assert stream.read(2) + stream.read() == bytes(range(start, stop))
            assert stream.read(1) == b""
