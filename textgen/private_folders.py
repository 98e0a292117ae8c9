"""Folders of one user below the folder for temporary files, which all users of a machine share."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from textgen.errors import UserError


def private_folder(name: str, *, variable: str = "TMPDIR") -> Path:
    """Returns this user's folder of a name for temporary files, made where it is missing; nobody else can enter it.

    Its names can be guessed, so that another user may have made it first, to read or to change what is put there.

    Args:
        name: what the folder is for.
        variable: the environment variable by which a user can choose another place.

    Raises:
        UserError: something stands there that is not a folder of this user.
    """
    place = Path(tempfile.gettempdir()) / f"textgen-{name}-{os.geteuid()}"
    return made_private(place, variable=variable)


def checkout_root() -> Path:
    """Returns the folder that this package lies in."""
    return Path(__file__).resolve().parents[1]


def checkout_folder() -> Path:
    """Returns the place of this checkout's temporary files, which nobody else can enter once it is `made_private`.

    It is short, because the path of a Unix socket ends at 107 bytes, and no other checkout shares it.
    """
    name = f"textgen-{os.getuid()}-{hashlib.sha256(os.fsencode(checkout_root())).hexdigest()[:8]}"
    shared = Path(tempfile.gettempdir())
    return shared if shared.name == name else shared / name


def made_private(place: Path, *, variable: str) -> Path:
    """Makes a folder in a folder that others share, or makes sure that it is this user's own, and closes it to others.

    Raises:
        UserError: something stands there that is not a folder of this user; `variable` leads elsewhere.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        about = place.lstat()  # What a link leads to would be another's choice.
        if not stat.S_ISDIR(about.st_mode):
            found = "a link" if stat.S_ISLNK(about.st_mode) else "a file"
            raise UserError(
                f"{place} is {found}, not a folder; remove it, or set {variable} to a folder of your own"
            ) from None
        if about.st_uid != os.geteuid():
            raise UserError(f"{place} belongs to another user; set {variable} to a folder of your own") from None
        if stat.S_IMODE(about.st_mode) & 0o077:
            place.chmod(0o700)  # Made by an earlier version.
    return place
