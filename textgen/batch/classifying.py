"""Texts -> labels, as lines of JSON: what a worker of `jobs.classify` does with the rows of a shard."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textgen.batch.outputs import Lines, Output, Total, beside, prepare_tensorflow
from textgen.batch.rows import Row, Values
from textgen.errors import UserError
from textgen.model.checkpoint import Checkpoint
from textgen.windows.vocabulary import codes_of

if TYPE_CHECKING:
    from textgen.evaluation.labelling import Labeller

OWN_FIELDS = frozenset(("text", "label", "confidence", "likeliest", "reason", "unknown_share"))
TEXTS_AT_ONCE = 64
"""As many as a classifier scores at once (`document_scoring.NUM_ROWS`), so that a shard is cut as all its texts are."""


class Classification:
    """Labels the texts of rows with one classifier."""

    outputs_name = "labels"
    done = "labelled"

    def __init__(self, checkpoint: Checkpoint, _: Mapping[str, Any]) -> None:
        """Takes a checkpoint, whose weights are read when the first text is labelled.

        Raises:
            UserError: the checkpoint is a language model's.
        """
        if not checkpoint.classes:
            raise UserError(f"{checkpoint.uri} is a language model; name the checkpoint of a classifier")
        self._checkpoint = checkpoint

    @functools.cached_property
    def _labeller(self) -> Labeller:
        prepare_tensorflow()
        from textgen.evaluation.labelling import Labeller

        return Labeller(self._checkpoint)

    def num_outputs(self, values: Values) -> int:
        """Returns 1, as every text gets one line.

        Raises:
            UserError: the row has no text.
        """
        text = values.get("text")
        if not isinstance(text, str):
            raise UserError('it has no text; a row has the form {"text": "a text"}')
        codes_of(text, "bytes")
        return 1

    def outputs(self, rows: Sequence[Row]) -> Iterator[list[Output]]:
        """Yields the labels of rows in their order: (place among all, line)."""
        from textgen.evaluation.labelling import as_row

        own = OWN_FIELDS | {f"unknown_{self._labeller.unit}"}
        numbered = iter(enumerate(rows))
        while chunk := list(itertools.islice(numbered, TEXTS_AT_ONCE)):
            labelled = self._labeller.label([row.values["text"] for _, row in chunk])
            lines: list[Output] = []
            for (place, row), one in zip(chunk, labelled, strict=True):
                others = {name: value for name, value in row.values.items() if name != "text"}
                lines.append((place, as_row(one, beside(row, others, own=own), unit=self._labeller.unit)))
            yield lines

    @staticmethod
    def amounts(lines: Lines) -> dict[str, int]:
        """Returns how many texts got a label."""
        return {"labelled": sum(line["label"] is not None for line in lines)}

    @staticmethod
    def figures(total: Total, *, added: Total, seconds: float) -> dict[str, Any]:
        """Returns what a job's result says of all labels, and of those that it added."""
        return {
            "texts": total.num_rows,
            "labelled": total.amounts.get("labelled", 0),
            "texts_per_second": round(added.num_rows / seconds, 1),
        }
