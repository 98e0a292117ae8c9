"""What models that are not learned by gradient cost on a split: the figures beside every language model."""

from __future__ import annotations

from textgen.evaluation.compression import xz_bits_per_character
from textgen.evaluation.count_model import CountModel
from textgen.evaluation.tally import TextSizes
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader, iter_documents

ORDER = 5
"""Ids of context of the count model `order5`; with the unit `bytes` these are bytes."""
READ_IDS = 2**21


def baselines(manifest: Manifest, *, split: str) -> dict[str, float]:
    """Returns the bits per character of a split: `unigram` and `order5`, counted on `train`, and `xz` of its own text.

    Memory grows with the split that is scored, not with `train`.
    """
    vocabulary = manifest.vocabulary
    scored_ids = IdReader(manifest, split)
    scored = scored_ids.read(0, scored_ids.num_ids)
    scored_ids.close()
    model = CountModel(scored, order=ORDER, vocab_size=vocabulary.size, start_id=vocabulary.start_id)
    train_ids = IdReader(manifest, "train")
    for start in range(0, train_ids.num_ids, READ_IDS):
        model.count(train_ids.read(start, start + READ_IDS))
    train_ids.close()
    sizes = TextSizes(vocabulary)
    texts = (document.text for document in iter_documents(manifest, split))
    return {
        "unigram": sizes.tally(scored, nats=model.nats(order=0)).bits_per_character,
        "order5": sizes.tally(scored, nats=model.nats()).bits_per_character,
        "xz": xz_bits_per_character(texts, separator=vocabulary.separator),
    }
