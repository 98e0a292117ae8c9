"""Validates names and locations of a job's output before the job starts its work."""

from __future__ import annotations

import re

from textgen import storage
from textgen.errors import UserError

NAME_BYTES = 255
"""Longest file name on a disk."""
KEY_BYTES = 1024
"""Longest key on S3. `RESERVED_BYTES` of it are reserved for names below the output."""
RESERVED_BYTES = 100
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators, and bytes of a command line that are not valid text."""


def check_name(name: str, *, flag: str) -> None:
    """Checks that a name is valid for a single folder, on a disk and on S3.

    Raises:
        UserError: It is not valid; the message names `flag`.
    """
    fault = _fault(name) or ("has a slash" if "/" in name or "\\" in name else None)
    if fault is not None:
        raise UserError(f"{flag} is {_shown(name)}, which {fault}; use one name such as small-2")


def check_output(uri: str, *, flag: str = "--output") -> None:
    """Checks that a job can write to a folder or prefix, and aborts unfinished uploads of killed jobs there.

    Raises:
        UserError: The job cannot write there; the message names `flag`.
    """
    is_s3 = storage.is_s3(uri)
    names = uri.rstrip("/").split("/")
    if is_s3:
        names = names[3:]  # After the bucket.
    elif uri.strip():
        names = [name for name in names if name not in ("", ".", "..")]  # File systems resolve these.
    for name in names:
        if fault := _fault(name):
            raise UserError(f"{flag} is {_shown(uri)}, and {_shown(name)} in it {fault}; give another folder or prefix")
    if is_s3 and len("/".join(names).encode()) > KEY_BYTES - RESERVED_BYTES:
        limit = KEY_BYTES - RESERVED_BYTES
        raise UserError(f"{flag} is {_shown(uri)}, which exceeds the limit of {limit} bytes on S3; shorten it")
    if storage.exists(uri):
        raise UserError(f"{flag} is {uri}, a file; give a folder or prefix, which need not exist yet")
    storage.check_writable(uri)
    storage.end_unfinished_uploads(uri)


def _fault(name: str) -> str | None:
    """Returns what is wrong with one name of a path, or None."""
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "refers to another folder"
    if INVISIBLE.search(name):
        return "contains a character that cannot be displayed"
    if len(name.encode()) > NAME_BYTES:
        return f"is longer than {NAME_BYTES} bytes"
    return None


def _shown(name: str) -> str:
    """Returns a name quoted and shortened for a message."""
    return repr(name if len(name) <= 60 else name[:57] + "...")
