"""Forms of documents: matrices with a row per document, from which a regression predicts labels.

Means, TF-IDF weights and directions are fitted on `train` without its labels, so that a regression can use few of
these. `val` and `test` are not used for fitting.

    cell_state   the cell state of every layer after the last id, standardized: the published probe
    cell_means   its mean over the document, standardized
    pooled       h and c of every layer after the last id, and their means over the document, standardized
    word_states  counts of the codebook's entries, weighted by TF-IDF
    latent       the leading directions of `word_states`, with unit length, for use with few labels
    tfidf        words and word pairs of the text, weighted by TF-IDF: the baseline without a language model

Letters: D documents, F values of the state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from textgen.probing.features import DocumentFeatures
from textgen.probing.regression import Form

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Forms = dict[str, dict[str, Form]]
"""Forms by split and name."""

NUM_DIRECTIONS = 32
"""Directions of `latent`: with 100 labels of 22,136 film reviews, 16 to 32 were alike and 64 lost over a point."""
MIN_DOCUMENTS = 3
"""Minimum number of documents of `train` with a word or pair in `tfidf`, if `train` has 100 times as many."""


def state_forms(features: Mapping[str, DocumentFeatures], cells: Numbers) -> Forms:
    """Returns the forms of a language model's features; `cells` are the indices of cell states among the F values."""
    from sklearn.feature_extraction.text import TfidfTransformer

    weights = TfidfTransformer(sublinear_tf=True).fit(features["train"].counts)
    counts = {split: scipy.sparse.csr_array(weights.transform(one.counts)) for split, one in features.items()}
    pooled = {split: np.concatenate([one.last, one.mean], axis=1) for split, one in features.items()}
    standardized = _standardized(pooled)
    latent = _directions(counts)
    return {
        split: {
            "cell_state": Form(name="cell_state", matrix=standardized[split][:, cells], penalty="l1"),
            "cell_means": Form(
                name="cell_means", matrix=standardized[split][:, features[split].last.shape[1] + cells], penalty="l1"
            ),
            "pooled": Form(name="pooled", matrix=standardized[split], penalty="l1"),
            "word_states": Form(name="word_states", matrix=counts[split], penalty="l2"),
            "latent": Form(name="latent", matrix=latent[split], penalty="l2"),
        }
        for split in features
    }


def tfidf_forms(texts: Mapping[str, Sequence[str]]) -> tuple[dict[str, Form], Any]:
    """Returns the form `tfidf` of each split's texts, and its vectorizer."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    is_small = len(texts["train"]) < 100 * MIN_DOCUMENTS
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1 if is_small else MIN_DOCUMENTS)
    vectorizer.fit(texts["train"])
    forms = {
        split: Form(name="tfidf", matrix=scipy.sparse.csr_array(vectorizer.transform(own)), penalty="l2")
        for split, own in texts.items()
    }
    return forms, vectorizer


def _standardized(values: Mapping[str, Floats]) -> dict[str, Floats]:
    mean, spread = values["train"].mean(axis=0), values["train"].std(axis=0)
    spread[spread == 0] = 1  # A constant unit carries no information.
    return {split: (own - mean) / spread for split, own in values.items()}


def _directions(counts: Mapping[str, scipy.sparse.csr_array]) -> dict[str, Floats]:
    """Projects documents on the leading right singular vectors of `train`; each row has length 1 or 0."""
    from sklearn.decomposition import TruncatedSVD

    num_directions = min(NUM_DIRECTIONS, *(size - 1 for size in counts["train"].shape))
    space = TruncatedSVD(num_directions, random_state=0).fit(counts["train"])
    found = {}
    for split, own in counts.items():
        values = space.transform(own) if own.shape[0] else np.zeros((0, num_directions))
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        found[split] = (values / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return found
