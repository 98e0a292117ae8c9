"""What a language model's state says of each document: what a linear probe reads.

Two kinds of features, both made without any label:

- *pooled*: the state after the last id, and the mean of the states after each.
- *counts*: how often each entry of a codebook was the nearest to the state at the end of a word. What a character model
  knows of a word stands in its state when the word ends; a mean over the document loses it, such counts do not.

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
"""Documents that are sorted by length at once, so that those side by side end together; bounds memory."""
NUM_ENTRIES = 16_384
"""E: entries of the codebook, about."""
NUM_STATES = 300_000
"""States that the codebook is made of, about."""
CODEBOOK_DOCUMENTS = 2000
"""Documents of `train` that the codebook is made of, about; spread over all."""
FORMAT_VERSION = 2
"""Of a cache file: another one is read anew."""


@dataclass(frozen=True, kw_only=True)
class DocumentFeatures:
    """The features of documents, in their order."""

    last: Floats
    """State after the last id, [D, F]."""
    mean: Floats
    """Mean of the states after each id, [D, F]."""
    counts: scipy.sparse.csr_array
    """Ends of words whose state is nearest to each entry of the codebook, [D, E]."""

    def __len__(self) -> int:
        return len(self.last)

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Returns what `from_arrays` reads."""
        counts = self.counts
        arrays = {"last": self.last, "mean": self.mean}
        arrays |= {"counts": counts.data, "entries": counts.indices, "starts": counts.indptr, "shape": counts.shape}
        return {f"{prefix}_{name}": np.asarray(array) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> DocumentFeatures:
        """Builds features from `to_arrays`'s result."""
        own = {name.removeprefix(prefix + "_"): value for name, value in arrays.items() if name.startswith(prefix)}
        shape = tuple(own.pop("shape").tolist())
        counts = scipy.sparse.csr_array((own.pop("counts"), own.pop("entries"), own.pop("starts")), shape=shape)
        return cls(counts=counts, **own)


def features_of(
    checkpoint: Checkpoint, texts: Mapping[str, Sequence[str]], *, cache_uri: str | None, say: Say
) -> dict[str, DocumentFeatures]:
    """Returns the features of the texts of every split, read from `cache_uri` where they were written before."""
    cached = None if cache_uri is None else storage.join(cache_uri, f"features-{_key(checkpoint, texts)}.npz")
    found = None if cached is None else storage.read_if_exists(cached)
    if found is not None:
        say(f"features read from {cached}")
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
    """Returns the features of texts, which are read a block at a time."""
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
    """Makes the codebook of states at the ends of words, drawn from texts spread over all."""
    spread = texts[:: max(1, len(texts) // CODEBOOK_DOCUMENTS)]
    say(f"making a codebook of the states in {len(spread):,} documents of train")
    generator = np.random.default_rng(0)
    drawn = []
    for states in reader.word_ends(spread):
        share = -(-NUM_STATES * NUM_ROWS // len(spread))  # Of so many texts at once; a last, shorter call gives more.
        drawn.append(states[generator.permutation(len(states))[:share]])
    return Codebook.of(np.concatenate(drawn), num_entries=NUM_ENTRIES)


def _key(checkpoint: Checkpoint, texts: Mapping[str, Sequence[str]]) -> str:
    """Returns a name for what the features depend on."""
    settings = [FORMAT_VERSION, NUM_ENTRIES, CODEBOOK_DOCUMENTS, NUM_STATES]
    hashed = hashlib.sha256(json.dumps([checkpoint.hashes["weights.npz"], settings]).encode())
    for split, own in texts.items():
        hashed.update(json.dumps([split, *own]).encode())
    return hashed.hexdigest()[:16]
