"""One function per recipe, each returning a whole spec: the only place with numbers.

A variant calls another preset and changes fields with `override`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from textgen.errors import UserError
from textgen.spec import (
    ClassifierSpec,
    CorpusSpec,
    ModelSpec,
    RunSpec,
    SamplingSpec,
    SweepSpec,
    TrainingSpec,
    WindowsSpec,
    override,
)


def reviews() -> RunSpec:
    """Product and film reviews with the published recipe's layers, which a loss at every position lets finish.

    A tenth of the documents is `test`, so that the reviews a classifier is measured on were never read.
    """
    return RunSpec(
        preset="reviews",
        corpus=CorpusSpec(test_share=0.1),
        windows=WindowsSpec(min_count=5, context_length=64, stride=64),
        model=ModelSpec(embedding_dim=128, units=128, dense_units=256, dense_dropout=0.5),
        training=TrainingSpec(
            mixed_precision=False,  # The recipe's arithmetic.
            global_batch_size=64,
            epochs=7,
            optimizer="rmsprop",
            learning_rate=1e-2,
            warmup_steps=200,
            validate_every_steps=1000,
        ),
    )


def reviews_best() -> RunSpec:
    """The same corpus with our own layers: the default."""
    return dataclasses.replace(
        reviews(),
        preset="reviews_best",
        model=ModelSpec(embedding_dim=64, units=512),
        training=TrainingSpec(
            global_batch_size=64,
            epochs=2,
            optimizer="adamw",
            learning_rate=3e-3,
            weight_decay=0.01,
            warmup_steps=300,
            final_learning_rate_share=0.02,
            validate_every_steps=1000,
        ),
    )


def demo() -> RunSpec:
    """The reviews preset cut to what two slow cores learn in a few minutes."""
    return override(
        dataclasses.replace(reviews_best(), preset="demo"),
        {
            "corpus.test_share": 0.01,
            "model.units": 256,
            "training.global_batch_size": 32,
            "training.max_steps": 3000,
            "training.learning_rate": 2.4e-2,
            "training.validate_every_steps": 750,
            "training.validation_chars": 60_000,
            "training.checkpoint_every_seconds": 60.0,
        },
    )


def tiny() -> RunSpec:
    """Any plain text in under a minute: a first try on one's own text, and what tests use."""
    return RunSpec(
        preset="tiny",
        corpus=CorpusSpec(min_split_documents=20),
        windows=WindowsSpec(context_length=32, stride=32),
        model=ModelSpec(embedding_dim=32, units=128),
        training=TrainingSpec(
            global_batch_size=16,
            epochs=1000.0,
            max_steps=600,
            learning_rate=4.4e-2,
            warmup_steps=20,
            validate_every_steps=200,
            validation_chars=20_000,
        ),
        sampling=SamplingSpec(max_new_chars=200),
        sweep=SweepSpec(units=(32, 64, 128)),
    )


def tweets() -> RunSpec:
    """One author's tweets, exactly as the published recipe reads them: unfiltered but for links and `&gt`, one text.

    No duplicate goes out, the files' order stays, no character is changed, and nothing is held out.
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
            mixed_precision=False,  # The recipe's arithmetic.
            order="shuffled",
            loss_at="last",
            global_batch_size=128,
            epochs=60,
            optimizer="rmsprop",
            learning_rate=1e-2,
            warmup_steps=0,
            decay="constant",
            clip_norm=None,
            validate_every_steps=351,  # An epoch, after which the recipe keeps the weights of the lowest loss.
        ),
        sampling=SamplingSpec(temperature=0.2, max_new_chars=140),
    )


def tweets_best() -> RunSpec:
    """One author's tweets in our own way: what others wrote left out, END between tweets, a prediction a character.

    Retweets (`RT @`), which archives hold and their author's voice does not, go out, and so does what is said twice.
    """
    return RunSpec(
        preset="tweets_best",
        corpus=CorpusSpec(
            single_author=True,
            rules=("bytes_literal", "drop_containing", "html", "control", "nfc", "whitespace", "length"),
            drop_containing=("http", "&gt", "RT @"),
            val_share=0.05,
            test_share=0.05,
            min_split_documents=50,
        ),
        windows=WindowsSpec(context_length=64, stride=64),
        model=ModelSpec(embedding_dim=32, units=256, dropout=0.5),
        training=TrainingSpec(
            global_batch_size=16,
            epochs=30,
            learning_rate=1e-2,
            warmup_steps=50,
            validate_every_steps=100,
        ),
        sampling=SamplingSpec(temperature=0.7, max_new_chars=140),
    )


def novel() -> RunSpec:
    """A novel, exactly as the published recipe reads it: words without stop words, and ids as numbers.

    The recipe's text is one; paragraphs, joined by a space, give the same text and can be held out.
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
            mixed_precision=False,  # The recipe's arithmetic.
            order="shuffled",
            loss_at="last",
            global_batch_size=256,
            epochs=4,
            learning_rate=1e-3,
            warmup_steps=0,
            decay="constant",
            clip_norm=None,
            validate_every_steps=313,  # An epoch.
        ),
        sampling=SamplingSpec(temperature=0.0, max_new_chars=1000),
    )


