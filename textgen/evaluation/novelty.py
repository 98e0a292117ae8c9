"""How far a completion lies from the nearest training text: TF-IDF cosine distance over words.

The published figure of the recipe `tweets` is the mean over ten texts, the copied prompt included, of the distance to
the nearest training window, with scikit-learn's defaults: words of two letters or more, in lower case, counted and
weighted on the training windows alone.

Letters: `N` texts, `M` windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from textgen.corpus.marks import unmark
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids, Vocabulary

MAX_WINDOWS = 200_000
"""Training windows that a text is compared with; of a larger corpus as many, evenly spaced."""
ROWS = 16
"""Texts that are compared with all windows at once: their likenesses take up to ROWS * M numbers."""


def distances(texts: Sequence[str], windows: Iterable[str]) -> npt.NDArray[np.float64]:
    """Returns the distance of each text to the nearest window, shape [N]: 0 is a copy, 1 shares no word with any."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # Takes a second, which only this figure needs.

    vectorizer = TfidfVectorizer()
    try:
        known = vectorizer.fit_transform(windows)  # [M, words], rows of length 1
    except ValueError:  # No window has a word.
        return np.ones(len(texts))
    nearest = [np.zeros(0)]
    for start in range(0, len(texts), ROWS):
        likeness = vectorizer.transform(texts[start : start + ROWS]) @ known.T
        nearest.append(likeness.max(axis=1).toarray().ravel())
    return 1 - np.minimum(np.concatenate(nearest), 1)


def training_windows(manifest: Manifest, *, context_length: int, stride: int) -> Iterator[str]:
    """Yields the texts of the windows of `train`, evenly spaced ones where they are more than MAX_WINDOWS."""
    reader, rules = IdReader(manifest, "train"), manifest.mark_rules
    try:
        span = max(reader.num_ids - context_length, 0)
        stride = max(stride, -(-span // (MAX_WINDOWS - 1)))
        for start in range(0, span + 1, stride):
            yield unmark(window_text(reader.read(start, start + context_length), manifest.vocabulary), rules)
    finally:
        reader.close()


def window_text(ids: Ids, vocabulary: Vocabulary) -> str:
    """Returns the text of ids that may span documents, a line break in the place of END."""
    if vocabulary.end_id is None:
        return vocabulary.decode(ids)
    return "\n".join(vocabulary.decode(part) for part in np.split(ids, np.flatnonzero(ids == vocabulary.end_id)))
