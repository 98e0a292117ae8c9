"""Presets that reproduce published recipes as closely as possible, one function per recipe."""

from __future__ import annotations

import dataclasses

from textgen.spec import (
    ClassifierSpec,
    CorpusSpec,
    ModelSpec,
    RunSpec,
    SamplingSpec,
    TrainingSpec,
    WindowsSpec,
    override,
)


def reviews() -> RunSpec:
    """Product and film reviews, with the layers of the published recipe and a loss at every position.

    The loss at every position makes training on this corpus feasible. A tenth of the documents is `test`, so the model
    never reads the reviews on which classifiers are evaluated.
    """
    return RunSpec(
        preset="reviews",
        corpus=CorpusSpec(test_share=0.1),
        windows=WindowsSpec(min_count=5, context_length=64, stride=64),
        model=ModelSpec(embedding_dim=128, units=128, dense_units=256, dense_dropout=0.5),
        training=TrainingSpec(
            mixed_precision=False,  # As in the recipe.
            global_batch_size=64,
            epochs=7,
            optimizer="rmsprop",
            learning_rate=1e-2,
            warmup_steps=200,
            validate_every_steps=1000,
        ),
    )


def tweets() -> RunSpec:
    """One author's tweets, exactly as in the published recipe: joined to one text, without tweets with links or `&gt`.

    Duplicates, the order of the files and all characters are kept, and nothing is held out.
    """
    return RunSpec(
        preset="tweets",
        corpus=CorpusSpec(
            single_author=True,
            rules=("drop_containing",),
            drop_containing=("http", "&gt"),
            deduplicate=False,
            document_order="file",
            val_share=0.0,
            test_share=0.0,
        ),
        windows=WindowsSpec(separator=" ", context_length=40, stride=3),
        model=ModelSpec(input="one_hot", units=128, num_layers=2, dropout=0.2),
        training=TrainingSpec(
            mixed_precision=False,  # As in the recipe.
            order="shuffled",
            loss_at="last",
            global_batch_size=128,
            epochs=60,
            optimizer="rmsprop",
            learning_rate=1e-2,
            warmup_steps=0,
            decay="constant",
            clip_norm=None,
            validate_every_steps=351,  # One epoch, after which the recipe saves the best weights.
        ),
        sampling=SamplingSpec(temperature=0.2, max_new_chars=140),
    )


def novel() -> RunSpec:
    """A novel, exactly as in the published recipe: words without stop words, and ids scaled to numbers as inputs.

    The recipe reads one text. Paragraphs joined by a space give the same text, but can be held out.
    """
    return RunSpec(
        preset="novel",
        corpus=CorpusSpec(
            document_unit="paragraph",
            rules=("book_edges", "lower", "words"),
            deduplicate=False,
            document_order="file",
            val_share=0.0,
            test_share=0.0,
        ),
        windows=WindowsSpec(separator=" ", context_length=100, stride=1),
        model=ModelSpec(input="scaled", num_layers=3, layer_units=(256, 256, 128), dropout=0.2),
        training=TrainingSpec(
            mixed_precision=False,  # As in the recipe.
            order="shuffled",
            loss_at="last",
            global_batch_size=256,
            epochs=4,
            learning_rate=1e-3,
            warmup_steps=0,
            decay="constant",
            clip_norm=None,
            validate_every_steps=313,  # One epoch.
        ),
        sampling=SamplingSpec(temperature=0.0, max_new_chars=1000),
    )


def sentiment() -> RunSpec:
    """Sentiment of film reviews from a bag of the 3,000 most frequent words, as in the published recipe.

    The splits are those of `reviews`, so no language model has read the documents on which this is evaluated. `test` is
    a tenth, as in the recipe. `val`, which sets the temperature and the threshold, is a hundredth.
    """
    return RunSpec(
        preset="sentiment",
        corpus=dataclasses.replace(reviews().corpus, keep_categories=("imdb",)),
        windows=WindowsSpec(unit="words", max_vocab_size=3_002),
        classifier=ClassifierSpec(features="bag_of_words"),
        training=TrainingSpec(
            order="shuffled",
            global_batch_size=32,
            epochs=5,
            learning_rate=1e-3,
            warmup_steps=0,
            decay="constant",
            clip_norm=None,
            validate_every_steps=500,
        ),
    )


def sentiment_tweets() -> RunSpec:
    """Sentiment of labelled tweets, from a CSV without a header line that has the label first and the text last."""
    return override(
        dataclasses.replace(sentiment(), preset="sentiment_tweets"),
        {
            "corpus.keep_categories": (),
            "corpus.label_column": "0",
            "corpus.text_column": "5",
            "corpus.val_share": 0.1,
        },
    )
