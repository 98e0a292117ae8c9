"""From a bucket of text to a small language model: `textgen.load` returns a trained one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textgen.loaded import TrainedModel


def load(uri: str) -> TrainedModel:
    """Returns the model of a checkpoint, of a run (its best checkpoint) or of a sweep's `best`, on disk or S3.

    Raises:
        UserError: there is none.
    """
    from textgen.loaded import TrainedModel  # Loads numpy and pyarrow, which not every import of a part needs.
    from textgen.local.s3 import introduce

    introduce()
    return TrainedModel.of(uri)
