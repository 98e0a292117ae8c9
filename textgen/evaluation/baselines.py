"""What models that are not learned by gradient cost on a split: the figures beside every language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from textgen.corpus.marks import unmark
from textgen.errors import UserError
from textgen.evaluation.compression import xz_bits_per_character
from textgen.evaluation.count_model import CountModel
from textgen.evaluation.original_text import OriginalSizes
from textgen.evaluation.tally import TextSizes
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader, iter_documents
from textgen.windows.vocabulary import Ids

ORDERS = (3, 4, 5, 6, 7, 8)
"""Ids of context of the count models; with the unit `bytes` these are bytes."""
LARGEST_ORDER = 16
"""Longer contexts hardly occur twice, and each one costs memory."""
READ_IDS = 2**21


def baselines(manifest: Manifest, *, split: str, orders: Sequence[int] = ORDERS) -> dict[str, float]:
    """Returns the bits per character of a split for models that are counted, not learned.

    `unigram` and `order3`, `order4`, ... are counted on `train`; `best_order` is the order with the fewest bits (of
    equals the shortest). `xz` compresses the split's own text. Control ids are left out: they are given, not written.
    Memory grows with the split that is scored, not with `train`: beside 30 million ids of `train`, order 8 takes 0.4 GB
    and 14 s of one core for 0.34 million ids, 0.9 GB and 41 s for 3.4 million.
    """
    vocabulary = manifest.vocabulary
    scored = np.concatenate([np.empty(0, vocabulary.id_dtype), *_written_ids(manifest, split)])
    num_ids = vocabulary.size - vocabulary.num_controls
    model = CountModel(scored, order=max(orders), vocab_size=num_ids, start_id=vocabulary.start_id)
    for ids in _written_ids(manifest, "train"):
        model.count(ids)
    sizes = TextSizes(vocabulary)
    original = OriginalSizes(manifest, split)
    bits = [original.counted(sizes.tally(scored, nats=nats)).bits_per_character for nats in model.nats_by_order()]
    texts = (unmark(document.text, manifest.mark_rules) for document in iter_documents(manifest, split))
    return {
        "unigram": bits[0],
        **{f"order{order}": bits[order] for order in sorted(set(orders))},
        "best_order": min(sorted(orders), key=bits.__getitem__),
        "xz": xz_bits_per_character(texts, separator=vocabulary.separator),
    }


def check_orders(orders: Sequence[int]) -> None:
    """Refuses orders that no count model has.

    Raises:
        UserError: one of them is below 1 or above LARGEST_ORDER.
    """
    for order in orders:
        if not 1 <= order <= LARGEST_ORDER:
            raise UserError(f"--count-order is {order}; each is 1 to {LARGEST_ORDER} characters of context")


def _written_ids(manifest: Manifest, split: str) -> Iterator[Ids]:
    """Yields the ids of a split without the controls, a piece at a time."""
    reader = IdReader(manifest, split)
    try:
        for start in range(0, reader.num_ids, READ_IDS):
            ids = reader.read(start, start + READ_IDS)
            yield ids[~manifest.vocabulary.is_control(ids)]
    finally:
        reader.close()
