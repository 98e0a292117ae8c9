"""Scoring: each id once, by hand for models that allow it, and independent of chunks."""

import math
from typing import Any

import numpy as np
import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.evaluation.tally import Tally
from textgen.windows.batches import scoring_batches
from textgen.windows.lanes import ScoringLanes
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    texts = ["abcab", "a cab", "bac", "cab cab", "abba"]
    return written_manifest(
        str(tmp_path_factory.mktemp("windows")), {"train": texts, "val": texts[:3], "test": ["b?c", "", "aa!", "cb"]}
    )


@pytest.fixture(autouse=True)
def shards_stay_here(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path))


def model_of(manifest: Manifest, *, num_layers: int = 2) -> Any:
    from textgen.model.language_model import LanguageModel

    spec = tiny_spec(model__num_layers=num_layers).model
    return LanguageModel(spec, vocab_size=manifest.vocabulary.size, seed=3)


def tally_of(
    manifest: Manifest, model: Any, *, split: str, num_lanes: int, chunk: int, max_ids: int | None = None
) -> Tally:
    from textgen.evaluation.scoring import Scorer

    ids = IdReader(manifest, split)
    lanes = ScoringLanes(
        num_ids=max_ids or ids.num_ids, context_length=chunk, num_lanes=num_lanes, lead_ids=model.lead_ids
    )
    batches = scoring_batches(ids, lanes, start_id=manifest.vocabulary.start_id)
    return Scorer(model, manifest.vocabulary).score(batches)


def test_an_ignorant_model_costs_the_uniform_distribution(manifest: Manifest) -> None:
    model = model_of(manifest)
    model.set_weights_by_name({name: np.zeros(v.shape) for name, v in model.variables_by_name().items()})
    tally = tally_of(manifest, model, split="val", num_lanes=3, chunk=2)
    num_ids = sum(len(text) + 1 for text in ("abcab", "a cab", "bac"))
    assert (tally.num_ids, tally.num_characters, tally.num_unknown) == (num_ids, num_ids, 0)
    assert tally.nats == pytest.approx(num_ids * math.log(manifest.vocabulary.size))


def test_equals_stepping_along_each_lane(manifest: Manifest) -> None:
    import tensorflow as tf

    model = model_of(manifest)
    ids = IdReader(manifest, "train").read(0, 10**6).astype(np.int64)
    num_lanes, nats, num_correct = 4, 0.0, 0
    for lane in range(num_lanes):
        first, last = (len(ids) * edge // num_lanes for edge in (lane, lane + 1))
        state = model.initial_state(1)
        previous = ids[first - 1] if first else manifest.vocabulary.start_id
        for target in ids[first:last]:
            logits, state = model.step(tf.constant([previous], tf.int32), state)
            probabilities = tf.nn.softmax(tf.cast(logits[0], tf.float64)).numpy()
            nats -= math.log(probabilities[target])
            num_correct += int(probabilities.argmax() == target)
            previous = target
    tally = tally_of(manifest, model, split="train", num_lanes=num_lanes, chunk=5)
    assert tally.num_ids == len(ids)
    assert tally.nats == pytest.approx(nats, rel=1e-5)
    assert tally.num_correct == num_correct


def test_a_sliding_model_equals_one_window_per_id_for_any_lanes(manifest: Manifest) -> None:
    import tensorflow as tf

    from textgen.model.sliding import SlidingModel

    model, context_length = model_of(manifest), 4
    for variable in model.variables_by_name().values():
        variable.assign(3 * variable)  # Large weights, so that earlier ids matter.

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)])
    def probabilities_after(window: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(model(window, model.initial_state(1))[0][0, -1], tf.float64))

    ids = [manifest.vocabulary.start_id, *IdReader(manifest, "train").read(0, 10**6).tolist()]
    nats = 0.0
    for place in range(1, len(ids)):
        window = tf.constant([ids[max(0, place - context_length) : place]])
        nats -= math.log(probabilities_after(window).numpy()[ids[place]])
    sliding = SlidingModel(model, context_length=context_length)
    for num_lanes, chunk in ((1, 64), (4, 5), (7, 2), (60, 3)):
        tally = tally_of(manifest, sliding, split="train", num_lanes=num_lanes, chunk=chunk)
        assert tally.num_ids == len(ids) - 1
        assert tally.nats == pytest.approx(nats, rel=1e-5)
    assert abs(tally_of(manifest, model, split="train", num_lanes=1, chunk=64).nats - nats) > 1e-3


def test_does_not_depend_on_the_chunks(manifest: Manifest) -> None:
    model = model_of(manifest)
    tallies = [tally_of(manifest, model, split="train", num_lanes=3, chunk=chunk) for chunk in (1, 4, 11, 64)]
    assert len({tally.num_ids for tally in tallies}) == 1
    np.testing.assert_allclose([tally.nats for tally in tallies], tallies[0].nats, rtol=1e-6)


def test_more_lanes_than_ids(manifest: Manifest) -> None:
    tally = tally_of(manifest, model_of(manifest), split="val", num_lanes=50, chunk=4)
    assert tally.num_ids == 16


def test_unknown_is_charged_and_never_correct(manifest: Manifest) -> None:
    vocabulary = manifest.vocabulary
    model = model_of(manifest)
    weights = {name: np.zeros(v.shape, np.float32) for name, v in model.variables_by_name().items()}
    weights["logits/bias"][vocabulary.unknown_id] = 5.0  # Always predicts UNKNOWN.
    model.set_weights_by_name(weights)
    tally = tally_of(manifest, model, split="test", num_lanes=2, chunk=3)
    total = math.log(math.exp(5) + vocabulary.size - 1)
    assert (tally.num_ids, tally.num_unknown, tally.num_correct) == (12, 2, 0)
    assert tally.nats == pytest.approx(12 * total - 2 * 5 + 2 * math.log(vocabulary.num_unseen))


def test_a_scorer_uses_the_current_weights(manifest: Manifest) -> None:
    from textgen.evaluation.scoring import Scorer

    model = model_of(manifest, num_layers=1)
    scorer = Scorer(model, manifest.vocabulary)
    lanes = ScoringLanes(num_ids=16, context_length=5, num_lanes=4)

    def nats() -> float:
        return scorer.score(scoring_batches(IdReader(manifest, "val"), lanes, start_id=1)).nats

    before = nats()
    assert nats() == before  # Each call starts from a zero state.
    weights = model.get_weights_by_name()
    weights["logits/bias"] = weights["logits/bias"] + np.arange(len(weights["logits/bias"]), dtype=np.float32)
    model.set_weights_by_name(weights)
    assert abs(nats() - before) > 1


def test_progress_counts_the_ids(manifest: Manifest) -> None:
    from textgen.evaluation.scoring import Scorer

    lanes = ScoringLanes(num_ids=16, context_length=2, num_lanes=4)
    seen: list[int] = []
    batches = scoring_batches(IdReader(manifest, "val"), lanes, start_id=1)
    Scorer(model_of(manifest), manifest.vocabulary).score(batches, progress=seen.append)
    assert seen == [8, 16]
