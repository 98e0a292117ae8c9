"""Where count tables lie: beside the windows they were counted in, and one copy in the folder of each run.

    <windows>/counts/<hash>.npz         the table
    <windows>/counts/<hash>.folds.npz   what of it was counted in each fold; only training reads it
    <run>/counts/<hash>.npz             the run's copy of the table

The hash is of the windows, the settings and the version of the format, so that it is known before anything is counted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textgen import storage
from textgen.counts.build import build_table
from textgen.counts.contexts import FIRST_HASHED_ORDER, FIRST_WORD_LEVEL, MAX_ORDER, MAX_VOCAB_SIZE
from textgen.counts.table import DISCOUNTS, MAX_CHILDREN, CountTable, FoldCounts
from textgen.counts.words import word_flags
from textgen.errors import MissingError, UserError
from textgen.progress import Say
from textgen.settings import check
from textgen.spec import ModelSpec
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

FORMAT_VERSION = 1
FOLDER = "counts"
ABOUT = "about"
_NUMBERS = ("order", "vocab_size", "num_ids", "block_ids", "num_words")
_ARRAYS = ("low_keys", "low_counts", "buckets", "rows", "children", "word_flags")


@dataclass(frozen=True, kw_only=True)
class CountsRecord:
    """What a checkpoint keeps of the counts that its model reads."""

    hash: str
    uri: str
    """Beside the windows; the run has a copy."""
    num_ids: int
    """Ids that were counted: all of `train`."""

    @classmethod
    def of(cls, manifest: Manifest, spec: ModelSpec) -> CountsRecord | None:
        """Returns the record of a model on windows, whether its counts exist yet or not; None for a model without.

        Raises:
            UserError: the vocabulary is too large to be counted.
        """
        if spec.counts_order is None:
            return None
        size = manifest.vocabulary.size
        check(
            size <= MAX_VOCAB_SIZE,
            f"model.counts_order is {spec.counts_order} and the vocabulary of {manifest.uri} has {size} ids; counts "
            f"are for up to {MAX_VOCAB_SIZE}: raise windows.min_count and ingest again, or set model.counts_order=none",
        )
        content = {
            "format_version": FORMAT_VERSION,
            "manifest_hash": manifest.hash,
            "order": spec.counts_order,
            "max_megabytes": spec.counts_max_megabytes,
            "max_children": {order: MAX_CHILDREN[order] for order in range(FIRST_HASHED_ORDER, MAX_ORDER + 1)},
            "discounts": DISCOUNTS,
        }
        if spec.counts_words:
            children = [MAX_CHILDREN[FIRST_WORD_LEVEL + number] for number in range(spec.counts_words)]
            content |= {"num_words": spec.counts_words, "max_children_of_words": children}
        name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
        return cls(hash=name, uri=place_of(manifest.uri, name), num_ids=manifest.split("train").num_ids)

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as a JSON-ready dictionary."""
        return dataclasses.asdict(self)


def place_of(folder: str, name: str) -> str:
    """Returns where a folder of windows, or of a run, holds the table of this hash."""
    return storage.join(folder, FOLDER, f"{name}.npz")


def counts_of(manifest: Manifest, spec: ModelSpec, *, say: Say) -> CountTable | None:
    """Returns the table of a model on windows, with its folds; None for a model without counts.

    It is counted and written where it is missing or damaged. Several processes may do so at once: they write the same.
    """
    record = CountsRecord.of(manifest, spec)
    if record is None:
        return None
    assert spec.counts_order is not None, "a record has an order"
    with contextlib.suppress(MissingError, _DamagedError):
        table = load_table(record.uri)
        return dataclasses.replace(table, folds=_load_folds(record.uri, like=table))
    with contextlib.closing(IdReader(manifest, "train")) as ids:
        table = build_table(
            ids.read,
            ids.num_ids,
            order=spec.counts_order,
            num_words=spec.counts_words,
            word_flags=word_flags(manifest.vocabulary),
            start_id=manifest.vocabulary.start_id,
            max_bytes=spec.counts_max_megabytes * 2**20,
            say=say,
        )
    save_table(table, record.uri)
    return table


