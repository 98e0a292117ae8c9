"""Novelty of a text: the TF-IDF cosine distance over words to the nearest training window.

The published figure of the recipe `tweets` is the mean distance of ten texts, including the copied prompt, to the
nearest training window, with scikit-learn's defaults: lower-case words of two letters or more, with vocabulary and
weights from the training windows only.

Letters: `N` texts, `M` windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids, Vocabulary

MAX_WINDOWS = 200_000
"""Maximum number of training windows to compare with; a larger corpus contributes evenly spaced ones."""
ROWS = 16
"""Texts compared with all windows at once: their similarities take up to ROWS * M numbers."""


def distances(texts: Sequence[str], windows: Iterable[str]) -> npt.NDArray[np.float64]:
    """Returns the distance of each text to the nearest window, shape [N]: 0 for a copy, 1 without shared words."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # Takes a second to import.

    vectorizer = TfidfVectorizer()
    try:
        known = vectorizer.fit_transform(windows)  # [M, words], rows of length 1
    except ValueError:  # No window has a word.
        return np.ones(len(texts))
    nearest = [np.zeros(0)]
    for start in range(0, len(texts), ROWS):
        similarity = vectorizer.transform(texts[start : start + ROWS]) @ known.T
        nearest.append(similarity.max(axis=1).toarray().ravel())
    return 1 - np.minimum(np.concatenate(nearest), 1)


def training_windows(manifest: Manifest, *, context_length: int, stride: int) -> Iterator[str]:
    """Yields the texts of the windows of `train`, or of MAX_WINDOWS evenly spaced ones if there are more."""
    codec = manifest.codec
    with IdReader(manifest, "train") as reader:
        span = max(reader.num_ids - context_length, 0)
        stride = max(stride, -(-span // (MAX_WINDOWS - 1)))
        for start in range(0, span + 1, stride):
            yield codec.decode(window_text(reader.read(start, start + context_length), manifest.vocabulary))


def window_text(ids: Ids, vocabulary: Vocabulary) -> str:
    """Returns the text of ids that may span documents, with a line break for END."""
    if vocabulary.end_id is None:
        return vocabulary.decode(ids)
    return "\n".join(vocabulary.decode(part) for part in np.split(ids, np.flatnonzero(ids == vocabulary.end_id)))
