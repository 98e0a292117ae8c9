"""Features of documents from a language model's state, for linear probes.

There are two kinds of features, neither of which uses labels:

- *pooled*: the state after the last id, and the mean of the states after all ids.
- *counts*: how often each entry of a codebook was the nearest to the state at the end of a word. A character model's
  state at the end of a word reflects that word; a mean over the document loses this, but counts keep it.

Letters: D documents, F values of the state, E entries.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from textgen import storage
from textgen.model.checkpoint import Checkpoint
from textgen.probing.codebook import Codebook
from textgen.probing.state_reader import NUM_ROWS, StateReader
from textgen.progress import Say

Floats = npt.NDArray[np.float32]
BLOCK_DOCUMENTS = 16 * NUM_ROWS
"""Documents per block, which is sorted by length so that the rows of a call end together; limits memory."""
NUM_ENTRIES = 16_384
"""E: approximate number of entries of the codebook."""
NUM_STATES = 300_000
"""Approximate number of states that the codebook is built from."""
CODEBOOK_DOCUMENTS = 2000
"""Approximate number of documents of `train` that the codebook is built from, evenly spaced."""
FORMAT_VERSION = 2
"""Version of cache files; files of other versions are ignored."""


@dataclass(frozen=True, kw_only=True)
class DocumentFeatures:
    """The features of documents, in the order of the documents."""

    last: Floats
    """State after the last id, [D, F]."""
    mean: Floats
    """Mean of the states after each id, [D, F]."""
    counts: scipy.sparse.csr_array
    """Number of word ends whose state belongs to each entry of the codebook, [D, E]."""

    def __len__(self) -> int:
        return len(self.last)

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Returns the features as arrays for `from_arrays`."""
        counts = self.counts
        arrays = {"last": self.last, "mean": self.mean}
        arrays |= {"counts": counts.data, "entries": counts.indices, "starts": counts.indptr, "shape": counts.shape}
        return {f"{prefix}_{name}": np.asarray(array) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> DocumentFeatures:
        """Builds features from the result of `to_arrays`."""
        own = {name.removeprefix(prefix + "_"): value for name, value in arrays.items() if name.startswith(prefix)}
        shape = tuple(own.pop("shape").tolist())
        counts = scipy.sparse.csr_array((own.pop("counts"), own.pop("entries"), own.pop("starts")), shape=shape)
        return cls(counts=counts, **own)


def features_of(
    checkpoint: Checkpoint, texts: Mapping[str, Sequence[str]], *, cache_uri: str | None, say: Say
) -> dict[str, DocumentFeatures]:
    """Returns the features of every split's texts; reads them from `cache_uri` if they are there, else writes them."""
    cached = None if cache_uri is None else storage.join(cache_uri, f"features-{_key(checkpoint, texts)}.npz")
    found = None if cached is None else storage.read_if_exists(cached)
    if found is not None:
        say(f"read features from {cached}")
        with np.load(io.BytesIO(found), allow_pickle=False) as arrays:
            return {split: DocumentFeatures.from_arrays(arrays, split) for split in texts}
    reader = StateReader(checkpoint.build_model(), checkpoint.vocabulary)
    codebook = _codebook(reader, texts["train"], say=say)
    features = {split: _read(reader, own, codebook=codebook, name=split, say=say) for split, own in texts.items()}
    if cached is not None:
        buffer = io.BytesIO()
        arrays = {name: array for split, own in features.items() for name, array in own.to_arrays(split).items()}
        np.savez(buffer, allow_pickle=False, **arrays)
        storage.write_bytes(cached, buffer.getvalue())
    return features


def _read(reader: StateReader, texts: Sequence[str], *, codebook: Codebook, name: str, say: Say) -> DocumentFeatures:
    """Returns the features of texts, reading one block at a time."""
    blocks = []
    for start in range(0, len(texts), BLOCK_DOCUMENTS):
        blocks.append(_read_block(reader, texts[start : start + BLOCK_DOCUMENTS], codebook))
        say(f"read {sum(map(len, blocks)):,} of {len(texts):,} documents of {name}")
    return DocumentFeatures(
        last=np.concatenate([block.last for block in blocks]),
        mean=np.concatenate([block.mean for block in blocks]),
        counts=scipy.sparse.csr_array(scipy.sparse.vstack([block.counts for block in blocks])),
    )


def _read_block(reader: StateReader, texts: Sequence[str], codebook: Codebook) -> DocumentFeatures:
    last = np.zeros((len(texts), reader.width), dtype=np.float32)
    mean = np.zeros_like(last)
    order, counts = [], []
    for reading in reader.read(texts, codebook):
        last[reading.places], mean[reading.places] = reading.last, reading.mean
        order.extend(reading.places.tolist())
        counts.append(reading.counts)
    return DocumentFeatures(
        last=last, mean=mean, counts=scipy.sparse.csr_array(scipy.sparse.vstack(counts))[np.argsort(order)]
    )


def _codebook(reader: StateReader, texts: Sequence[str], *, say: Say) -> Codebook:
    """Builds the codebook from states at the ends of words, drawn from evenly spaced texts."""
    spread = texts[:: max(1, len(texts) // CODEBOOK_DOCUMENTS)]
    say(f"building a codebook from the states in {len(spread):,} documents of train")
    generator = np.random.default_rng(0)
    drawn = []
    for states in reader.word_ends(spread):
        share = -(
            -NUM_STATES * NUM_ROWS // len(spread)
        )  # For a full batch; a shorter last one contributes more per text.
        drawn.append(states[generator.permutation(len(states))[:share]])
    return Codebook.of(np.concatenate(drawn), num_entries=NUM_ENTRIES)


def _key(checkpoint: Checkpoint, texts: Mapping[str, Sequence[str]]) -> str:
    """Returns a hash of everything that the features depend on."""
    settings = [FORMAT_VERSION, NUM_ENTRIES, CODEBOOK_DOCUMENTS, NUM_STATES]
    hashed = hashlib.sha256(json.dumps([checkpoint.hashes["weights.npz"], settings]).encode())
    for split, own in texts.items():
        hashed.update(json.dumps([split, *own]).encode())
    return hashed.hexdigest()[:16]
