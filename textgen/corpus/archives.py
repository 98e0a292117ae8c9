"""Opens source files: decompresses them and yields the members of archives one at a time."""

from __future__ import annotations

import bz2
import contextlib
import fnmatch
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, cast

import pyarrow as pa

from textgen.corpus.formats import FileReport
from textgen.corpus.naming import (
    format_of,
    holds_note_tweets,
    holds_tweets,
    is_about_data,
    is_hidden,
    listed,
    unpacked_name,
)
from textgen.corpus.parquet import seekable
from textgen.errors import UserError
from textgen.spec import CorpusSpec

HEAD_BYTES = 128 * 2**10
MAX_DEPTH = 4
"""Deepest nesting of compression and archives that is unpacked."""

_FOREIGN = (
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word document: save it as CSV"),
    (b"%PDF-", "a PDF document: save its text"),
    (b"SQLite format 3\0", "an SQLite database: export its table as CSV"),
    (b"Obj\x01", "an Avro file: convert it to Parquet"),
    (b"\x89HDF\r\n", "an HDF5 file: convert it to Parquet"),
    (b"\x1f\x9d", "a file compressed with `compress` (.Z)"),
)
"""Magic bytes of unsupported file types, with the description used in the error message."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One readable part of a source file: the whole file, or one member of an archive."""

    name: str
    """Base name without compression suffixes."""
    path: str
    """Path within the archive; empty if the file is not an archive."""
    packing: tuple[str, ...]
    stream: IO[bytes]
    head: bytes
    is_whole: bool
    """Whether `head` is the complete content."""
    notes: tuple[bytes, ...] = ()
    """For a file of tweets: the contents of the note-tweet files in the same archive."""


class _Rejoined(io.RawIOBase):
    """Puts bytes that were already read back in front of a stream that cannot seek."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head, self._stream = memoryview(head), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece: bytes | memoryview = self._head[: len(buffer)]
        if piece:
            self._head = self._head[len(piece) :]
        else:
            piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def open_members(stream: IO[bytes], *, name: str, uri: str, spec: CorpusSpec, report: FileReport) -> Iterator[Member]:
    """Yields the file itself or each selected member of an archive.

    A member's stream is closed when the next member is requested.

    Raises:
        UserError: The file type is not supported, or no member of an archive is selected or holds data.
    """
    if name != unpacked_name(name):
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        if head and _packer(head) is None and format_of(name) is not None:
            ending = name[len(unpacked_name(name)) :]
            report.notes.append(f"{uri} is not compressed although its name ends in {ending}; it is read as is")
    yield from _opened(stream, name=name, path="", packing=(), uri=uri, spec=spec, report=report)


def _opened(
    stream: IO[bytes],
    *,
    name: str,
    path: str,
    packing: tuple[str, ...],
    uri: str,
    spec: CorpusSpec,
    report: FileReport,
) -> Iterator[Member]:
    head = stream.read(HEAD_BYTES)
    while len(head) < HEAD_BYTES and (more := stream.read(HEAD_BYTES - len(head))):
        head += more
    if stream.seekable():
        stream.seek(0)
    else:
        stream = io.BufferedReader(_Rejoined(head, stream), buffer_size=2**20)
    packer = _packer(head) if len(packing) < MAX_DEPTH else None
    arguments: dict[str, Any] = {"packing": (*packing, packer or ""), "uri": uri, "spec": spec, "report": report}
    if packer in _UNPACKERS:
        with _UNPACKERS[packer](stream) as unpacked:
            yield from _opened(cast(IO[bytes], unpacked), name=name, path=path, **arguments)
    elif packer == "zip":
        with zipfile.ZipFile(stream) as archive:
            yield from _zip_members(archive, name=name, path=path, **arguments)
    elif packer == "tar":
        with (
            contextlib.nullcontext(stream) if stream.seekable() else seekable(stream) as opened,
            tarfile.open(fileobj=opened, mode="r:") as tar,
        ):
            yield from _tar_members(tar, name=name, path=path, **arguments)
    elif head:  # An empty file holds no records.
        _refuse_foreign(head, name=name, uri=uri)
        yield Member(
            name=unpacked_name(name),
            path=path,
            packing=packing,
            stream=stream,
            head=head,
            is_whole=len(head) < HEAD_BYTES,
        )


def _zstd(stream: IO[bytes]) -> Any:
    return pa.input_stream(stream, compression="zstd")


def _lz4(stream: IO[bytes]) -> Any:
    return pa.input_stream(stream, compression="lz4")


_UNPACKERS: dict[str | None, Callable[[IO[bytes]], Any]] = {
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
    "zstd": _zstd,
    "lz4": _lz4,
}


def _packer(head: bytes) -> str | None:
    """Returns the compression or archive type by its magic bytes, or None."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if head.startswith(b"\x04\x22\x4d\x18"):
        return "lz4"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    return "tar" if head[257:262] == b"ustar" or _is_old_tar(head) else None


