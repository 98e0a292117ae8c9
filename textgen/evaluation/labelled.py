"""The documents of a manifest that have one of two labels, with their features and texts.

Letters: D documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.evaluation.features import DocumentFeatures
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import iter_documents

Bools = npt.NDArray[np.bool_]
MIN_DOCUMENTS = 10
"""Of each label and split: fewer teach and measure nothing."""


@dataclass(frozen=True, kw_only=True)
class LabelledDocuments:
    """Documents of a split, in its order."""

    features: DocumentFeatures
    texts: Sequence[str]
    positive: Bools
    """Which have the second label, [D]."""

    def __len__(self) -> int:
        return len(self.positive)


def labelled_documents(
    manifest: Manifest, features: Mapping[str, DocumentFeatures], *, category: str | None, labels: tuple[str, str]
) -> dict[str, LabelledDocuments]:
    """Returns the documents of each split that are of a category (None: of any) and have one of the labels.

    Raises:
        UserError: a split has too few of a label.
    """
    found = {}
    for split in SPLITS:
        own = features[split]
        chosen = np.isin(own.labels, labels) & ((own.categories == category) | (category is None))
        places = np.flatnonzero(chosen)
        texts = [document.text for document, keep in zip(iter_documents(manifest, split), chosen, strict=True) if keep]
        positive = own.labels[places] == labels[1]
        if min(int(positive.sum()), int((~positive).sum())) < MIN_DOCUMENTS:
            raise UserError(
                f"{split} of {manifest.uri} has {int((~positive).sum())} documents labelled {labels[0]} and "
                f"{int(positive.sum())} labelled {labels[1]}; a probe takes {MIN_DOCUMENTS} of each at least: ingest "
                f"more, with a larger corpus.{split}_share" + (" or another --category" if category else "")
            )
        found[split] = LabelledDocuments(features=own.rows(places), texts=texts, positive=positive)
    return found


def two_labels(features: DocumentFeatures, *, category: str | None, given: Sequence[str] | None) -> tuple[str, str]:
    """Returns the negative and the positive label: those given, or the two that there are, sorted.

    Raises:
        UserError: there are not two.
    """
    known = Counter(features.labels[(features.categories == category) | (category is None)].tolist())
    del known[""]
    names = sorted(known) if given is None else list(given)
    if len(names) != 2 or not set(names) <= set(known):
        raise UserError(
            f"a probe tells two labels apart, and the documents are labelled {', '.join(sorted(known)) or 'not at all'}"
            + ("" if given is None else f", not {', '.join(given)}")
            + "; name two of them as --labels NEGATIVE,POSITIVE"
        )
    return names[0], names[1]
