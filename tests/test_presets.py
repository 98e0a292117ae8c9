"""The presets: numbers of the recipes that must come out exactly."""

from __future__ import annotations

import pytest

from textgen import presets
from textgen.errors import UserError
from textgen.windows.lanes import num_windows
from textgen.windows.vocabulary import Vocabulary


def test_tweets_reads_the_published_recipe() -> None:
    spec = presets.preset("tweets")
    assert spec.corpus.rules == ("drop_containing",)
    assert spec.corpus.drop_containing == ("http", "&gt")
    assert (spec.corpus.deduplicate, spec.corpus.document_order) == (False, "file")
    assert (spec.corpus.val_share, spec.corpus.test_share) == (0, 0)
    vocabulary = Vocabulary.from_counts({97: 1}, unit="characters", separator=spec.windows.separator)
    assert (vocabulary.num_reserved, vocabulary.decode(range(vocabulary.size))) == (0, " a")
    assert num_windows(134_481, spec.windows.context_length, spec.windows.stride) == 44_814


def test_tweets_builds_the_published_model() -> None:
    spec = presets.preset("tweets")
    model, training = spec.model, spec.training
    assert (model.input, model.num_layers, model.units, model.dropout) == ("one_hot", 2, 128, 0.2)
    assert model.dense_units is None
    assert (training.optimizer, training.learning_rate, training.decay) == ("rmsprop", 0.01, "constant")
    assert (training.warmup_steps, training.clip_norm) == (0, None)
    assert (training.global_batch_size, training.epochs) == (128, 60)


@pytest.mark.parametrize("name", presets.PRESET_NAMES)
def test_a_preset_bears_its_own_name(name: str) -> None:
    assert presets.preset(name).preset == name


def test_demo_is_the_best_reviews_preset_made_smaller() -> None:
    demo, reviews = presets.preset("demo"), presets.preset("reviews_best")
    assert demo.corpus.rules == reviews.corpus.rules
    assert demo.windows.min_count == reviews.windows.min_count
    assert demo.model.units < reviews.model.units


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="no preset 'novels'; the presets are reviews, reviews_best, demo"):
        presets.preset("novels")
