"""Maps characters (or bytes) to ids and back.

With reserved ids, 0 is UNKNOWN and 1 is END, which follows every document; symbols come next, ordered by code point.
Without reserved ids (documents joined by a text), symbols start at 0.

Control ids come after the symbols. They precede each document and condition it, one id per column: its value, or
`none`. They are inputs only: text never contains them, and they are never predicted, counted or sampled.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.windows.conditions import NONE, Condition

UNKNOWN_ID = 0
END_ID = 1
NUM_UNICODE_CHARACTERS = 0x110000 - 2048
"""Number of code points that text can contain: all but the surrogates."""

Unit = Literal["characters", "bytes", "words"]
Ids = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Codes = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The symbols that have ids, in the order of their ids."""

    unit: Unit
    symbols: tuple[int, ...]
    """Code points (unit `characters`) or byte values (unit `bytes`), ascending."""
    separator: str | None = None
    """The text that joins documents, or None if END is reserved."""
    conditions: tuple[Condition, ...] = ()
    """The conditions of each document, in the order of their control ids."""

    def __post_init__(self) -> None:
        assert not self.conditions or self.separator is None, "conditions require END between documents"
        if list(self.symbols) != sorted(set(self.symbols)):
            raise UserError("the vocabulary's symbols are not distinct and ascending; it was edited or damaged")

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[int, int],
        *,
        unit: Unit,
        min_count: int = 1,
        separator: str | None = None,
        conditions: tuple[Condition, ...] = (),
    ) -> Vocabulary:
        """Builds the vocabulary of symbols that occur at least `min_count` times, plus those of the separator."""
        kept = {symbol for symbol, count in counts.items() if count >= min_count}
        if separator is not None:
            kept.update(codes_of(separator, unit).tolist())
        return cls(unit=unit, symbols=tuple(sorted(kept)), separator=separator, conditions=conditions)

    @property
    def num_reserved(self) -> int:
        """Number of ids before the first symbol."""
        return 0 if self.separator is not None else 2

    @property
    def size(self) -> int:
        """`vocab_size`: the number of symbols, reserved ids and control ids."""
        return self.first_control_id + self.num_controls

    @property
    def first_control_id(self) -> int:
        """The first control id. Each condition has `none` first, then its values."""
        return len(self.symbols) + self.num_reserved

    @property
    def num_controls(self) -> int:
        """Number of control ids of all conditions."""
        return sum(condition.num_controls for condition in self.conditions)

    @property
    def end_id(self) -> int | None:
        """Id that follows every document, or None if a text joins them."""
        return END_ID if self.separator is None else None

    @property
    def unknown_id(self) -> int | None:
        """Id of all symbols without an id, or None if no ids are reserved."""
        return UNKNOWN_ID if self.separator is None else None

    @property
    def start_id(self) -> int:
        """Id that precedes a document: END, or the separator's last id."""
        return END_ID if not self.separator else int(self.encode(self.separator)[-1])

    @property
    def num_unseen(self) -> int:
        """Number of existing symbols without an id, which UNKNOWN may stand for."""
        return (NUM_UNICODE_CHARACTERS if self.unit == "characters" else 256) - len(self.symbols)

    @property
    def id_dtype(self) -> np.dtype[Any]:
        """Narrowest unsigned type for all ids."""
        return np.dtype(np.uint8 if self.size <= 2**8 else np.uint16 if self.size <= 2**16 else np.uint32)

    def encode(self, text: str) -> Ids:
        """Returns the ids of a text, shape [num_symbols], with UNKNOWN for symbols without an id.

        Raises:
            UserError: A symbol has no id and UNKNOWN is not reserved, or the text contains surrogates.
        """
        return self.encode_codes(codes_of(text, self.unit))

    def encode_codes(self, codes: Codes) -> Ids:
        """Returns the ids of code points or byte values, same shape."""
        table = self._id_table
        ids = table[np.minimum(codes, len(table) - 1)]
        if self.unknown_id is None and codes.size and (missing := ids == len(self.symbols)).any():
            code = int(codes[missing.argmax()])
            symbol = f"byte 0x{code:02x}" if self.unit == "bytes" else f"character {chr(code)!r}"
            raise UserError(
                f"the {symbol} is not in the vocabulary, which has no id for unknown symbols; "
                "remove it, or ingest with windows.separator=none"
            )
        return ids.astype(self.id_dtype)

    def is_control(self, ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Returns a mask of the control ids, same shape."""
        array = np.asarray(ids)
        return array >= self.first_control_id if self.conditions else np.zeros(array.shape, np.bool_)

    @property
    def control_names(self) -> tuple[str, ...]:
        """Name of each control, such as `label=1`, in the order of their ids."""
        return tuple(f"{c.column}={value}" for c in self.conditions for value in (NONE, *c.values))

    @property
    def never_drawn(self) -> tuple[int, ...]:
        """Ids that are never sampled: UNKNOWN and the controls."""
        unknown = () if self.unknown_id is None else (self.unknown_id,)
        return (*unknown, *range(self.first_control_id, self.size))

    @property
    def controls(self) -> tuple[range, ...]:
        """Control ids of each condition."""
        stops = itertools.accumulate((one.num_controls for one in self.conditions), initial=self.first_control_id)
        return tuple(itertools.starmap(range, itertools.pairwise(stops)))

    def control_ids(self, controls: npt.ArrayLike) -> Ids:
        """Converts control indices, one per condition, to ids, shape [..., num_conditions]."""
        first_ids = np.array([ids.start for ids in self.controls], dtype=np.int64)
        return (np.asarray(controls, dtype=np.int64) + first_ids).astype(self.id_dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Returns the text of ids, with U+FFFD for UNKNOWN and invalid UTF-8, and nothing for END and controls."""
        array = np.asarray(ids, dtype=np.int64)
        array = array[~self.is_control(array)]
        if self.end_id is not None:
            array = array[array != self.end_id]
        codes = self._code_table[array]
        if self.unit == "bytes":
            unknown = "\N{REPLACEMENT CHARACTER}".encode()
            return b"".join(bytes([code]) if code < 256 else unknown for code in codes).decode("utf-8", "replace")
        return codes.astype("<u4").tobytes().decode("utf-32-le")

    def missing(self, text: str) -> list[str]:
        """Returns the distinct characters of `text` without an id, ordered by code point."""
        known = set(self.symbols)
        return [c for c in sorted(set(text)) if not known.issuperset(codes_of(c, self.unit).tolist())]

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values for `from_dict`; code points are written as characters."""
        symbols: Any = list(self.symbols) if self.unit == "bytes" else [chr(code) for code in self.symbols]
        values = {"unit": self.unit, "separator": self.separator, "symbols": symbols}
        if self.conditions:
            values["conditions"] = [condition.to_dict() for condition in self.conditions]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Vocabulary:
        """Builds a vocabulary from `to_dict`'s result."""
        symbols = (
            values["symbols"] if values["unit"] == "bytes" else [ord(character) for character in values["symbols"]]
        )
        return cls(
            unit=values["unit"],
            symbols=tuple(symbols),
            separator=values["separator"],
            conditions=tuple(Condition.from_dict(condition) for condition in values.get("conditions", ())),
        )

    @functools.cached_property
    def _id_table(self) -> npt.NDArray[np.uint32]:
        """Ids by code, shape [largest symbol + 2]; the last entry is for all larger codes."""
        missing = len(self.symbols) if self.unknown_id is None else UNKNOWN_ID
        table = np.full(max(self.symbols, default=0) + 2, missing, dtype=np.uint32)
        table[list(self.symbols)] = np.arange(len(self.symbols)) + self.num_reserved
        return table

    @functools.cached_property
    def _code_table(self) -> npt.NDArray[np.uint32]:
        """Codes by id, shape [V]; U+FFFD for the reserved ids."""
        return np.array([0xFFFD] * self.num_reserved + list(self.symbols), dtype=np.uint32)


def codes_of(text: str, unit: Unit) -> Codes:
    """Returns the code points or UTF-8 bytes of a text, shape [num_symbols].

    Raises:
        UserError: The text contains a surrogate, as command lines and JSON can; it is not a character.
    """
    try:
        if unit == "bytes":
            return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32)
        return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    except UnicodeEncodeError as error:
        raise UserError(
            f"the text has {text[error.start]!a} at position {error.start}, which is not a character; give it as UTF-8"
        ) from None
