"""All presets by name, and those that are not published recipes (`textgen.published_recipes`).

Each preset is a function that returns a complete spec. A variant calls another preset and changes fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from textgen.errors import UserError
from textgen.published_recipes import novel, reviews, sentiment, sentiment_tweets, tweets
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


def reviews_best() -> RunSpec:
    """The default: the corpus of `reviews` with a larger LSTM, trained with AdamW."""
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
    """A smaller LSTM than that of `reviews_best`, over counts, which two slow cores train in a few minutes."""
    return override(
        dataclasses.replace(reviews_best(), preset="demo"),
        {
            "corpus.test_share": 0.01,
            "model.units": 256,
            "model.counts_order": 7,
            "model.counts_words": 2,
            "model.counts_max_megabytes": 256,
            "training.global_batch_size": 32,
            "training.max_steps": 1500,
            "training.optimizer": "muon",
            "training.learning_rate": 1.6e-2,
            "training.muon_learning_rate": 0.03,
            "training.validate_every_steps": 500,
            "training.validation_chars": 60_000,
            "training.checkpoint_every_seconds": 60.0,
        },
    )


def tiny() -> RunSpec:
    """Any plain text in under a minute, for a first try on your own text and for tests."""
    return RunSpec(
        preset="tiny",
        corpus=CorpusSpec(min_split_documents=20),
        windows=WindowsSpec(context_length=32, stride=32),
        model=ModelSpec(embedding_dim=32, units=128),
        training=TrainingSpec(
            global_batch_size=16,
            epochs=1000.0,
            max_steps=600,
            optimizer="muon",
            learning_rate=4.4e-2,
            muon_learning_rate=0.06,
            warmup_steps=20,
            validate_every_steps=200,
            validation_chars=20_000,
        ),
        sampling=SamplingSpec(max_new_chars=200),
        sweep=SweepSpec(units=(32, 64, 128)),
    )


def tweets_best() -> RunSpec:
    """One author's tweets as separate documents, with counts, a loss at every position, and without retweets.

    Retweets (`RT @`) are dropped because others wrote them, and duplicates are removed.
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
        model=ModelSpec(embedding_dim=32, units=256, dropout=0.5, counts_order=5, counts_words=2),
        training=TrainingSpec(
            global_batch_size=16,
            epochs=8,
            optimizer="muon",
            learning_rate=1e-2,
            muon_learning_rate=0.02,
            warmup_steps=50,
            validate_every_steps=100,
        ),
        sampling=SamplingSpec(temperature=0.7, max_new_chars=140),
    )


def novel_best() -> RunSpec:
    """A novel with case, punctuation and paragraphs, trained like `tweets_best`."""
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
    """One author's tweets, for fine-tuning a checkpoint trained on other text (`jobs.train --from CHECKPOINT`).

    The layers are those of the checkpoint. Texts are in lower case, as in `reviews`.
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


def sentiment_finetuned() -> RunSpec:
    """Sentiment of film reviews, by fine-tuning a language model (`jobs.train --from CHECKPOINT`).

    Vocabulary, rules and splits are those of `reviews`. Learning rates and gradual unfreezing follow ULMFiT.
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
    """Returns the spec of a preset.

    Raises:
        UserError: There is no preset of this name.
    """
    if name not in _PRESETS:
        raise UserError(f"there is no preset {name!r}; the presets are {', '.join(PRESET_NAMES)}")
    return _PRESETS[name]()


def meaning(name: str) -> str:
    """Returns the description of a preset, which is the first line of its docstring."""
    return (_PRESETS[name].__doc__ or "").strip().splitlines()[0]
