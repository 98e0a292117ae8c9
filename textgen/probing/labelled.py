"""Selects the documents of a manifest that have one of two labels.

Letters: D documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import Document, iter_documents

Bools = npt.NDArray[np.bool_]
MIN_DOCUMENTS = 10
"""Minimum number per label and split; with fewer, a probe is meaningless."""


@dataclass(frozen=True, kw_only=True)
class LabelledDocuments:
    """Labelled documents of a split, in its order."""

    texts: Sequence[str]
    document_ids: Sequence[str]
    positive: Bools
    """Whether each document has the second label, [D]."""

    def __len__(self) -> int:
        return len(self.texts)


def labelled_documents(
    manifest: Manifest, *, category: str | None, given_labels: Sequence[str] | None, max_documents: int | None
) -> tuple[tuple[str, str], dict[str, LabelledDocuments]]:
    """Returns the negative and the positive label, and the documents of each split that have one of them.

    Args:
        manifest: The manifest of the documents.
        category: Category of the documents; None accepts any.
        given_labels: The two labels; None uses the only two labels of `train`, sorted.
        max_documents: Maximum number per split, evenly spaced; None uses all.

    Raises:
        UserError: there are not exactly two labels, or a split has too few documents with one of them.
    """
    labels = _two_labels(manifest, category=category, given=given_labels)
    found = {}
    for split in SPLITS:
        places = [place for place, one in enumerate(_of(manifest, split, category)) if one.label in labels]
        if max_documents is not None and len(places) > max_documents:
            places = [places[number * len(places) // max_documents] for number in range(max_documents)]
        wanted = set(places)
        chosen = [one for place, one in enumerate(_of(manifest, split, category)) if place in wanted]
        positive = np.array([one.label == labels[1] for one in chosen], dtype=np.bool_)
        if min(int(positive.sum()), int((~positive).sum())) < MIN_DOCUMENTS:
            raise UserError(
                f"{split} of {manifest.uri} has {int((~positive).sum())} documents labelled {labels[0]} and "
                f"{int(positive.sum())} labelled {labels[1]}; a probe needs at least {MIN_DOCUMENTS} of each: ingest "
                f"more, with a larger corpus.{split}_share"
                + (" or another --category" if category else "")
                + (" or more --max-documents" if max_documents is not None else "")
            )
        found[split] = LabelledDocuments(
            texts=[one.text for one in chosen], document_ids=[one.document_id for one in chosen], positive=positive
        )
    return labels, found


def _two_labels(manifest: Manifest, *, category: str | None, given: Sequence[str] | None) -> tuple[str, str]:
    known = Counter(one.label for one in _of(manifest, "train", category) if one.label)
    names = sorted(known) if given is None else list(given)
    if len(names) != 2 or not set(names) <= set(known):
        raise UserError(
            f"a probe needs two labels, and the documents are labelled {', '.join(sorted(known)) or 'not at all'}"
            + ("" if given is None else f", not {', '.join(given)}")
            + "; name two of them as --labels NEGATIVE,POSITIVE"
        )
    return names[0], names[1]


def _of(manifest: Manifest, split: str, category: str | None) -> Iterator[Document]:
    return (one for one in iter_documents(manifest, split) if category is None or one.category == category)
