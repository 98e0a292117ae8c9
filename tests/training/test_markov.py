"""The whole chain on a source of known entropy: ingest, two workers of Ray Train, evaluation on `test`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from textgen.evaluation.figures import evaluate
from textgen.ingest.pipeline import ingest
from textgen.local.checkout import Checkout
from textgen.presets import preset
from textgen.spec import RunSpec, override
from textgen.training.driver import train

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]

ALPHABET = "abcd"
LIKELY, UNLIKELY = 0.76, 0.08
END_PROBABILITY = 1 / 60
"""After every character but the first; the mean length of a document is 60 characters."""
NUM_DOCUMENTS = 9000


def next_probabilities(last_three: tuple[int, int, int]) -> list[float]:
    """Returns the source's distribution of the next letter: it depends on the third last and the last."""
    likely = (last_three[0] + 2 * last_three[2] + 1) % len(ALPHABET)
    return [LIKELY if letter == likely else UNLIKELY for letter in range(len(ALPHABET))]


def document(rng: np.random.Generator) -> tuple[str, float]:
    """Returns a document and its cost under the true source, including END, in bits."""
    letters: list[int] = [0, 0, 0]
    bits = 0.0
    while True:
        may_end = len(letters) > 3
        if may_end and rng.random() < END_PROBABILITY:
            return "".join(ALPHABET[letter] for letter in letters[3:]), bits - math.log2(END_PROBABILITY)
        probabilities = next_probabilities((letters[-3], letters[-2], letters[-1]))
        letter = int(rng.choice(len(ALPHABET), p=probabilities))
        bits -= math.log2(probabilities[letter]) + (math.log2(1 - END_PROBABILITY) if may_end else 0)
        letters.append(letter)


@pytest.fixture(scope="module")
def documents() -> dict[str, float]:
    """Text -> its cost in bits; the texts are distinct, so no duplicate is removed."""
    rng = np.random.default_rng(11)
    made: dict[str, float] = {}
    while len(made) < NUM_DOCUMENTS:
        text, bits = document(rng)
        made[text] = bits
    return made


def order_k_bits(texts: list[str], order: int) -> float:
    """Returns the conditional entropy of a letter after `order` letters, in bits: the best such predictor's cost."""
    counts: dict[str, dict[str, int]] = {}
    for text in texts:
        for place in range(order, len(text)):
            after = counts.setdefault(text[place - order : place], {})
            after[text[place]] = after.get(text[place], 0) + 1
    nats = sum(-n * math.log(n / sum(after.values())) for after in counts.values() for n in after.values())
    return nats / math.log(2) / sum(sum(after.values()) for after in counts.values())


def test_the_source_cannot_be_guessed_from_one_or_two_letters(documents: dict[str, float]) -> None:
    texts = list(documents)
    entropy = order_k_bits(texts, 3)
    assert entropy == pytest.approx(-LIKELY * math.log2(LIKELY) - 3 * UNLIKELY * math.log2(UNLIKELY), rel=0.01)
    assert order_k_bits(texts, 1) > 1.15 * entropy
    assert order_k_bits(texts, 2) > 1.15 * entropy


def markov_spec(model_input: str) -> RunSpec:
    return override(
        preset("tiny"),
        {
            "corpus.test_share": 0.1,
            "corpus.val_share": 0.02,
            "model.input": model_input,
            "model.embedding_dim": 8,
            "model.units": 48,
            "training.max_steps": 700,
            "training.learning_rate": 1e-2,
            "training.global_batch_size": 20,
            "training.sample_temperatures": (),
            "training.validate_every_steps": 350,
        },
    )


@pytest.mark.parametrize("model_input", ["embedding", "one_hot"])
def test_two_workers_come_within_three_percent_of_the_entropy(
    ray_head: Checkout, documents: dict[str, float], tmp_path: Path, model_input: str
) -> None:
    source = tmp_path / "source.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    spec = markov_spec(model_input)
    said: list[str] = []
    windows = ingest([str(source)], output=str(tmp_path / "windows"), spec=spec, say=said.append)
    assert windows["documents"] == windows["records"] == NUM_DOCUMENTS
    trained = train(
        spec,
        manifest_uri=str(tmp_path / "windows"),
        output=str(tmp_path),
        run_name="run",
        num_workers=2,
        say=said.append,
    )
    figures = evaluate(trained["checkpoint_uri"], split="test", say=said.append)
    num_test = windows["documents_per_split"]["test"]
    assert figures["documents"] == num_test > 500
    assert figures["unknown_rate"] == 0
    entropy = entropy_of_test(documents, tmp_path)
    assert entropy * 0.99 < figures["bits_per_character"] < entropy * 1.03
    assert figures["baselines"]["order5"] < entropy * 1.03 < figures["baselines"]["unigram"]


def entropy_of_test(documents: dict[str, float], folder: Path) -> float:
    """Returns the cost of the documents of `test` under the true source, in bits per character and END."""
    from textgen.windows.manifest import Manifest
    from textgen.windows.shards import iter_documents

    texts = [document.text for document in iter_documents(Manifest.load(str(folder / "windows")), "test")]
    return sum(documents[text] for text in texts) / sum(len(text) + 1 for text in texts)
