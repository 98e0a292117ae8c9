"""Baselines on a split: bits per character of count models and of xz, to compare language models with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from textgen.errors import UserError
from textgen.evaluation.compression import xz_bits_per_character
from textgen.evaluation.count_model import CountModel
from textgen.evaluation.original_text import OriginalSizes
from textgen.evaluation.tally import TextSizes
from textgen.windows.documents import original_texts
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids

ORDERS = (3, 4, 5, 6, 7, 8)
"""Orders of the count models, in ids of context; with the unit `bytes`, ids are bytes."""
LARGEST_ORDER = 16
"""Longer contexts rarely occur twice, and each order costs memory."""
READ_IDS = 2**21


def baselines(manifest: Manifest, *, split: str, orders: Sequence[int] = ORDERS) -> dict[str, float]:
    """Returns the bits per character of a split for count models and `xz -9e`.

    `unigram` and `order3`, `order4`, ... count ids on `train`; `best_order` is the order with the fewest bits, the
    smallest one in a tie. `xz` compresses the text of the split. Control ids are excluded: they are not predicted.
    Memory grows with the scored split, not with `train`: with 30 million ids of `train`, order 8 takes 0.4 GB and 14 s
    of one core for 0.34 million scored ids, and 0.9 GB and 41 s for 3.4 million.
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
    texts = original_texts(manifest, split)
    return {
        "unigram": bits[0],
        **{f"order{order}": bits[order] for order in sorted(set(orders))},
        "best_order": min(sorted(orders), key=bits.__getitem__),
        "xz": xz_bits_per_character(texts, separator=vocabulary.separator),
    }


def check_orders(orders: Sequence[int]) -> None:
    """Checks the orders of count models.

    Raises:
        UserError: an order is below 1 or above LARGEST_ORDER.
    """
    for order in orders:
        if not 1 <= order <= LARGEST_ORDER:
            raise UserError(f"--count-order is {order}; use orders from 1 to {LARGEST_ORDER}, in characters of context")


def _written_ids(manifest: Manifest, split: str) -> Iterator[Ids]:
    """Yields the ids of a split in pieces, without controls."""
    with IdReader(manifest, split) as reader:
        for start in range(0, reader.num_ids, READ_IDS):
            ids = reader.read(start, start + READ_IDS)
            yield ids[~manifest.vocabulary.is_control(ids)]
