"""Input is cut into shards that hold every row once, whatever the sizes."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.batch.test_rows import file_at
from textgen.batch.cutting import Piece, Shard, cut, grouped, joined, pieces_of, read_shards, together
from textgen.batch.rows import InputFile, Values
from textgen.errors import UserError

LINE = st.text(st.sampled_from("ab é\u2028\x85\r\x0c\x1e{}"), max_size=6)
ENDS = st.sampled_from(["\n", "\r\n"])


def two(_: Values) -> int:
    return 2


def shards_of(
    files: list[InputFile], *, rows_per_shard: int, piece_bytes: int, num_outputs: Callable[[Values], int] = two
) -> list[Shard]:
    pieces = pieces_of(files, piece_bytes=piece_bytes)
    examined = {
        number: cut(piece, files[piece.file], rows_per_shard=rows_per_shard, num_outputs=num_outputs)
        for number, piece in enumerate(pieces)
    }
    return joined(pieces, examined)


def texts_of(files: list[InputFile], shards: list[Shard]) -> list[tuple[str, int, str]]:
    return [
        (Path(row.uri).name, row.number, row.values["text"])
        for shard in shards
        for rows in read_shards(files[shard.file], [shard])
        for row in rows
    ]


@settings(max_examples=60)
@given(
    contents=st.lists(st.lists(st.tuples(LINE, ENDS), max_size=9), min_size=1, max_size=3),
    ends_whole=st.booleans(),
    rows_per_shard=st.integers(1, 5),
    piece_bytes=st.integers(1, 40),
    packs=st.booleans(),
)
def test_every_row_is_in_one_shard(
    contents: list[list[tuple[str, str]]], ends_whole: bool, rows_per_shard: int, piece_bytes: int, packs: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files, expected = [], []
        for index, lines in enumerate(contents):
            text = "".join(line + end for line, end in lines)
            text = text if ends_whole else text.removesuffix("\n")
            path = Path(folder) / f"{index}.txt{'.gz' if packs else ''}"
            path.write_bytes(gzip.compress(text.encode()) if packs else text.encode())
            files.append(file_at(path))
            for number, line in enumerate(text.split("\n"), start=1):
                if line.strip():
                    expected.append((path.name, number, line.removesuffix("\r")))
        shards = shards_of(files, rows_per_shard=rows_per_shard, piece_bytes=piece_bytes)
        assert texts_of(files, shards) == expected
        assert all(0 < shard.num_rows <= rows_per_shard and shard.num_outputs == 2 * shard.num_rows for shard in shards)
        # Read in one go, with gaps, they are the same.
        for index, file in enumerate(files):
            own = [shard for shard in shards if shard.file == index][::2]
            if own:
                found = [
                    (Path(row.uri).name, row.number, row.values["text"])
                    for rows in read_shards(file, own)
                    for row in rows
                ]
                assert found == texts_of(files, own)


@pytest.mark.parametrize("rows_per_shard", [1, 3, 4, 50])
def test_parquet_is_cut_by_rows_across_its_groups(tmp_path: Path, rows_per_shard: int) -> None:
    pq.write_table(pa.table({"text": [f"t{number}" for number in range(11)]}), tmp_path / "a.parquet", row_group_size=4)
    files = [file_at(tmp_path / "a.parquet")]
    shards = shards_of(files, rows_per_shard=rows_per_shard, piece_bytes=7)
    assert texts_of(files, shards) == [("a.parquet", number + 1, f"t{number}") for number in range(11)]
    assert [shard.num_rows for shard in shards[:-1]] == [rows_per_shard] * (len(shards) - 1)


@pytest.mark.parametrize("piece_bytes", [1, 5, 7, 100])
def test_a_wrong_row_is_named_by_its_number_in_the_file(tmp_path: Path, piece_bytes: int) -> None:
    (tmp_path / "a.txt").write_text("ab\n\ncdefg\r\nwrong\nh\n")

    def refused(values: Values) -> int:
        if values["text"] == "wrong":
            raise UserError("it is wrong; mend it")
        return 1

    with pytest.raises(UserError, match=r"^row 4 of .*a\.txt: it is wrong; mend it$"):
        shards_of([file_at(tmp_path / "a.txt")], rows_per_shard=2, piece_bytes=piece_bytes, num_outputs=refused)


def test_a_file_that_has_changed_gives_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    files = [file_at(tmp_path / "a.txt")]
    shards = shards_of(files, rows_per_shard=2, piece_bytes=100)
    (tmp_path / "a.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="has changed since"):
        texts_of(files, shards)


def test_neighbouring_pieces_are_examined_by_one_task() -> None:
    files = [InputFile(uri=f"{size}.txt", size_bytes=size, version="") for size in (7 * 2**20, 5, 15 * 2**20)]
    pieces = pieces_of(files)
    assert pieces == [Piece(file=number, start=0, stop=file.size_bytes) for number, file in enumerate(files)]
    assert list(together(pieces, files)) == [[0, 1], [2]]
    assert [(piece.start, piece.stop) for piece in pieces_of(files[:1], piece_bytes=4 * 2**20)] == [
        (0, 4 * 2**20),
        (4 * 2**20, 7 * 2**20),
    ]


def test_shards_of_what_is_read_from_its_beginning_are_given_out_together() -> None:
    files = [InputFile(uri=uri, size_bytes=9, version="") for uri in ("a.txt", "b.txt.gz", "c.parquet")]
    shards = [Shard(file=n // 40, start=n, stop=n + 1, first_row=1, num_rows=1, num_outputs=1) for n in range(120)]
    missing = [number for number in range(120) if number % 3]
    for num_workers in (1, 2, 50):
        groups = grouped(missing, shards, files, num_workers=num_workers)
        assert [number for group in groups for number in group] == missing
        assert all(len({shards[number].file for number in group}) == 1 for group in groups)
        assert all(len(group) == 1 for group in groups if shards[group[0]].file == 0)
        longest = max(len(group) for group in groups)
        assert longest == {1: 16, 2: 10, 50: 1}[num_workers]
