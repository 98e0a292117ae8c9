"""`textgen.load`: a checkpoint in Python code gives the same results as the jobs, and errors for other tasks."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textgen
from tests.written_checkpoint import write_checkpoint, write_classifier
from textgen.errors import UserError
from textgen.generation.completions import Prompt, engine_of, requests_of, sampling_of
from textgen.loaded import CHUNK_IDS
from textgen.model.checkpoint import Checkpoint
from textgen.windows.conditions import Condition

pytestmark = pytest.mark.tensorflow

DOCS = Path(__file__).resolve().parent.parent / "docs"
LONG = "The cat, a tec. Bé " * 17
STARS = Condition(column="label", values=("1", "5"))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("model"), max_new_chars=7)


@pytest.fixture(scope="module")
def conditioned_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("told"), conditions=(STARS,))


@pytest.fixture(scope="module")
def classifier_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_classifier(tmp_path_factory.mktemp("classifier"))


def log_shares(uri: str, ids: list[int]) -> Any:
    """Returns the log probabilities after each id, [T, V], computed by the model's layers in one call."""
    model = Checkpoint.load(uri).build_model()
    logits = np.asarray(model(np.array([ids], np.int32), model.initial_state(1))[0][0], np.float64)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def ids_of(uri: str, text: str, *controls: int) -> list[int]:
    vocabulary = Checkpoint.load(uri).vocabulary
    return [vocabulary.start_id, *controls, *vocabulary.encode(text).tolist()]


def test_a_completion_is_the_one_that_the_job_writes(uri: str) -> None:
    model = textgen.load(uri)
    checkpoint = Checkpoint.load(uri)
    settings = dataclasses.replace(sampling_of(checkpoint, {}), temperature=0.9, n=3, seed=5)
    expected = engine_of(checkpoint).generate(requests_of([Prompt(text="Cab"), Prompt(text="")], settings))
    assert model.complete(["Cab", ""], temperature=0.9, n=3, seed=5) == expected
    assert model.generate("Cab", temperature=0.9, seed=5) == expected[0].completion
    assert len(model.generate(seed=2)) <= 7  # The limit stored in the checkpoint.


def test_a_single_stop_text_needs_no_list(uri: str) -> None:
    text = textgen.load(uri).generate("a", seed=1, temperature=1.3)
    assert textgen.load(uri).generate("a", seed=1, temperature=1.3, stop=text[2:4]) == text[: text.index(text[2:4])]


@pytest.mark.parametrize("text", ["", "cab", LONG[:CHUNK_IDS], LONG])
def test_the_score_of_a_text_is_that_of_its_characters_and_its_end(uri: str, text: str) -> None:
    read = " ".join(text.lower().split())  # Cleaned like the corpus.
    ids = [*ids_of(uri, read), Checkpoint.load(uri).vocabulary.end_id]
    nats = -log_shares(uri, ids)[np.arange(len(ids) - 1), ids[1:]].sum()
    tally = textgen.load(uri).score(text)
    assert tally.num_characters == len(read) + 1
    vocabulary = Checkpoint.load(uri).vocabulary
    unknown = tally.num_unknown * math.log(vocabulary.num_unseen)
    assert tally.num_unknown == sum(character not in " abcehté" for character in read)
    assert tally.nats == pytest.approx(nats + unknown, rel=1e-5)


@pytest.mark.parametrize("text", ["", "c", "cab"])
def test_a_text_of_a_joined_corpus_has_no_end_to_score(tmp_path: Path, text: str) -> None:
    uri = write_checkpoint(tmp_path, separator=" ")
    ids = ids_of(uri, text)
    nats = -log_shares(uri, ids)[np.arange(len(ids) - 1), ids[1:]].sum()
    tally = textgen.load(uri).score(text)
    assert (tally.num_ids, tally.nats) == (len(text), pytest.approx(nats, rel=1e-5))


@pytest.mark.parametrize("text", ["", "Cab ", LONG[: CHUNK_IDS - 1], LONG])
def test_next_characters_have_all_possible_characters(uri: str, text: str) -> None:
    shares = textgen.load(uri).next_characters(text)
    assert set(shares) == {"", *" abcehté"}
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    expected = np.exp(log_shares(uri, ids_of(uri, text.lower()))[-1])
    vocabulary = Checkpoint.load(uri).vocabulary
    without_unknown = 1 - expected[vocabulary.unknown_id]
    for character, share in shares.items():
        index = vocabulary.end_id if character == "" else int(vocabulary.encode(character)[0])
        assert share == pytest.approx(expected[index] / without_unknown, rel=1e-4)


def test_conditions_precede_the_text(conditioned_uri: str) -> None:
    model = textgen.load(conditioned_uri)
    five = Checkpoint.load(conditioned_uri).vocabulary.control_ids([2]).tolist()
    ids = [*ids_of(conditioned_uri, "cab", *five), Checkpoint.load(conditioned_uri).vocabulary.end_id]
    predicted = log_shares(conditioned_uri, ids)[np.arange(1, len(ids) - 1), ids[2:]]  # Controls are not predicted.
    assert model.score("cab", condition={"stars": 5}).nats == pytest.approx(-predicted.sum(), rel=1e-5)
    assert model.next_characters("cab", condition={"label": "5"}) != model.next_characters("cab")
    assert set(model.next_characters("cab")) == {"", *" abcehté"}
    with pytest.raises(UserError, match="7"):
        model.score("cab", condition={"label": 7})


def test_a_model_of_windows_reads_only_its_last_ids(tmp_path: Path) -> None:
    uri = write_checkpoint(
        tmp_path, changes={"training.order": "shuffled", "training.loss_at": "last", "windows.context_length": 4}
    )
    model = textgen.load(uri)
    assert model.next_characters("cab" + "bace") == pytest.approx(model.next_characters("tee" + "bace"))
    assert model.score(LONG).num_characters == len(" ".join(LONG.split())) + 1


def test_a_classifier_labels(classifier_uri: str) -> None:
    model = textgen.load(classifier_uri)
    labels = model.classify_all(["a great, funny film", "film", "awful film, dull"])
    assert [one.label for one in labels] == ["pos", None, "neg"]
    assert model.classify("a great, funny film") == labels[0]


def test_each_error_is_one_sentence(uri: str, classifier_uri: str, tmp_path: Path) -> None:
    model, classifier = textgen.load(uri), textgen.load(classifier_uri)
    mistakes: dict[str, Any] = {
        "pass a list of texts, or call generate": lambda: model.complete("cab"),
        "call complete": lambda: model.generate("cab", n=2),
        "sampling.temperature": lambda: model.generate("cab", temprature=0.5),
        "is a classifier.* call classify": lambda: classifier.generate("film"),
        "is a classifier and .* call classify": lambda: classifier.score("film"),
        "is a classifier and cannot": lambda: classifier.next_characters("film"),
        "pass a list of texts, or call classify": lambda: classifier.classify_all("film"),
        "language model": lambda: model.classify("cab"),
        "neither a checkpoint nor a run": lambda: textgen.load(str(tmp_path)),
    }
    for words, call in mistakes.items():
        with pytest.raises(UserError, match=words):
            call()


def test_the_documented_lines_run(uri: str, classifier_uri: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block, place in zip(blocks, (uri, classifier_uri), strict=True):
        assert block.count('textgen.load("') == 1
        exec(re.sub(r'textgen\.load\(".*?"\)', f"textgen.load({place!r})", block), {})
