"""`MODEL_CARD.md`: what a finished run says of itself to whoever is given the model.

Everything on it is read from what the run knows; the section ETHICS holds what no figure says and somebody must ask.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from textgen import storage
from textgen.corpus.marks import unmark
from textgen.corpus.personal_data import count_personal_data
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.runs.lineage import Lineage
from textgen.runs.start import Start, is_single_author
from textgen.spec import RunSpec
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import iter_documents

CARD_NAME = "MODEL_CARD.md"
MAX_SCANNED_IDS = 50_000_000
"""Ids of `train` that are searched for personal data: a few seconds' worth."""
SHOWN_SECTIONS = ("windows", "model", "training", "sampling")
MISUSES = (
    "writing that is shown as a person's own, that of the authors of these texts above all",
    "reviews, opinions or news that are published as real",
    "statements about persons: what it writes of them is invented, even where a name and a place fit",
    "decisions about persons, by what it writes or by how it scores their words",
    "getting back the texts that it learnt from, or what is personal in them",
)


def write_model_card(start: Start, outcome: Mapping[str, Any]) -> None:
    """Writes the card of a run that has just finished into its folder; one of a run that had before it leaves."""
    place = storage.join(start.run.run_uri, CARD_NAME)
    if start.outcome is None or not storage.exists(place):
        storage.write_bytes(place, model_card(start, outcome, find_checkpoint(start.run.run_uri)).encode())


def model_card(start: Start, outcome: Mapping[str, Any], best: Checkpoint) -> str:
    """Returns the card as Markdown."""
    spec, manifest = start.run.spec, start.manifest
    sections = [
        (f"Model card: {start.run.run_name}", _introduction(spec, best)),
        ("Data", _data(manifest)),
        ("Figures", _figures(outcome, best, manifest)),
        ("Lineage", _lineage(start.run.lineage, manifest)),
        ("Limits", _limits(spec, manifest)),
        ("ETHICS", _ethics(start)),
        ("Settings", _settings(spec)),
    ]
    return "\n".join(
        f"{'#' if number == 0 else '##'} {title}\n\n" + "\n".join(lines) + "\n"
        for number, (title, lines) in enumerate(sections)
    )


def _introduction(spec: RunSpec, best: Checkpoint) -> list[str]:
    what = "A classifier of documents" if best.classes else "A language model that writes and scores text"
    size = sum(value.size for value in best.weights.values())
    return [
        f"{what}, trained by textgen from the preset `{spec.preset}`; {size:,} weights. The best of its checkpoints is "
        f"`{best.uri}`, after {best.step:,} steps.",
    ]


def _data(manifest: Manifest) -> list[str]:
    counts = manifest.counts
    return [
        f"- windows: `{manifest.uri}`, hash `{manifest.hash}`",
        *(f"- source: `{source['uri']}`" for source in manifest.sources),
        f"- {counts.records:,} records = {counts.documents:,} documents + {counts.duplicates:,} duplicates + "
        f"{counts.dropped:,} dropped + {counts.rejected:,} rejected",
        f"- {counts.characters:,} {_unit(manifest)}, {counts.distinct_characters:,} distinct; "
        f"a vocabulary of {manifest.vocabulary.size:,} ids",
        f"- cleaned by: {', '.join(manifest.corpus.get('rules', ())) or 'nothing'}",
        "",
        "| split | documents | ids |",
        "|---|---|---|",
        *(f"| {name} | {manifest.split(name).num_documents:,} | {manifest.split(name).num_ids:,} |" for name in SPLITS),
    ]


def _figures(outcome: Mapping[str, Any], best: Checkpoint, manifest: Manifest) -> list[str]:
    chosen = "`val`" if manifest.split("val").num_ids else "the loss in training, since no text was held out as `val`"
    worth = (
        "only `jobs.evaluate` on `test` says what it is worth on text that no choice was made by"
        if manifest.split("test").num_ids
        else "no text was held out as `test`, so that nothing says what it is worth on other text"
    )
    figures = {name: value for name, value in best.metrics.items() if value is not None}
    return [
        "| figure | at the best checkpoint |",
        "|---|---|",
        *(f"| {name} | {value:.4f} |" for name, value in figures.items() if isinstance(value, float)),
        "",
        f"The run ended after {outcome['step']:,} steps, {outcome['epoch']:.2f} epochs"
        + (", stopped early." if outcome.get("stopped_early") else ".")
        + f" The best checkpoint was chosen by {chosen}; {worth}.",
    ]