def save_table(table: CountTable, uri: str) -> None:
    """Writes a table, after its folds: where the table exists, they do."""
    assert table.folds is not None, "only a table that was just counted is saved"
    arrays = _arrays_of(table)
    sizes = {name: getattr(table, name) for name in _NUMBERS}
    folds = {"children": table.folds.children, "rows": table.folds.rows}
    storage.write_bytes(_folds_of(uri), _packed(folds, {"table": _hash(arrays)}))
    storage.write_bytes(uri, _packed(arrays, sizes))


def load_table(uri: str) -> CountTable:
    """Reads a table, without its folds.

    Raises:
        MissingError: there is none.
        UserError: it is damaged.
    """
    arrays, about = _unpacked(uri)
    # Tables that were written before contexts of words existed have none.
    parts: dict[str, Any] = {"num_words": 0, "word_flags": np.zeros(about["vocab_size"], np.uint8)}
    return CountTable(**parts | {name: about[name] for name in _NUMBERS if name in about} | arrays)


def find_table(record: Mapping[str, Any], folders: Sequence[str], *, wanted_by: str) -> CountTable:
    """Reads the table of a checkpoint from the first of its run's possible folders, or where it was counted.

    Raises:
        UserError: it is in none of these places.
    """
    places = [*(place_of(folder, record["hash"]) for folder in folders), record["uri"]]
    for place in places:
        with contextlib.suppress(MissingError):
            return load_table(place)
    raise UserError(
        f"the counts that {wanted_by} reads are at none of {', '.join(places)}; copy the folder {FOLDER} of its run "
        "beside the folder checkpoints, or bring the windows back"
    )


def keep_copy(record: Mapping[str, Any], folder: str, *, sources: Sequence[str] = ()) -> None:
    """Copies a table into the folder of a run, where it is not there yet.

    Args:
        record: a `CountsRecord` as a dictionary.
        folder: the run's.
        sources: folders of other runs that may have a copy; the table beside the windows is the last resort.
    """
    place = place_of(folder, record["hash"])
    if storage.exists(place):
        return
    for source in [*(place_of(one, record["hash"]) for one in sources), record["uri"]]:
        content = storage.read_if_exists(source)
        if content is not None:
            storage.write_bytes(place, content)
            return
    raise UserError(f"the counts {record['uri']} do not exist any more; train again on the windows they were made of")


class _DamagedError(UserError):
    """A file differs from what was written."""


def _folds_of(uri: str) -> str:
    return uri.removesuffix(".npz") + ".folds.npz"


def _load_folds(uri: str, *, like: CountTable) -> FoldCounts:
    arrays, about = _unpacked(_folds_of(uri))
    if about["table"] != _hash(_arrays_of(like)):
        raise _DamagedError(f"{_folds_of(uri)} belongs to another table than {uri}; delete both")
    return FoldCounts(**arrays)


def _arrays_of(table: CountTable) -> dict[str, Any]:
    names = (name for name in _ARRAYS if table.num_words or name != "word_flags")
    return {name: getattr(table, name) for name in names}


def _packed(arrays: Mapping[str, np.ndarray[Any, Any]], about: Mapping[str, Any]) -> bytes:
    text = json.dumps({**about, "format_version": FORMAT_VERSION, "sha256": _hash(arrays)})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{ABOUT: np.frombuffer(text.encode(), np.uint8)}, **arrays)
    return buffer.getvalue()


def _unpacked(uri: str) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    content = storage.read_bytes(uri)
    damaged = _DamagedError(f"{uri} differs from what was written; delete it, and it is counted again")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(arrays.pop(ABOUT).tobytes())
        is_whole = about["format_version"] == FORMAT_VERSION and about["sha256"] == _hash(arrays)
    except Exception:  # Whatever a damaged archive makes of NumPy, zlib and JSON.
        raise damaged from None
    if not is_whole:
        raise damaged
    return arrays, about


def _hash(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    hashed = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        hashed.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()
