"""The folders and ports of the background processes of a checkout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from textgen.errors import UserError
from textgen.private_folders import checkout_folder, checkout_root, made_private

S3_PORT = 9720
RAY_PORT = 6399
DASHBOARD_PORT = 8299


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Folders and ports of a checkout; two checkouts share no folders."""

    run_dir: Path
    """Records, logs, tokens and credentials of the background processes."""
    s3_dir: Path
    """Data of the S3 server: a folder per bucket."""
    temp_dir: Path
    """Temporary files of Ray. The path is short, because Unix socket paths are limited to 107 bytes."""
    s3_port: int = S3_PORT
    ray_port: int = RAY_PORT
    dashboard_port: int = DASHBOARD_PORT
    """Port of Ray's dashboard, which also accepts jobs."""

    def prepare(self) -> None:
        """Creates the folders other than S3's, readable only by this user.

        Raises:
            UserError: the temporary folder belongs to another user.
        """
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        made_private(self.temp_dir, variable="TMPDIR")


def this_checkout() -> Checkout:
    """Returns the checkout that contains this package; `TEXTGEN_*_PORT` override its ports.

    Raises:
        UserError: a variable is not a valid port number.
    """
    root = checkout_root()
    return Checkout(
        run_dir=root / ".run",
        s3_dir=root / ".s3",
        temp_dir=checkout_folder(),
        s3_port=_port("TEXTGEN_S3_PORT", S3_PORT),
        ray_port=_port("TEXTGEN_RAY_PORT", RAY_PORT),
        dashboard_port=_port("TEXTGEN_DASHBOARD_PORT", DASHBOARD_PORT),
    )


def write_private(path: Path, content: str) -> None:
    """Writes a file atomically, readable only by this user."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as stream:
        stream.write(content)
    os.replace(temporary, path)


def read_environment(path: Path) -> dict[str, str]:
    """Returns the variables of a file of NAME=value lines, or an empty dictionary without the file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines)


def write_environment(path: Path, environment: dict[str, str]) -> None:
    """Writes variables as NAME=value lines, readable only by this user."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in environment.items()))


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise UserError(f"{variable} is {text!r}; use a port number from 1 to 65535, such as {default}")
    return int(text)
