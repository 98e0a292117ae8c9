"""Names and places that a user gives for what a job writes: looked at before the long work begins."""

from __future__ import annotations

import re

from textgen import storage
from textgen.errors import UserError

NAME_BYTES = 255
"""What a disk takes as one name."""
KEY_BYTES = 1024
"""What S3 takes as a key; `RESERVED_BYTES` of it are left to what is written below."""
RESERVED_BYTES = 100
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, ends of lines, and bytes of a command line that are no text."""


def check_name(name: str, *, flag: str) -> None:
    """Makes sure that a name is that of one folder below another, on a disk and on S3.

    Raises:
        UserError: it is not; `flag` says where it was given.
    """
    fault = _fault(name) or ("has a slash" if "/" in name or "\\" in name else None)
    if fault is not None:
        raise UserError(f"{flag} is {_shown(name)}, which {fault}; use one name such as small-2")


def check_output(uri: str, *, flag: str = "--output") -> None:
    """Makes sure that a job can write into a folder or below a prefix, and ends what killed jobs left of uploads there.

    Raises:
        UserError: it cannot; `flag` says where it was given.
    """
    is_s3 = storage.is_s3(uri)
    names = uri.rstrip("/").split("/")
    if is_s3:
        names = names[3:]  # Behind the bucket.
    elif uri.strip():
        names = [name for name in names if name not in ("", ".", "..")]  # Which a disk resolves.
    for name in names:
        if fault := _fault(name):
            raise UserError(f"{flag} is {_shown(uri)}, and {_shown(name)} in it {fault}; give another folder or prefix")
    if is_s3 and len("/".join(names).encode()) > KEY_BYTES - RESERVED_BYTES:
        limit = KEY_BYTES - RESERVED_BYTES
        raise UserError(f"{flag} is {_shown(uri)}, longer than the {limit} bytes that S3 has room for; shorten it")
    if storage.exists(uri):
        raise UserError(f"{flag} is {uri}, a file; give a folder or prefix, which need not be there yet")
    storage.check_writable(uri)
    storage.end_unfinished_uploads(uri)


def _fault(name: str) -> str | None:
    """Returns what is wrong with one name of a path; None where nothing is."""
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "stands for another folder"
    if INVISIBLE.search(name):
        return "has a character that cannot be shown"
    if len(name.encode()) > NAME_BYTES:
        return f"is longer than {NAME_BYTES} bytes"
    return None


def _shown(name: str) -> str:
    """Returns a name as a message shows it: quoted, and not too long."""
    return repr(name if len(name) <= 60 else name[:57] + "...")
