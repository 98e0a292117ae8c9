"""What an ingest tells its user at the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from textgen.corpus.reading import Readings
from textgen.spec import RunSpec
from textgen.windows.lanes import num_windows
from textgen.windows.manifest import SPLITS, Manifest

DUPLICATES_SHARE = 0.9
"""Share of duplicates among the records from which on another column is probably meant."""
ADVICE = {
    "columns": "rows have another number of fields than the first line, as with another corpus.delimiter or "
    "corpus.quoting, or delimiters within texts that are not quoted",
    "malformed": "lines are not of the format; check corpus.format and corpus.quoting",
    "unclosed_quote": "quotes open and never close; set corpus.quoting=none if they are part of the text",
    "no_text": "records have no value in the column taken for text; check corpus.text_column",
    "empty": "texts are empty; check corpus.text_column and corpus.rules",
    "encoding": "bytes are not of corpus.encoding",
}
"""What most likely is wrong, and the setting to change, by the reason for which records are rejected."""


def advice_on(reasons: Counter[str]) -> str:
    """Returns, as a part of a sentence, what to do about the most frequent reason; empty where nothing is known."""
    most = max(reasons, key=lambda reason: reasons[reason])
    return f" ({most}: {ADVICE[most]})" if most in ADVICE else ""


def warnings_of(manifest: Manifest) -> list[str]:
    """Returns what a user should doubt about a whole ingest."""
    counts = manifest.counts
    if counts.duplicates < DUPLICATES_SHARE * counts.records:
        return []
    columns = {way["columns"]["text"] for way in Readings.of([manifest.reading]).result() if "columns" in way}
    named = ", ".join(repr(name) for name in sorted(filter(None, columns))) or "the lines"
    return [
        f"{counts.duplicates:,} of {counts.records:,} records repeat the text of another one; if {named} holds no "
        "texts, set corpus.text_column to the column that does (corpus.deduplicate=false keeps equal texts)"
    ]


def result_of(manifest: Manifest, spec: RunSpec, seconds: float) -> dict[str, Any]:
    """Returns the job's result: JSON-ready."""
    counts, splits = manifest.counts, manifest.splits
    readings = Readings.of([manifest.reading])
    return {
        "manifest_uri": manifest.uri,
        "records": counts.records,
        "documents": counts.documents,
        "duplicates": counts.duplicates,
        "dropped": counts.dropped,
        "rejected": counts.rejected,
        "characters": counts.characters,
        "distinct_characters": counts.distinct_characters,
        "vocab_size": manifest.vocabulary.size,
        "windows": {
            name: num_windows(splits[name].num_ids, spec.windows.context_length, spec.windows.stride) for name in SPLITS
        },
        "stored_bytes": sum(split.num_ids for split in splits.values()) * manifest.vocabulary.id_dtype.itemsize,
        "file_bytes": sum(shard.num_bytes for split in splits.values() for shard in split.shards),
        "dropped_by_rule": dict(counts.dropped_by_rule),
        "rejected_by_reason": dict(counts.rejected_by_reason),
        "documents_per_split": {name: splits[name].num_documents for name in SPLITS},
        "manifest_hash": manifest.hash,
        "read_as": readings.result(),
        "warnings": [*readings.warnings(), *warnings_of(manifest)],
        "seconds": round(seconds, 2),
    }