def _is_old_tar(head: bytes) -> bool:
    """Returns whether the first block is a pre-POSIX (before 1988) tar header, judged by its numbers and checksum."""
    if len(head) < 512 or b"\0" not in head[:101]:
        return False
    try:
        return tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape").size >= 0
    except tarfile.TarError:
        return False


def _refuse_foreign(head: bytes, *, name: str, uri: str) -> None:
    kind = next((kind for magic, kind in _FOREIGN if head.startswith(magic)), None)
    if kind is not None:
        what = kind if ":" in kind else f"{kind}: unpack it, or repack it as zip, tar or gzip"
        raise UserError(f"{uri} ({name}) is {what}, or remove it from the sources")


def _zip_members(
    archive: zipfile.ZipFile, *, name: str, path: str, uri: str, spec: CorpusSpec, report: FileReport, **others: Any
) -> Iterator[Member]:
    sizes = {item.filename: item.file_size for item in archive.infolist() if not item.is_dir()}
    if "[Content_Types].xml" in sizes:
        raise UserError(f"{uri} is an Excel or Word document; save it as CSV or text, or remove it from the sources")
    chosen = _chosen(sorted(sizes), uri=uri, spec=spec, report=report)
    notes = tuple(archive.read(one) for one in sorted(sizes) if holds_note_tweets(one.rpartition("/")[2]))
    for member in chosen:
        with archive.open(member) as stream:
            for found in _opened(
                stream,
                name=_member_name(member, name),
                path=f"{path}/{member}" if path else member,
                uri=uri,
                spec=spec,
                report=report,
                **others,
            ):
                yield _with_notes(found, notes)


def _tar_members(
    archive: tarfile.TarFile, *, name: str, path: str, uri: str, spec: CorpusSpec, report: FileReport, **others: Any
) -> Iterator[Member]:
    members = {member.name: member for member in archive.getmembers() if member.isfile()}
    chosen = _chosen(list(members), uri=uri, spec=spec, report=report)
    notes = tuple(
        cast(IO[bytes], archive.extractfile(member)).read()
        for one, member in members.items()
        if holds_note_tweets(one.rpartition("/")[2])
    )
    for one in chosen:  # In archive order: seeking backwards in a compressed stream decompresses it again.
        with cast(IO[bytes], archive.extractfile(members[one])) as stream:
            for found in _opened(
                stream,
                name=_member_name(one, name),
                path=f"{path}/{one}" if path else one,
                uri=uri,
                spec=spec,
                report=report,
                **others,
            ):
                yield _with_notes(found, notes)


def _with_notes(member: Member, notes: tuple[bytes, ...]) -> Member:
    return replace(member, notes=notes) if notes and holds_tweets(member.name) else member


def _member_name(path: str, archive_name: str) -> str:
    last = path.rpartition("/")[2]
    return last if "." in last else unpacked_name(archive_name)


def _chosen(names: Sequence[str], *, uri: str, spec: CorpusSpec, report: FileReport) -> list[str]:
    """Returns the members to read: those that the spec selects, otherwise those that hold data."""
    if spec.members:
        chosen = [name for name in names if any(_matches(name, pattern) for pattern in spec.members)]
        if not chosen:
            raise UserError(
                f"corpus.members is {', '.join(spec.members)} but {uri} contains {listed(names) or 'no files'}; give "
                "the path of a member or a pattern such as 'reviews/*.csv'"
            )
    else:
        chosen = _with_data(names, spec)
        if not chosen:
            raise UserError(
                f"{uri} contains {listed(names) or 'no files'}, and no member's name identifies its format; select "
                "members with --set corpus.members=NAME_OR_PATTERN and set corpus.format"
            )
    read = set(chosen)
    report.left_out += [name for name in names if name not in read and not holds_note_tweets(name.rpartition("/")[2])]
    return chosen


def _with_data(names: Sequence[str], spec: CorpusSpec) -> list[str]:
    seen = [name for name in names if not is_hidden(name)]
    tweets = [name for name in seen if holds_tweets(name.rpartition("/")[2])]
    if tweets:  # The other members are likes, direct messages and media.
        return tweets
    data = [name for name in seen if not is_about_data(name)]
    if spec.format != "auto":
        named = [name for name in data if format_of(name) == spec.format]
        return named or data
    known = [name for name in data if "." not in name.rpartition("/")[2] or _is_known(name)]
    return known if any(map(_is_known, known)) else [name for name in known if not _is_known(name)]


def _is_known(name: str) -> bool:
    last = name.rpartition("/")[2]
    return format_of(last) is not None or unpacked_name(last) != last


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)
