"""Source files -> records, one at a time, out of gzip, bzip2, zstd and zip and in every format of a corpus."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from textgen import storage
from textgen.corpus.formats import READERS, Reader, Record
from textgen.corpus.sources import MOVIE_REVIEWS, SourceFile, local_copy
from textgen.corpus.twitter_archive import holds_tweets
from textgen.errors import UserError
from textgen.spec import CorpusSpec

FORMAT_OF_ENDING = {
    "tsv": "tsv",
    "csv": "csv",
    "json": "jsonl",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "txt": "text",
    "text": "text",
    "npy": "npy",
}
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowInvalid)
UNREADABLE = (RuntimeError, NotImplementedError)
"""What zip files raise that have a password or a method of another program's; Parquet's columns of odd types."""


def read_records(file: SourceFile, spec: CorpusSpec) -> Iterator[Record]:
    """Yields the records of a source file in order; bytes that are not of the encoding appear as lone surrogates.

    Raises:
        UserError: the file is damaged, of an unknown format, or of an unknown schema.
    """
    with local_copy(file.uri) as path:
        name = path.name if file.uri == MOVIE_REVIEWS else file.uri.rsplit("/", 1)[-1]
        num_earlier = 0
        try:
            for member, stream in _members(path, name):
                last_row = 0
                for record in _reader(member, spec, file.uri)(stream, spec, file.uri):
                    last_row = record.row
                    yield record._replace(row=num_earlier + record.row) if num_earlier else record
                num_earlier += last_row
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # The machine's affair; what unpacks says damage without a number.
            raise UserError(
                f"{file.uri} is cut off or damaged ({_brief(error)}); fetch it again, or leave it out of the sources"
            ) from None
        except UnicodeError as error:
            byte = f"byte 0x{error.object[error.start]:02x}" if isinstance(error, UnicodeDecodeError) else _brief(error)
            raise UserError(
                f"{file.uri} is not of the encoding {spec.encoding} ({byte}); set the right one, such as "
                "--set corpus.encoding=cp1252"
            ) from None
        except UNREADABLE as error:
            raise UserError(
                f"{file.uri} cannot be unpacked here ({_brief(error)}); unpack it first, or leave it out of the sources"
            ) from None


def _members(path: Path, name: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yields name and content of what a file holds: itself, unpacked if it is packed, or the members of a zip.

    Where a zip holds the tweets of an archive, its other members are other things: likes, messages, pictures.
    """
    with storage.open_read(str(path)) as stream:
        magic = stream.read(4)
        stream.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.open(stream) as unpacked:
                yield name.removesuffix(".gz"), cast(IO[bytes], unpacked)
        elif magic.startswith(b"BZh"):
            with bz2.open(stream) as unpacked:
                yield name.removesuffix(".bz2"), cast(IO[bytes], unpacked)
        elif magic == b"\x28\xb5\x2f\xfd":
            with pa.input_stream(stream, compression="zstd") as unpacked:
                yield name.removesuffix(".zst").removesuffix(".zstd"), cast(IO[bytes], unpacked)
        elif magic == b"PK\x03\x04":
            with zipfile.ZipFile(stream) as archive:
                names = [(member, member.rsplit("/", 1)[-1]) for member in sorted(archive.namelist())]
                names = [pair for pair in names if holds_tweets(pair[1])] or names
                for member, last in names:
                    if last and not last.startswith(".") and not member.startswith("__MACOSX/"):
                        with archive.open(member) as unpacked_member:
                            yield last if "." in last else name.removesuffix(".zip"), unpacked_member
        elif magic:  # An empty file holds no records.
            yield name, stream


def _reader(name: str, spec: CorpusSpec, uri: str) -> Reader:
    ending = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    found = "twitter_archive" if holds_tweets(name) else FORMAT_OF_ENDING.get(ending)
    kind = found if spec.format == "auto" else spec.format
    if kind is None:
        raise UserError(
            f"the format of {uri} is not clear from its name ({name}); set one, such as --set corpus.format=jsonl, or "
            "narrow the source by a pattern such as 'folder/*.csv'"
        )
    return READERS[kind]


def _brief(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
