"""Labels new texts with a classifier: label, confidence, and the reason if it abstains."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from textgen.corpus.cleaning import clean_text
from textgen.errors import UserError
from textgen.evaluation.classification import probabilities
from textgen.evaluation.document_scoring import Calibration, DocumentScorer, abstention_of
from textgen.model.checkpoint import Checkpoint
from textgen.model.classifier import build_classifier
from textgen.windows.vocabulary import codes_of

MAX_LISTED = 20
"""Maximum number of unknown words listed per text."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text to label, with the other fields of its line."""

    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A classifier's result for a text."""

    text: str
    label: str | None
    """None if the classifier abstains."""
    confidence: float
    """Probability of the likeliest label, calibrated on `val`."""
    likeliest: str
    """The most probable label, even if the classifier abstains."""
    reason: str | None
    """Why the classifier abstains; None if it gives a label."""
    unknown: tuple[str, ...]
    """The first words of the text without an id (or characters, if the classifier reads these)."""
    unknown_share: float
    """Share of the text's words (or characters) without an id."""


class Labeller:
    """Labels texts with a checkpoint's classifier; cleans them as its training texts were cleaned."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Loads the classifier.

        Raises:
            UserError: the checkpoint is a language model's.
        """
        self._spec = checkpoint.spec
        self._vocabulary = checkpoint.vocabulary
        self._classes = checkpoint.classes
        model = build_classifier(checkpoint)
        self._scorer = DocumentScorer(model, checkpoint.vocabulary, num_classes=len(checkpoint.classes))
        self._calibration = Calibration.of(checkpoint.metrics)
        self._abstention = abstention_of(checkpoint, self._scorer)
        self.unit = self._abstention.unit

    def label(self, texts: Sequence[str]) -> list[Labelled]:
        """Returns a result per text, in order.

        Raises:
            UserError: a text contains half a character (a lone surrogate).
        """
        for text in texts:
            codes_of(text, "bytes")  # Refuses lone surrogates.
        cleaned = [clean_text(text, self._spec.corpus) for text in texts]
        ids = [self._vocabulary.encode(text) for text in cleaned]
        shares = probabilities(self._scorer.logits(ids), temperature=self._calibration.temperature)
        return [
            self._labelled(text, clean, document, row)
            for text, clean, document, row in zip(texts, cleaned, ids, shares, strict=True)
        ]

    def _labelled(self, text: str, cleaned: str, ids: Any, shares: Any) -> Labelled:
        confidence, likeliest = float(shares.max()), self._classes[int(shares.argmax())]
        num_unknown = int(np.count_nonzero(ids == self._vocabulary.unknown_id))
        reason = self._abstention.reason(shares, num_ids=len(ids), num_unknown=num_unknown)
        return Labelled(
            text=text,
            label=likeliest if reason is None else None,
            confidence=round(confidence, 6),
            likeliest=likeliest,
            reason=reason,
            unknown=tuple(self._vocabulary.missing(cleaned)[:MAX_LISTED]),
            unknown_share=round(num_unknown / max(1, len(ids)), 6),
        )


def as_row(labelled: Labelled, fields: Mapping[str, Any], *, unit: str) -> dict[str, Any]:
    """Returns a result as a JSON object; the other fields of its line come first, with `label` as `given_label`."""
    beside = {"given_label" if name == "label" else name: value for name, value in fields.items()}
    return beside | {
        "text": labelled.text,
        "label": labelled.label,
        "confidence": labelled.confidence,
        "likeliest": labelled.likeliest,
        "reason": labelled.reason,
        f"unknown_{unit}": list(labelled.unknown),
        "unknown_share": labelled.unknown_share,
    }


def texts_of(lines: Iterable[str], *, is_json: bool, name: str) -> list[Text]:
    """Returns the texts of all lines that are not blank.

    Each line is a text or, with `is_json`, an object such as {"text": "a fine film"}.

    Raises:
        UserError: a line does not have that form.
    """
    kept = [(number, line.rstrip("\r\n")) for number, line in enumerate(lines, start=1) if line.strip()]
    return [_text_of(line, name, number) if is_json else Text(text=line) for number, line in kept]


def _text_of(line: str, name: str, number: int) -> Text:
    try:
        fields = dict(json.loads(line))
        text = fields.pop("text", None)
    except (TypeError, ValueError):
        text = None
    if not isinstance(text, str):
        raise UserError(f'line {number} of {name} is not of the form {{"text": "a text"}}; correct that line')
    return Text(text=text, fields=fields)
