"""The presets: numbers that must match the published recipes exactly."""

from __future__ import annotations

import dataclasses

import pytest

from textgen import presets
from textgen.errors import UserError
from textgen.windows.lanes import num_windows
from textgen.windows.vocabulary import Vocabulary


def test_tweets_matches_the_published_recipe() -> None:
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
    assert (training.order, training.loss_at) == ("shuffled", "last")
    assert (training.global_batch_size, training.epochs) == (128, 60)


def test_novel_matches_the_published_recipe() -> None:
    spec = presets.preset("novel")
    assert spec.corpus.rules == ("book_edges", "lower", "words")
    assert (spec.corpus.deduplicate, spec.corpus.document_order) == (False, "file")
    assert (spec.corpus.val_share, spec.corpus.test_share, spec.windows.separator) == (0, 0, " ")
    assert (spec.windows.context_length, spec.windows.stride) == (100, 1)
    assert (spec.model.input, spec.model.widths, spec.model.dropout) == ("scaled", (256, 256, 128), 0.2)
    training = spec.training
    assert (training.optimizer, training.learning_rate, training.decay) == ("adam", 1e-3, "constant")
    assert (training.warmup_steps, training.clip_norm, training.loss_at) == (0, None, "last")
    assert (training.global_batch_size, training.epochs) == (256, 4)
    assert (spec.sampling.temperature, spec.sampling.max_new_chars) == (0, 1000)


def test_tweets_best_drops_links_retweets_and_what_the_recipe_drops() -> None:
    recipe, best = presets.preset("tweets").corpus, presets.preset("tweets_best").corpus
    assert set(best.drop_containing) == {*recipe.drop_containing, "RT @"}
    # `&gt` is matched before entities become characters.
    assert best.rules.index("bytes_literal") < best.rules.index("drop_containing") < best.rules.index("html")
    assert recipe.single_author
    assert best.single_author
    assert presets.preset("tweets_best").sampling.max_new_chars == 140


@pytest.mark.parametrize("name", presets.PRESET_NAMES)
def test_a_preset_has_its_own_name(name: str) -> None:
    assert presets.preset(name).preset == name


def test_demo_is_a_smaller_reviews_best() -> None:
    demo, reviews = presets.preset("demo"), presets.preset("reviews_best")
    assert demo.corpus.rules == reviews.corpus.rules
    assert demo.windows.min_count == reviews.windows.min_count
    assert demo.model.units < reviews.model.units


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="no preset 'novels'; the presets are reviews, reviews_best, demo"):
        presets.preset("novels")


def test_sentiment_builds_the_published_model() -> None:
    spec = presets.preset("sentiment")
    classifier, training = spec.classifier, spec.training
    assert (spec.windows.unit, spec.windows.max_vocab_size) == ("words", 3000 + 2)
    assert (classifier.hidden_units, classifier.hidden_activations) == ((512, 256), ("relu", "sigmoid"))
    assert (classifier.features, classifier.dropout) == ("bag_of_words", 0.5)
    assert (training.optimizer, training.global_batch_size, training.epochs) == ("adam", 32, 5)


def test_a_review_is_in_the_same_split_for_the_language_model_and_for_both_classifiers() -> None:
    reviews = presets.preset("reviews").corpus
    for name in ("sentiment", "sentiment_finetuned"):
        corpus = presets.preset(name).corpus
        assert corpus.keep_categories == ("imdb",)
        assert dataclasses.replace(corpus, keep_categories=()) == reviews