def novel_best() -> RunSpec:
    """A novel with its case, its punctuation and its paragraphs, learnt as `tweets_best` learns."""
    return dataclasses.replace(
        tweets_best(),
        preset="novel_best",
        corpus=CorpusSpec(
            document_unit="paragraph",
            rules=("book_edges", "control", "nfc", "whitespace", "length"),
            document_order="file",
            val_share=0.05,
            test_share=0.1,
            min_split_documents=10,
        ),
        sampling=SamplingSpec(temperature=0.7, max_new_chars=1000),
    )


def finetune() -> RunSpec:
    """One author's tweets, for a model that goes on from a checkpoint of other text: `jobs.train --from`.

    The layers are the checkpoint's. Texts are lower case, as `reviews` reads them.
    """
    return RunSpec(
        preset="finetune",
        corpus=CorpusSpec(single_author=True, val_share=0.1, test_share=0.1),
        windows=WindowsSpec(context_length=64, stride=64),
        training=TrainingSpec(
            global_batch_size=16,
            epochs=6,
            learning_rate=8e-3,
            decay="one_cycle",
            final_learning_rate_share=1e-3,
            validate_every_steps=150,
        ),
        sampling=SamplingSpec(max_new_chars=140),
    )


def sentiment() -> RunSpec:
    """Whether a film review is for or against the film, from the 3,000 most frequent words: the published recipe.

    Splits are those of `reviews`, so that a language model has never read what this is measured on: `test` is the
    recipe's tenth that is held out, and `val`, from which the temperature and the threshold come, a hundredth.
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
    """The same of tweets with a label: CSV without a header line, the label first and the text last."""
    return override(
        dataclasses.replace(sentiment(), preset="sentiment_tweets"),
        {
            "corpus.keep_categories": (),
            "corpus.label_column": "0",
            "corpus.text_column": "5",
            "corpus.val_share": 0.1,
        },
    )


def sentiment_finetuned() -> RunSpec:
    """The same film reviews, read by a language model that learns to tell them apart: `jobs.train --from CHECKPOINT`.

    Characters, rules and splits are those of `reviews`; rates and the order of unfreezing are those of ULMFiT.
    """
    base = reviews()
    return dataclasses.replace(
        base,
        preset="sentiment_finetuned",
        corpus=dataclasses.replace(base.corpus, keep_categories=("imdb",)),
        classifier=ClassifierSpec(
            features="language_model",
            hidden_units=(64,),
            hidden_activations=("relu",),
            dropout=0.3,
            max_document_ids=512,
        ),
        training=TrainingSpec(
            order="shuffled",
            global_batch_size=32,
            epochs=3,
            learning_rate=2e-3,
            warmup_steps=0,
            decay="slanted_triangular",
            layer_rate_factor=2.6,
            unfreeze_every_steps=100,
            validate_every_steps=200,
        ),
    )


_PRESETS: dict[str, Callable[[], RunSpec]] = {
    "reviews": reviews,
    "reviews_best": reviews_best,
    "demo": demo,
    "tiny": tiny,
    "tweets": tweets,
    "tweets_best": tweets_best,
    "novel": novel,
    "novel_best": novel_best,
    "finetune": finetune,
    "sentiment": sentiment,
    "sentiment_tweets": sentiment_tweets,
    "sentiment_finetuned": sentiment_finetuned,
}
PRESET_NAMES = tuple(_PRESETS)


def preset(name: str) -> RunSpec:
    """Returns the spec of a preset by name."""
    if name not in _PRESETS:
        raise UserError(f"there is no preset {name!r}; the presets are {', '.join(PRESET_NAMES)}")
    return _PRESETS[name]()


def meaning(name: str) -> str:
    """Returns what a preset is for: the first line of its docstring."""
    return (_PRESETS[name].__doc__ or "").strip().splitlines()[0]
