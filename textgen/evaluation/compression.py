"""Compresses a text with `xz -9e`: a baseline that sees only the text itself."""

from __future__ import annotations

import lzma
from collections.abc import Iterable

END_BYTE = b"\n"


def xz_bits_per_character(texts: Iterable[str], *, separator: str | None = None) -> float:
    """Returns the compressed bits per character of documents, joined by `separator`.

    Without a separator, one byte follows each document and counts as a character, like END for a language model.
    Returns NaN without text.
    """
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
    num_bytes = num_characters = 0
    for place, text in enumerate(texts):
        joined = (separator + text) if separator is not None and place else text
        content = joined.encode() + (END_BYTE if separator is None else b"")
        num_bytes += len(compressor.compress(content))
        num_characters += len(joined) + (separator is None)
    num_bytes += len(compressor.flush())
    return 8 * num_bytes / num_characters if num_characters else float("nan")
