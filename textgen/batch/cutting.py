"""Input files -> shards of rows: the same ones whatever runs them, because only names, sizes and content decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from textgen import storage
from textgen.batch.rows import END, InputFile, Row, Values
from textgen.errors import UserError

PIECE_BYTES = 16 * 2**20
"""Bytes of input that one task examines."""
PIECES_AT_ONCE = 500
COUNTED_BYTES = 4 * 2**20
MAX_GROUPS = 5_000
"""Groups of shards that Ray Data is given: it keeps a block in its object store for each."""
MAX_NEIGHBOURS = 16
"""Shards of a packed file, or of Parquet, that are read in one go; every go begins anew at the file's (or the row
group's) beginning."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A range of a file, whose rows are examined together."""

    file: int
    """Place among the input files."""
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Consecutive rows of a file, whose outputs stand in one file."""

    file: int
    """Place among the input files."""
    start: int
    stop: int
    """Positions [start, stop) of its rows (`rows`)."""
    first_row: int
    """Number of the row, or the empty line, at `start`."""
    num_rows: int
    num_outputs: int

    def to_list(self) -> list[int]:
        """Returns the fields in their order."""
        return list(dataclasses.astuple(self))

    @classmethod
    def from_list(cls, values: Sequence[int]) -> Shard:
        """Returns what `to_list` gave."""
        return cls(**dict(zip([field.name for field in dataclasses.fields(cls)], values, strict=True)))


def pieces_of(files: Sequence[InputFile], *, piece_bytes: int = PIECE_BYTES) -> list[Piece]:
    """Cuts files into pieces; what is packed, and Parquet, is a piece of its own."""
    pieces = []
    for number, file in enumerate(files):
        if not file.is_cut_by_bytes:
            pieces.append(Piece(file=number, start=0, stop=END))
            continue
        for start in range(0, file.size_bytes, piece_bytes):
            pieces.append(Piece(file=number, start=start, stop=min(start + piece_bytes, file.size_bytes)))
    return pieces


def together(pieces: Sequence[Piece], files: Sequence[InputFile]) -> Iterator[list[int]]:
    """Yields which pieces a task examines: neighbours of `PIECE_BYTES` in all."""
    numbers: list[int] = []
    size = 0
    for number, piece in enumerate(pieces):
        own = min(piece.stop, files[piece.file].size_bytes) - piece.start
        if numbers and (size + own > PIECE_BYTES or len(numbers) == PIECES_AT_ONCE):
            yield numbers
            numbers, size = [], 0
        numbers.append(number)
        size += own
    if numbers:
        yield numbers


def cut(
    piece: Piece, file: InputFile, *, rows_per_shard: int, num_outputs: Callable[[Values], int]
) -> tuple[list[Shard], int]:
    """Returns the shards of a piece, whose rows are numbered from 1 within the piece, and how many lines it has.

    Args:
        piece: Of the file.
        file: Whose rows are read.
        rows_per_shard: Rows of each shard but the last.
        num_outputs: Returns how many lines of output a row makes; raises a `UserError` where it cannot be used.

    Raises:
        UserError: a row cannot be used.
    """
    shards: list[Shard] = []
    first = Shard(file=piece.file, start=piece.start, stop=piece.start, first_row=1, num_rows=0, num_outputs=0)
    shard, number = first, 0
    for number, raw in enumerate(file.rows(piece.start, piece.stop), start=1):
        if number == 1 or shard.num_rows == rows_per_shard:
            shards += [shard] if shard.num_rows else []
            shard = dataclasses.replace(first, start=raw.position, first_row=number)
        try:
            values = file.parsed(raw)
            added = (1, num_outputs(values)) if values is not None else (0, 0)
        except UserError as error:
            raise file.error(_lines_before(file, piece.start) + number, error) from None
        shard = dataclasses.replace(
            shard,
            stop=raw.next_position,
            num_rows=shard.num_rows + added[0],
            num_outputs=shard.num_outputs + added[1],
        )
    return shards + ([shard] if shard.num_rows else []), number


def joined(pieces: Sequence[Piece], examined: Mapping[int, tuple[Sequence[Shard], int]]) -> list[Shard]:
    """Returns the shards of all pieces, in the order of the files, with their rows numbered within the file."""
    shards = []
    before, current = 0, -1
    for number, piece in enumerate(pieces):
        own, lines = examined[number]
        if piece.file != current:
            before, current = 0, piece.file
        shards += [dataclasses.replace(shard, first_row=before + shard.first_row) for shard in own]
        before += lines
    return shards


def read_shards(file: InputFile, shards: Sequence[Shard]) -> Iterator[list[Row]]:
    """Yields the rows of each of several shards of a file, which is read once from the first to the last.

    Raises:
        UserError: the file has changed.
    """
    raws = file.rows(shards[0].start, shards[-1].stop, last=shards[-1].stop)
    raw = next(raws, None)
    for shard in shards:
        while raw is not None and raw.position < shard.start:
            raw = next(raws, None)
        rows = []
        number = shard.first_row
        while raw is not None and raw.position < shard.stop:
            values = file.parsed(raw)
            rows += [Row(file.uri, number, values)] if values is not None else []
            number += 1
            raw = next(raws, None)
        file.check_unchanged()
        if len(rows) != shard.num_rows:
            raise file.changed()
        yield rows


def grouped(
    missing: Sequence[int], shards: Sequence[Shard], files: Sequence[InputFile], *, num_workers: int
) -> list[list[int]]:
    """Returns which shards a worker is given at once: one, or neighbours of a file that is read from its beginning."""
    at_least = -(-len(missing) // MAX_GROUPS)
    neighbours = max(1, min(MAX_NEIGHBOURS, len(missing) // (4 * num_workers)))
    groups: list[list[int]] = []
    for number in missing:
        file = shards[number].file
        size = max(at_least, 1 if files[file].is_cut_by_bytes else neighbours)
        if groups and shards[groups[-1][0]].file == file and len(groups[-1]) < size:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _lines_before(file: InputFile, position: int) -> int:
    """Returns how many lines begin before a position."""
    if position == 0:
        return 0
    count, last = 0, b""
    with storage.open_range(file.uri, start=0, stop=position) as stream:
        while block := stream.read(COUNTED_BYTES):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")