def _lineage(lineage: Lineage | None, manifest: Manifest) -> list[str]:
    if lineage is None:
        return ["Its first weights were random: it has learnt from the data above and from nothing else."]
    return [
        f"It began with the weights of `{lineage.uri}` (run `{lineage.run_name}`, {lineage.step:,} steps, weights "
        f"`{lineage.weights_sha256}`), "
        f"which were trained on windows with the hash `{lineage.manifest_hash}`. {lineage.num_known_ids:,} of "
        f"{manifest.vocabulary.size:,} ids were known to it, {lineage.num_added_ids:,} were new. "
        "What is said below of the data holds for that model's data too; its own card says what that is.",
    ]


def _limits(spec: RunSpec, manifest: Manifest) -> list[str]:
    lower = ["- It reads lower case alone."] if "lower" in manifest.corpus.get("rules", ()) else []
    if spec.classifier.features is not None:
        limit = spec.classifier.max_document_ids
        seen = (
            "which words of its vocabulary a text has, and neither how often nor in which order"
            if spec.classifier.features == "bag_of_words"
            else f"the {spec.classifier.document_part} {limit} ids of a text and no more"
        )
        return [
            "- It knows the kind of text it was trained on; of another kind its labels say little.",
            f"- It sees {seen}.",
            *lower,
            "- Its labels are likely, not right; how sure it is was measured on texts like those it was trained on.",
        ]
    return [
        "- It knows the kind of text it was trained on, and nothing of truth: what it writes is likely, not right.",
        "- It may repeat passages of its training texts word for word, the more so the longer it was trained on few of "
        "them and the lower the temperature.",
        f"- It was trained on windows of {spec.windows.context_length} ids"
        + (", over which it carries its state" if spec.training.order == "stateful" else "")
        + "; it loses the thread of longer texts.",
        *lower,
        "- Characters that its training texts lack are all the same to it, and it never writes them."
        if manifest.vocabulary.unknown_id is not None
        else "- A prompt with a character that its training texts lack is refused.",
    ]


def _ethics(start: Start) -> list[str]:
    manifest = start.manifest
    single = is_single_author(start.run.spec, manifest)
    consent = (
        "The texts are **one person's** (`corpus.single_author`). Whoever began this run acknowledged "
        "(`--acknowledge`) that the person agreed or that the texts are theirs to use so, that what the model writes "
        "will be shown as a machine's, and that it will not be used to deceive or to harm that person."
        if single
        else "The texts were not declared to be one person's (`corpus.single_author`), so that nobody was asked. That "
        "texts can be read by all does not say that their authors agreed to this."
    )
    return [
        f"**Whose text.** {manifest.origin or 'Not stated: set `corpus.origin` when the text is ingested.'}",
        "",
        f"**Consent.** {consent}",
        "",
        f"**Personal data.** {_found(manifest)}",
        "",
        "**It must not be used for:**",
        "",
        *(f"- {misuse}" for misuse in MISUSES),
    ]


def _found(manifest: Manifest) -> str:
    """Returns what was found of personal data, in words."""
    if manifest.vocabulary.unit == "words":
        return (
            "Not searched: the windows keep words without what stands between them, by which addresses and handles are "
            "known. Names and other rare words may be in the vocabulary, which is part of the model."
        )
    num_ids = manifest.split("train").num_ids
    scanned = "" if num_ids <= MAX_SCANNED_IDS else f"the first {MAX_SCANNED_IDS:,} of {num_ids:,} ids of "
    listed = ", ".join(f"{count:,} {name}" for name, count in _personal_data(manifest.uri).items())
    return (
        f"Found by patterns in {scanned}`train`: {listed}. Patterns miss some and take other things for them, and "
        "names have no pattern. Nothing of what was found is kept here. What stands in the training texts can come "
        "back in what the model writes."
    )


def _settings(spec: RunSpec) -> list[str]:
    values = spec.to_dict()
    sections = [*SHOWN_SECTIONS, *(["classifier"] if spec.classifier.features is not None else [])]
    return [f"- `{section}.{name}` = `{value}`" for section in sections for name, value in values[section].items()]


def _unit(manifest: Manifest) -> str:
    return "characters" if manifest.vocabulary.unit == "characters" else f"{manifest.vocabulary.unit}"


@functools.lru_cache(maxsize=4)
def _personal_data(manifest_uri: str) -> dict[str, int]:
    """Returns what was found in `train`; once for all trials of a sweep."""
    return count_personal_data(_scanned_texts(Manifest.load(manifest_uri)))


def _scanned_texts(manifest: Manifest) -> Iterator[str]:
    num_ids = 0
    for document in iter_documents(manifest, "train"):
        if num_ids >= MAX_SCANNED_IDS:
            return
        num_ids += len(document.text) + 1
        yield unmark(document.text, manifest.mark_rules)
