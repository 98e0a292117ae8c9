"""Private folders in the directory for temporary files, which all users of a machine share."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from textgen.errors import UserError


def private_folder(name: str, *, variable: str = "TMPDIR") -> Path:
    """Returns this user's temporary folder with the given name, creating it if necessary. Other users have no access.

    Its path is predictable, so another user could have created it first to read or change its content.

    Args:
        name: Purpose of the folder.
        variable: Environment variable with which the user can choose another location.

    Raises:
        UserError: The path exists and is not a folder owned by this user.
    """
    place = Path(tempfile.gettempdir()) / f"textgen-{name}-{os.geteuid()}"
    return made_private(place, variable=variable)


def checkout_root() -> Path:
    """Returns the folder that contains this package."""
    return Path(__file__).resolve().parents[1]


def checkout_folder() -> Path:
    """Returns the path for this checkout's temporary files, which is private once it is `made_private`.

    The path is unique to the checkout, and short because paths of Unix sockets are limited to 107 bytes.
    """
    name = f"textgen-{os.getuid()}-{hashlib.sha256(os.fsencode(checkout_root())).hexdigest()[:8]}"
    shared = Path(tempfile.gettempdir())
    return shared if shared.name == name else shared / name


def made_private(place: Path, *, variable: str) -> Path:
    """Creates a folder in a shared directory, or checks that it belongs to this user, and denies others access.

    Raises:
        UserError: The path exists and is not a folder owned by this user; the message suggests setting `variable`.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        about = place.lstat()  # Does not follow links, which another user may have created.
        if not stat.S_ISDIR(about.st_mode):
            found = "a link" if stat.S_ISLNK(about.st_mode) else "a file"
            raise UserError(
                f"{place} is {found}, not a folder; remove it, or set {variable} to a folder that you own"
            ) from None
        if about.st_uid != os.geteuid():
            raise UserError(f"{place} belongs to another user; set {variable} to a folder that you own") from None
        if stat.S_IMODE(about.st_mode) & 0o077:
            place.chmod(0o700)  # Created by an earlier version.
    return place
