"""Streams records from source files of every supported format, compression and archive type."""

from __future__ import annotations

import itertools
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import pyarrow as pa

from textgen import storage
from textgen.corpus.archives import Member, open_members
from textgen.corpus.formats import FileReport, Reader, Record, Source
from textgen.corpus.json_records import read_json
from textgen.corpus.naming import format_of, holds_tweets
from textgen.corpus.note_tweets import NoteTweets
from textgen.corpus.parquet import read_parquet
from textgen.corpus.plain_text import read_npy, read_text
from textgen.corpus.schema import UnknownColumnsError, partitions_of
from textgen.corpus.sources import MOVIE_REVIEWS, SourceFile, local_copy
from textgen.corpus.tables import read_csv, read_tsv
from textgen.corpus.twitter_archive import read_twitter_archive
from textgen.errors import UserError
from textgen.spec import CorpusSpec

READERS: dict[str, Reader] = {
    "tsv": read_tsv,
    "csv": read_csv,
    "jsonl": read_json,
    "parquet": read_parquet,
    "text": read_text,
    "npy": read_npy,
    "twitter_archive": read_twitter_archive,
}
"""Readers by the value of `corpus.format`."""
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, pa.ArrowInvalid)
MAX_NOTE_FILES = 100
UNREADABLE = (RuntimeError, NotImplementedError)
"""Raised for zip files with a password or an unsupported method, and for Parquet columns of unsupported types."""


def read_records(file: SourceFile, spec: CorpusSpec, *, report: FileReport | None = None) -> Iterator[Record]:
    """Yields the records of a source file in order; invalid bytes appear as lone surrogates.

    Args:
        file: The source file.
        spec: How to read it.
        report: Receives how each part of the file is read, before its first record, and notes for the user.

    Raises:
        UserError: The file is damaged, or its format or schema is unknown.
    """
    report = FileReport() if report is None else report
    with local_copy(file.uri) as path, storage.open_read(str(path)) as stream:
        name = path.name if file.uri == MOVIE_REVIEWS else file.uri.rsplit("/", 1)[-1]
        try:
            for member in open_members(stream, name=name, uri=file.uri, spec=spec, report=report):
                last_row = 0
                num_earlier = report.num_earlier
                source = _source(member, file, spec, report)
                for record in _records(member, source):
                    last_row = record.row
                    yield record._replace(row=num_earlier + record.row) if num_earlier else record
                report.num_earlier += last_row
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # An error of the operating system; decompressors report damage without an errno.
            raise UserError(
                f"{file.uri} is truncated or damaged ({_brief(error)}); download it again, or remove it from the "
                "sources"
            ) from None
        except UnicodeError as error:
            byte = f"byte 0x{error.object[error.start]:02x}" if isinstance(error, UnicodeDecodeError) else _brief(error)
            raise UserError(
                f"{file.uri} is not encoded in {spec.encoding} ({byte}); set the right encoding, such as "
                "--set corpus.encoding=cp1252"
            ) from None
        except UNREADABLE as error:
            raise UserError(
                f"{file.uri} cannot be unpacked ({_brief(error)}); unpack it first, or remove it from the sources"
            ) from None


def _records(member: Member, source: Source) -> Iterator[Record]:
    try:
        yield from _reader(member, source.spec, source.uri)(member.stream, source)
    except UnknownColumnsError as error:
        if not member.path:
            raise
        raise UserError(
            f"{error}; if this member is not data, select the others with --set corpus.members=NAME_OR_PATTERN"
        ) from None


def _source(member: Member, file: SourceFile, spec: CorpusSpec, report: FileReport) -> Source:
    notes = None
    if holds_tweets(member.name):
        notes = NoteTweets.read(member.notes or _notes_beside(file, member), uri=file.uri)
    return Source(
        uri=f"{file.uri} ({member.path})" if member.path else file.uri,
        spec=spec,
        head=member.head,
        is_whole=member.is_whole,
        packing=member.packing,
        partitions=partitions_of(file.uri) | partitions_of(member.path),
        note_tweets=notes,
        report=report,
    )


def _notes_beside(file: SourceFile, member: Member) -> tuple[bytes, ...]:
    """Returns the contents of the note-tweet files in the folder of an unpacked archive."""
    folder = file.uri.rpartition("/")[0]
    if member.path or not folder:
        return ()
    parts = ("note-tweet.js", *(f"note-tweet-part{number}.js" for number in range(1, MAX_NOTE_FILES)))
    there = itertools.takewhile(storage.exists, (storage.join(folder, name) for name in parts))
    return tuple(storage.read_bytes(uri) for uri in there)


def _reader(member: Member, spec: CorpusSpec, uri: str) -> Reader:
    kind = format_of(member.name) if spec.format == "auto" else spec.format
    if spec.format == "auto" and member.head.startswith(b"PAR1"):
        kind = "parquet"
    elif spec.format == "auto" and member.head.startswith(b"\x93NUMPY"):
        kind = "npy"
    if kind is None:
        raise UserError(
            f"the name of {uri} ({member.name}) does not identify its format; set one, such as "
            "--set corpus.format=jsonl, or restrict the source with a pattern such as 'folder/*.csv' (in an archive: "
            "--set corpus.members='*.csv')"
        )
    return READERS[kind]


def _brief(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
