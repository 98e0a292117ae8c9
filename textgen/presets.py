"""One function per recipe, each returning a whole spec: the only place with numbers.

A variant calls another preset and changes fields with `override`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from textgen.errors import UserError
from textgen.spec import CorpusSpec, ModelSpec, RunSpec, SamplingSpec, SweepSpec, TrainingSpec, WindowsSpec, override


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
        windows=WindowsSpec(min_count=5, context_length=128, stride=128),
        model=ModelSpec(embedding_dim=64, units=512, num_layers=1, dropout=0.1),
        training=TrainingSpec(global_batch_size=64, epochs=4, learning_rate=2e-3, warmup_steps=200),
    )


def demo() -> RunSpec:
    """The reviews preset cut to what two slow cores learn in a few minutes."""
    return override(
        dataclasses.replace(reviews_best(), preset="demo"),
        {
            "corpus.test_share": 0.01,
            "windows.context_length": 64,
            "windows.stride": 64,
            "model.units": 256,
            "model.dropout": 0.0,
            "training.global_batch_size": 32,
            "training.max_steps": 3000,
            "training.learning_rate": 4e-3,
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
            learning_rate=1e-2,
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
            order="shuffled",
            global_batch_size=128,
            epochs=60,
            optimizer="rmsprop",
            learning_rate=1e-2,
            warmup_steps=0,
            decay="constant",
            clip_norm=None,
        ),
        sampling=SamplingSpec(temperature=0.2, max_new_chars=140),
    )


_PRESETS: dict[str, Callable[[], RunSpec]] = {
    "reviews": reviews,
    "reviews_best": reviews_best,
    "demo": demo,
    "tiny": tiny,
    "tweets": tweets,
}
PRESET_NAMES = tuple(_PRESETS)


def preset(name: str) -> RunSpec:
    """Returns the spec of a preset by name."""
    if name not in _PRESETS:
        raise UserError(f"there is no preset {name!r}; the presets are {', '.join(PRESET_NAMES)}")
    return _PRESETS[name]()
