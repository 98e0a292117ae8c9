"""What a language model's state says of each document of a split: what a linear probe reads.

Two kinds of features, both made without any label:

- *pooled*: the state after the last id, and the mean of the states after each.
- *counts*: how often each entry of a codebook was the nearest to the state at the end of a word. What a character model
  knows of a word stands in its state when the word ends; a mean over the document loses it, such counts do not.

Letters: D documents, F values of the state, E entries.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from textgen import storage
from textgen.errors import UserError
from textgen.evaluation.codebook import Codebook
from textgen.evaluation.state_reader import NUM_ROWS, StateReader
from textgen.model.checkpoint import Checkpoint
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import Document, iter_documents

Floats = npt.NDArray[np.float32]
Texts = npt.NDArray[np.str_]
Say = Callable[[str], None]

BLOCK_DOCUMENTS = 16 * NUM_ROWS
"""Documents that are sorted by length at once, so that those side by side end together; bounds memory."""
NUM_ENTRIES = 16_384
"""E: entries of the codebook, about."""
NUM_STATES = 300_000
"""States that the codebook is made of, about."""
CODEBOOK_DOCUMENTS = 2000
"""Documents of `train` that the codebook is made of, spread over the whole split."""
FORMAT_VERSION = 1
"""Of a cache file: another one is read anew."""
_ARRAYS = ("last", "mean", "labels", "categories", "document_ids")


@dataclass(frozen=True, kw_only=True)
class DocumentFeatures:
    """The features of a split's documents, in the split's order."""

    last: Floats
    """State after the last id, [D, F]."""
    mean: Floats
    """Mean of the states after each id, [D, F]."""
    counts: scipy.sparse.csr_array
    """Ends of words whose state is nearest to each entry of the codebook, [D, E]."""
    labels: Texts
    """[D]; empty where a document has none."""
    categories: Texts
    """[D]; empty where a document has none."""
    document_ids: Texts
    """[D]"""

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, places: npt.NDArray[np.int64]) -> DocumentFeatures:
        """Returns the features of some of the documents."""
        return DocumentFeatures(counts=self.counts[places], **{name: getattr(self, name)[places] for name in _ARRAYS})

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Returns what `from_arrays` reads."""
        counts = self.counts
        arrays = {name: getattr(self, name) for name in _ARRAYS}
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
    checkpoint: Checkpoint, manifest: Manifest, *, cache_uri: str | None, say: Say
) -> dict[str, DocumentFeatures]:
    """Returns the features of every split, read from `cache_uri` where they were written before.

    Raises:
        UserError: the manifest's vocabulary is not the checkpoint's, or the model keeps no state from id to id.
    """
    _check(checkpoint, manifest)
    cached = None if cache_uri is None else storage.join(cache_uri, f"features-{_key(checkpoint, manifest)}.npz")
    if cached is not None and storage.exists(cached):
        say(f"features read from {cached}")
        with np.load(io.BytesIO(storage.read_bytes(cached)), allow_pickle=False) as arrays:
            return {split: DocumentFeatures.from_arrays(arrays, split) for split in SPLITS}
    reader = StateReader(checkpoint.build_model(), checkpoint.vocabulary)
    codebook = _codebook(reader, manifest, say=say)
    features = {split: read_split(reader, manifest, split, codebook=codebook, say=say) for split in SPLITS}
    if cached is not None:
        buffer = io.BytesIO()
        arrays = {name: array for split in SPLITS for name, array in features[split].to_arrays(split).items()}
        np.savez(buffer, allow_pickle=False, **arrays)
        storage.write_bytes(cached, buffer.getvalue())
    return features


def read_split(
    reader: StateReader, manifest: Manifest, split: str, *, codebook: Codebook, say: Say
) -> DocumentFeatures:
    """Returns the features of a split, read a block of documents at a time."""
    num_documents = manifest.split(split).num_documents
    documents = iter_documents(manifest, split)
    blocks = [_read_block(reader, [], codebook)]  # So that an empty split has arrays too.
    while block := list(itertools.islice(documents, BLOCK_DOCUMENTS)):
        blocks.append(_read_block(reader, block, codebook))
        say(f"read {sum(map(len, blocks)):,} of {num_documents:,} documents of {split}")
    return DocumentFeatures(
        counts=scipy.sparse.csr_array(scipy.sparse.vstack([block.counts for block in blocks])),
        **{name: np.concatenate([getattr(block, name) for block in blocks]) for name in _ARRAYS},
    )


def _read_block(reader: StateReader, documents: Sequence[Document], codebook: Codebook) -> DocumentFeatures:
    last = np.zeros((len(documents), reader.width), dtype=np.float32)
    mean = np.zeros_like(last)
    order, counts = [], [scipy.sparse.csr_array((0, len(codebook)), dtype=np.float32)]
    for reading in reader.read([document.text for document in documents], codebook):
        last[reading.places], mean[reading.places] = reading.last, reading.mean
        order.extend(reading.places.tolist())
        counts.append(reading.counts)
    return DocumentFeatures(
        last=last,
        mean=mean,
        counts=scipy.sparse.csr_array(scipy.sparse.vstack(counts))[np.argsort(order)],
        labels=np.array([document.label or "" for document in documents], dtype=np.str_),
        categories=np.array([document.category or "" for document in documents], dtype=np.str_),
        document_ids=np.array([document.document_id for document in documents], dtype=np.str_),
    )


def _codebook(reader: StateReader, manifest: Manifest, *, say: Say) -> Codebook:
    """Makes the codebook of states at the ends of words, drawn from documents spread over `train`."""
    every = max(1, manifest.split("train").num_documents // CODEBOOK_DOCUMENTS)
    texts = [document.text for document in itertools.islice(iter_documents(manifest, "train"), 0, None, every)]
    say(f"making a codebook of the states in {len(texts):,} documents of train")
    generator = np.random.default_rng(0)
    drawn = []
    for states in reader.word_ends(texts):
        share = -(-NUM_STATES * NUM_ROWS // len(texts))  # Of so many texts at once; a last, shorter call gives more.
        drawn.append(states[generator.permutation(len(states))[:share]])
    return Codebook.of(np.concatenate(drawn), num_entries=NUM_ENTRIES)


def _check(checkpoint: Checkpoint, manifest: Manifest) -> None:
    if checkpoint.vocabulary != manifest.vocabulary:
        raise UserError(
            f"{checkpoint.uri} has a vocabulary of {checkpoint.vocabulary.size} ids and {manifest.uri} another one of "
            f"{manifest.vocabulary.size}; probe on the windows that it was trained on, {checkpoint.manifest_uri}"
        )
    if checkpoint.spec.classifier.features is not None or checkpoint.spec.training.loss_at == "last":
        raise UserError(
            f"{checkpoint.uri} is a classifier, or was trained with training.loss_at=last, so that it carries no state "
            "from character to character; name a language model that was trained with training.loss_at=every"
        )


def _key(checkpoint: Checkpoint, manifest: Manifest) -> str:
    """Returns a name for what the features depend on."""
    settings = [FORMAT_VERSION, NUM_ENTRIES, CODEBOOK_DOCUMENTS, NUM_STATES]
    content = json.dumps([manifest.hash, checkpoint.hashes["weights.npz"], settings])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
