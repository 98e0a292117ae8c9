"""The result and the warnings of an ingest."""

from __future__ import annotations

from collections import Counter
from typing import Any

from textgen.corpus.reading import Readings
from textgen.spec import RunSpec
from textgen.windows.lanes import num_windows
from textgen.windows.manifest import SPLITS, Manifest

DUPLICATES_SHARE = 0.9
"""Share of duplicates above which the wrong column is probably used as text."""
ADVICE = {
    "columns": "rows and header differ in the number of fields; check corpus.delimiter and corpus.quoting, and whether "
    "unquoted texts contain delimiters",
    "malformed": "lines do not match the format; check corpus.format and corpus.quoting",
    "unclosed_quote": "quotes are not closed; set corpus.quoting=none if they are part of the text",
    "no_text": "records have no value in the text column; check corpus.text_column",
    "empty": "texts are empty; check corpus.text_column and corpus.rules",
    "encoding": "bytes are invalid in corpus.encoding",
}
"""The probable cause and the setting to change, by the reason of rejection."""


def advice_on(reasons: Counter[str]) -> str:
    """Returns a clause with advice on the most frequent reason of rejection, or ""."""
    most = max(reasons, key=lambda reason: reasons[reason])
    return f" ({most}: {ADVICE[most]})" if most in ADVICE else ""


def warnings_of(manifest: Manifest) -> list[str]:
    """Returns warnings about the ingest as a whole."""
    counts = manifest.counts
    if counts.duplicates < DUPLICATES_SHARE * counts.records:
        return []
    columns = {way["columns"]["text"] for way in Readings.of([manifest.reading]).result() if "columns" in way}
    named = ", ".join(repr(name) for name in sorted(filter(None, columns))) or "the lines"
    return [
        f"{counts.duplicates:,} of {counts.records:,} records repeat the text of another record; if {named} does not "
        "hold the texts, set corpus.text_column to the column that does (corpus.deduplicate=false keeps duplicates)"
    ]


def result_of(manifest: Manifest, spec: RunSpec, seconds: float) -> dict[str, Any]:
    """Returns the job's result as JSON values."""
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
