"""Trains small language models on text from local files or S3; `textgen.load` returns a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textgen.loaded import TrainedModel


def load(uri: str) -> TrainedModel:
    """Loads a model from a checkpoint, a run (its best checkpoint) or the `best` of a sweep, on disk or S3.

    Raises:
        UserError: There is no checkpoint.
    """
    from textgen.loaded import TrainedModel  # Imports NumPy and PyArrow, which not every use of the package needs.
    from textgen.local.s3 import introduce

    introduce()
    return TrainedModel.of(uri)
