"""Completes stored specs of older versions: a missing field takes the value that applied when the spec was written.

Every field added since the first version, and every changed default, has an entry in `CHANGES`;
`tests/spec/test_versions.py` fails if one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from textgen.errors import UserError

Section = Mapping[str, Any]
VERSION_KEY = "version"
"""Key of the version in a stored spec."""
LAST_WITHOUT_NUMBER = 7
"""Last version that stored no version number."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A field that a version added, or whose default it changed."""

    path: str
    """`section.field`."""
    version: int
    before: Any
    """Value that applied before, as JSON, or a function that derives it from the stored section."""

    @property
    def section(self) -> str:
        """The field's section."""
        return self.path.partition(".")[0]

    @property
    def field(self) -> str:
        """The field's name within its section."""
        return self.path.partition(".")[2]

    def value_before(self, stored: Section) -> Any:
        """Returns the value that applied before, for a stored section."""
        return self.before(stored) if isinstance(self.before, Callable) else self.before  # type: ignore[arg-type]


def _dense_dropout(model: Section) -> float:
    """Returns the dropout after the Dense layer, which was the same as after recurrent layers."""
    return float(model.get("dropout", 0.0)) if model.get("dense_units") is not None else 0.0


CHANGES = (
    Change(path="model.dense_dropout", version=2, before=_dense_dropout),
    Change(path="corpus.single_author", version=3, before=False),
    Change(path="corpus.keep_categories", version=3, before=[]),
    Change(path="corpus.test_categories", version=3, before=[]),
    Change(path="corpus.condition_on", version=3, before=[]),
    Change(path="corpus.condition_none_share", version=3, before=0.1),
    Change(path="windows.max_vocab_size", version=3, before=None),
    Change(path="model.cell", version=3, before="lstm"),
    Change(path="model.layer_units", version=3, before=[]),
    Change(path="classifier.features", version=3, before=None),
    Change(path="classifier.hidden_units", version=3, before=[512, 256]),
    Change(path="classifier.hidden_activations", version=3, before=["relu", "sigmoid"]),
    Change(path="classifier.dropout", version=3, before=0.5),
    Change(path="classifier.max_document_ids", version=3, before=512),
    Change(path="classifier.document_part", version=3, before="last"),
    Change(path="classifier.max_unknown_share", version=3, before=0.4),
    Change(path="classifier.answered_share", version=3, before=0.9),
    Change(path="training.loss_at", version=3, before="every"),
    Change(path="training.layer_rate_factor", version=3, before=1.0),
    Change(path="training.unfreeze_every_steps", version=3, before=None),
    Change(path="model.hold_conditions", version=4, before=False),  # Conditions were read once, before the text.
    Change(path="training.fresh_share", version=4, before=0.0),  # Lanes were never reset.
    Change(path="training.reduction", version=5, before="all_reduce"),
    Change(path="training.virtual_workers", version=5, before=2),
    Change(path="training.nonfinite", version=6, before="stop"),
    Change(path="training.mixed_precision", version=7, before=False),
    Change(path="corpus.members", version=8, before=[]),
    Change(path="corpus.delimiter", version=8, before=None),
    Change(path="corpus.quoting", version=8, before="auto"),
    Change(path="training.mixed_precision", version=8, before=False),  # None, which depends on the CPU, was added.
    Change(path="training.muon_learning_rate", version=9, before=0.02),
    Change(path="model.counts_order", version=9, before=None),
    Change(path="model.counts_max_megabytes", version=9, before=64),
    Change(path="model.counts_words", version=10, before=0),
)
"""Oldest first. Fields without effect on older specs (such as those of a classifier) have their defaults."""

SPEC_VERSION = max(change.version for change in CHANGES)


def version_of(stored: Mapping[str, Any]) -> int:
    """Returns the version of a stored spec; without a number, the one before the first version whose field is missing.

    Raises:
        UserError: The version is newer than this program.
    """
    number = stored.get(VERSION_KEY)
    if number is None:
        lacking = (change.version for change in CHANGES if change.field not in stored.get(change.section, {}))
        return min(lacking, default=LAST_WITHOUT_NUMBER + 1) - 1
    if not isinstance(number, int) or number > SPEC_VERSION:
        raise UserError(
            f"the stored settings have version {number!r}, but this program reads versions up to {SPEC_VERSION}; "
            "use the version of textgen that wrote them, or a later one"
        )
    return number


def completed(section: str, stored: Section) -> dict[str, Any]:
    """Returns a stored section in which missing fields have the value that applied when it was written."""
    values = dict(stored)
    for change in CHANGES:
        if change.section == section and change.field not in stored:
            values.setdefault(change.field, change.value_before(stored))
    return values


def changed_since(version: int) -> tuple[str, ...]:
    """Returns the paths of fields that were added, or whose default was changed, after a version."""
    return tuple(dict.fromkeys(change.path for change in CHANGES if change.version > version))
