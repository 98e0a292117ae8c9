"""The bounded cache of downloaded shards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.windows.test_shards import manifest_of, random_shards
from textgen.windows.shards import IdReader, default_cache_dir


def cached_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    shards = random_shards(3, [[40], [50], [60], [30]], np.uint16)
    manifest = manifest_of(tmp_path, shards, dtype=np.uint16)
    everything = np.concatenate([ids for shard in shards for ids in shard])
    cache = tmp_path / "cache"
    reader = IdReader(manifest, "train", cache_dir=cache, cache_bytes=2 * 115)
    for start in (0, 45, 95, 151, 0, 170, 60):  # Shards 0, 1, 2, 3, 0, 3, 1.
        np.testing.assert_array_equal(reader.read(start, start + 4), everything[start : start + 4])
        assert 0 < cached_bytes(cache) <= 2 * 115
    assert len(list(cache.iterdir())) >= 2
    reader.close()


FEW_FILES = """
import gc, resource, sys
from pathlib import Path
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
manifest = Manifest.load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
left = []
for _ in range(2):
    reader = IdReader(manifest, "train", cache_dir=Path(sys.argv[1]) / "cache")
    for _ in range(2):  # First from the shards, then from the cache.
        print([int(reader.read(start, start + 1)[0]) for start in range(reader.num_ids)])
    left.append(reader)
for _ in range(80):  # Readers that are never closed.
    IdReader(manifest, "train", cache_dir=Path(sys.argv[1]) / "cache").read(0, 3)
gc.collect()
"""


def test_many_shards_are_read_with_few_open_files(tmp_path: Path) -> None:
    shards = random_shards(6, [[1]] * 90, np.uint8)
    manifest_of(tmp_path, shards).save()
    done = subprocess.run([sys.executable, "-c", FEW_FILES, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.splitlines() == [str([int(shard[0][0]) for shard in shards])] * 4


def test_files_of_earlier_readers_are_evicted(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, random_shards(3, [[40], [50], [60]], np.uint8))
    cache = tmp_path / "cache"
    for start in (0, 40, 90):  # One shard per reader, like the tasks of a dataset.
        reader = IdReader(manifest, "train", cache_dir=cache, cache_bytes=110)
        reader.read(start, start + 1)
        reader.close()
        assert cached_bytes(cache) <= 110


def test_the_least_recently_used_shard_is_evicted_first(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, random_shards(3, [[40], [50], [60]], np.uint8))
    cache = tmp_path / "cache"
    reader = IdReader(manifest, "train", cache_dir=cache, cache_bytes=110)
    names = [f"{shard.sha256}.ids" for shard in manifest.split("train").shards]
    reader.read(30, 50)  # Shards 0 and 1.
    for name, age_seconds in zip(
        names, (20, 10), strict=False
    ):  # The file system's clock is coarse: set ages explicitly.
        os.utime(cache / name, (now := time.time() - age_seconds, now))
    reader.read(5, 6)  # Makes shard 0 the more recent one.
    reader.read(90, 91)
    assert {path.name for path in cache.iterdir()} == {names[0], names[2]}
    reader.close()


def test_leftovers_of_killed_readers_are_removed_and_active_downloads_kept(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, random_shards(4, [[40]], np.uint8))
    cache = tmp_path / "cache"
    for name, age_seconds in (("fetching-old", 4000), ("fetching-new", 60), ("somebody's", 4000)):
        (cache / name).mkdir(parents=True)
        (cache / name / "ids").write_bytes(b"abc")
        os.utime(cache / name, (then := time.time() - age_seconds, then))
    reader = IdReader(manifest, "train", cache_dir=cache)
    reader.read(0, 1)
    reader.close()
    assert sorted(path.name for path in cache.iterdir() if path.is_dir()) == ["fetching-new", "somebody's"]


def test_two_readers_share_a_cache(tmp_path: Path) -> None:
    shards = random_shards(5, [[30], [20]], np.uint8)
    manifest = manifest_of(tmp_path, shards)
    cache = tmp_path / "cache"
    first, second = (IdReader(manifest, "train", cache_dir=cache, cache_bytes=35) for _ in range(2))
    np.testing.assert_array_equal(first.read(0, 30), shards[0][0])
    (tmp_path / "train" / "0.parquet").rename(tmp_path / "train" / "away")
    np.testing.assert_array_equal(second.read(5, 9), shards[0][0][5:9])  # From the cache: the shard is deleted.
    (tmp_path / "train" / "away").rename(tmp_path / "train" / "0.parquet")
    np.testing.assert_array_equal(second.read(30, 50), shards[1][0])  # Evicts the file of the first reader.
    assert len(list(cache.iterdir())) == 1
    np.testing.assert_array_equal(first.read(0, 50), np.concatenate([shards[0][0], shards[1][0]]))
    first.close()
    second.close()


def test_a_truncated_cached_copy_is_downloaded_again(tmp_path: Path) -> None:
    shards = random_shards(5, [[30]], np.uint8)
    manifest = manifest_of(tmp_path, shards)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"{manifest.split('train').shards[0].sha256}.ids").write_bytes(b"abc")
    reader = IdReader(manifest, "train", cache_dir=cache)
    np.testing.assert_array_equal(reader.read(0, 30), shards[0][0])
    reader.close()


def test_a_cached_copy_of_other_ids_is_downloaded_again(tmp_path: Path) -> None:
    rows = random_shards(3, [[40], [60]], np.uint8)
    manifest = manifest_of(tmp_path, rows)
    expected = IdReader(manifest, "train", cache_dir=tmp_path / "cache").read(0, 100)
    (tmp_path / "cache" / f"{manifest.split('train').shards[1].sha256}.ids").write_bytes(bytes(60))
    reader = IdReader(manifest, "train", cache_dir=tmp_path / "cache")
    assert np.array_equal(reader.read(0, 100), expected)
    reader.close()
    assert np.array_equal(reader.read(0, 100), expected)  # Opened again without hashing it again.
    reader.close()


def test_the_cache_folder_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    manifest = manifest_of(tmp_path, random_shards(5, [[30]], np.uint8))
    reader = IdReader(manifest, "train")
    reader.read(0, 1)
    reader.close()
    assert cached_bytes(tmp_path / "mine") == 30
