"""The baselines on shards equal figures computed here from the texts."""

import numpy as np
import pytest

from tests.written_windows import written_manifest
from textgen.errors import UserError
from textgen.evaluation import baselines as module
from textgen.evaluation.baselines import ORDERS, baselines, check_orders
from textgen.evaluation.compression import xz_bits_per_character
from textgen.evaluation.count_model import CountModel
from textgen.evaluation.tally import TextSizes

TRAIN = ["the cat sat on the mat", "the dog sat", "cats and dogs", "a cat on a mat on a cat", "ééé שלום"]
TEST = ["the cat on the dog", "a dog's mat", "éé"]


@pytest.mark.parametrize(("unit", "separator"), [("characters", None), ("bytes", None), ("characters", " ")])
def test_baselines_equal_figures_computed_from_the_texts(
    unit: str, separator: str | None, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", f"{tmp_path}/cache")
    monkeypatch.setattr(module, "READ_IDS", 7)
    test = TEST if separator is None else [text.replace("'", "") for text in TEST]
    manifest = written_manifest(
        f"{tmp_path}/windows",
        {"train": TRAIN, "val": [], "test": test},
        unit=unit,  # type: ignore[arg-type]
        separator=separator,
        documents_per_shard=2,
    )
    figures = baselines(manifest, split="test", orders=[5, 2, 3])
    assert list(figures) == ["unigram", "order2", "order3", "order5", "best_order", "xz"]

    def ids(texts: list[str]) -> np.ndarray:
        vocabulary = manifest.vocabulary
        if separator is not None:
            return vocabulary.encode(separator.join(texts))
        return np.array([i for text in texts for i in [*vocabulary.encode(text), vocabulary.end_id]])

    model = CountModel(ids(test), order=5, vocab_size=manifest.vocabulary.size, start_id=manifest.vocabulary.start_id)
    model.count(ids(TRAIN))
    sizes = TextSizes(manifest.vocabulary)
    num_characters = sum(map(len, test)) + len(test) - (separator is not None)
    assert sizes.tally(ids(test), nats=0).num_characters == num_characters
    for name, order in (("unigram", 0), ("order2", 2), ("order3", 3), ("order5", 5)):
        tally = sizes.tally(ids(test), nats=model.nats(order=order))
        assert figures[name] == pytest.approx(tally.nats / np.log(2) / num_characters)
    shown = test if separator is not None or unit == "bytes" else [text.replace("'", "\ufffd") for text in test]
    if unit == "characters":  # In bytes, only the decoded UNKNOWN differs.
        assert figures["xz"] == pytest.approx(xz_bits_per_character(shown, separator=separator))
    assert figures["order5"] < figures["unigram"]
    assert figures[f"order{figures['best_order']}"] == min(figures[f"order{order}"] for order in (2, 3, 5))


@pytest.mark.parametrize("order", [0, -1, 17])
def test_orders_out_of_range_are_refused(order: int) -> None:
    check_orders(ORDERS)
    with pytest.raises(UserError, match=f"--count-order is {order}; use orders from 1 to 16"):
        check_orders([3, order])
