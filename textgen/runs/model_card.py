"""Writes `MODEL_CARD.md`, which describes a finished run to whoever receives the model.

Everything on it is derived from what the run stores; the section ETHICS covers the questions that no figure answers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from textgen import storage
from textgen.corpus.personal_data import count_personal_data
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.runs.lineage import Lineage
from textgen.runs.start import Start, is_single_author
from textgen.spec import RunSpec
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import iter_documents

CARD_NAME = "MODEL_CARD.md"
MAX_SCANNED_IDS = 50_000_000
"""Ids of `train` that are searched for personal data, which takes a few seconds."""
SHOWN_SECTIONS = ("windows", "model", "training", "sampling")
MISUSES = (
    "text that is presented as a person's own writing, above all as written by the authors of the training texts",
    "reviews, opinions or news that are published as real",
    "statements about people: what it writes about them is invented, even if a name and a place match",
    "decisions about people, based on what it writes or on how it scores their words",
    "recovering its training texts, or personal data in them",
)


def write_model_card(start: Start, outcome: Mapping[str, Any]) -> None:
    """Writes the card of a run that has just finished into its folder; an earlier finished run keeps its card."""
    place = storage.join(start.run.run_uri, CARD_NAME)
    if start.outcome is None or not storage.exists(place):
        storage.write_bytes(place, model_card(start, outcome, find_checkpoint(start.run.run_uri)).encode())


def model_card(start: Start, outcome: Mapping[str, Any], best: Checkpoint) -> str:
    """Returns the card in Markdown."""
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
        f"{what}, trained by textgen with the preset `{spec.preset}`. It has {size:,} weights. Its best checkpoint is "
        f"`{best.uri}`, after {best.step:,} steps.",
        *_counts(spec, best),
    ]


def _counts(spec: RunSpec, best: Checkpoint) -> list[str]:
    """Says what a model with counts has read, and what that makes likelier."""
    if best.counts is None:
        return []
    words = f" and of {spec.model.counts_words + 1} words" if spec.model.counts_words else ""
    return [
        "",
        f"Besides its weights it reads a count model of contexts of up to {spec.model.counts_order} characters{words}, "
        f"which was made of all {best.counts['num_ids']:,} ids of `train`. Such a model quotes its training text more "
        "easily than a network alone: `jobs.evaluate --completions 100` measures how much.",
    ]


def _data(manifest: Manifest) -> list[str]:
    counts = manifest.counts
    return [
        f"- windows: `{manifest.uri}`, hash `{manifest.hash}`",
        *(f"- source: `{source['uri']}`" for source in manifest.sources),
        f"- {counts.records:,} records = {counts.documents:,} documents + {counts.duplicates:,} duplicates + "
        f"{counts.dropped:,} dropped + {counts.rejected:,} rejected",
        f"- {counts.characters:,} {manifest.vocabulary.unit}, {counts.distinct_characters:,} distinct; "
        f"a vocabulary of {manifest.vocabulary.size:,} ids",
        f"- cleaning rules: {', '.join(manifest.corpus.get('rules', ())) or 'none'}",
        "",
        "| split | documents | ids |",
        "|---|---|---|",
        *(f"| {name} | {manifest.split(name).num_documents:,} | {manifest.split(name).num_ids:,} |" for name in SPLITS),
    ]


def _figures(outcome: Mapping[str, Any], best: Checkpoint, manifest: Manifest) -> list[str]:
    chosen = (
        "the loss on `val`"
        if manifest.split("val").num_ids
        else "the training loss, because no text was held out as `val`"
    )
    measured = (
        "only `jobs.evaluate` on `test` measures it on text that influenced no choice"
        if manifest.split("test").num_ids
        else "no text was held out as `test`, so nothing measures it on other text"
    )
    figures = {name: value for name, value in best.metrics.items() if value is not None}
    return [
        "| figure | at the best checkpoint |",
        "|---|---|",
        *(f"| {name} | {value:.4f} |" for name, value in figures.items() if isinstance(value, float)),
        "",
        f"The run ended after {outcome['step']:,} steps, {outcome['epoch']:.2f} epochs"
        + (", stopped early." if outcome.get("stopped_early") else ".")
        + f" The best checkpoint was chosen by {chosen}; {measured}.",
    ]


def _lineage(lineage: Lineage | None, manifest: Manifest) -> list[str]:
    if lineage is None:
        return ["Its first weights were random: it was trained on the data above and on nothing else."]
    return [
        f"It started with the weights of `{lineage.uri}` (run `{lineage.run_name}`, {lineage.step:,} steps, weights "
        f"`{lineage.weights_sha256}`), "
        f"which were trained on windows with the hash `{lineage.manifest_hash}`. That model knew "
        f"{lineage.num_known_ids:,} of the {manifest.vocabulary.size:,} ids; {lineage.num_added_ids:,} were new. "
        "The sections below apply to that model's data too, which its own card describes.",
    ]


def _limits(spec: RunSpec, manifest: Manifest) -> list[str]:
    lower = ["- It reads lower case only."] if "lower" in manifest.corpus.get("rules", ()) else []
    if spec.classifier.features is not None:
        limit = spec.classifier.max_document_ids
        seen = (
            "which words of its vocabulary a text contains, but not how often or in which order"
            if spec.classifier.features == "bag_of_words"
            else f"only the {spec.classifier.document_part} {limit} ids of a text"
        )
        return [
            "- It knows the kind of text that it was trained on; on other kinds of text its labels mean little.",
            f"- It sees {seen}.",
            *lower,
            "- Its labels are likely, not certain; its confidence was measured on texts like those it was trained on.",
        ]
    return [
        "- It knows the kind of text it was trained on, but not what is true: its output is likely, not right.",
        "- It may repeat passages of its training texts verbatim, more so after long training on little text and at "
        "low temperatures.",
        f"- It was trained on windows of {spec.windows.context_length} ids"
        + (" and carries its state from one to the next" if spec.training.order == "stateful" else "")
        + "; it loses the thread of longer texts.",
        *lower,
        "- It reads all characters that its training texts lack as the same one, and it never writes them."
        if manifest.vocabulary.unknown_id is not None
        else "- It refuses prompts with a character that its training texts lack.",
    ]


def _ethics(start: Start) -> list[str]:
    manifest = start.manifest
    single = is_single_author(start.run.spec, manifest)
    consent = (
        "The texts are **one person's** (`corpus.single_author`). Whoever started this run acknowledged "
        "(`--acknowledge`) that this person agreed or that they have the right to use the texts in this way, that the "
        "model's output will be labelled as machine-generated, and that it will not be used to deceive or harm that "
        "person."
        if single
        else "The texts were not declared to be one person's (`corpus.single_author`), so no acknowledgement was "
        "required. That texts are public does not mean that their authors agreed to this use."
    )
    return [
        f"**Whose text.** {manifest.origin or 'Not stated; set `corpus.origin` when the text is ingested.'}",
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
    if manifest.vocabulary.unit == "words":
        return (
            "Not searched: the windows keep words without the characters between them, which identify addresses and "
            "handles. Names and other rare words may be in the vocabulary, which is part of the model."
        )
    num_ids = manifest.split("train").num_ids
    scanned = "" if num_ids <= MAX_SCANNED_IDS else f"the first {MAX_SCANNED_IDS:,} of {num_ids:,} ids of "
    listed = ", ".join(f"{count:,} {name}" for name, count in _personal_data(manifest.uri).items())
    return (
        f"Found by patterns in {scanned}`train`: {listed}. Patterns have false matches and miss others, and "
        "names have no pattern. The matches themselves are not stored here. The model may reproduce anything that its "
        "training texts contain."
    )


def _settings(spec: RunSpec) -> list[str]:
    values = spec.to_dict()
    sections = [*SHOWN_SECTIONS, *(["classifier"] if spec.classifier.features is not None else [])]
    return [f"- `{section}.{name}` = `{value}`" for section in sections for name, value in values[section].items()]


@functools.lru_cache(maxsize=4)
def _personal_data(manifest_uri: str) -> dict[str, int]:
    """Counts the personal data in `train`; cached for all trials of a sweep."""
    return count_personal_data(_scanned_texts(Manifest.load(manifest_uri)))


def _scanned_texts(manifest: Manifest) -> Iterator[str]:
    num_ids = 0
    for document in iter_documents(manifest, "train"):
        if num_ids >= MAX_SCANNED_IDS:
            return
        num_ids += len(document.text) + 1
        yield manifest.codec.decode(document.text)
