"""Formats completions and labels for people on a terminal; programs get JSON lines."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

REPLACEMENT = "\ufffd"


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument(
        "--json", action="store_true", help="print JSON lines even on a terminal (default: only if stdout is not one)"
    )


def is_for_people(arguments: argparse.Namespace) -> bool:
    """Returns whether stdout is a terminal and `--json` was not given."""
    return sys.stdout.isatty() and not arguments.json


def completion_text(row: Mapping[str, Any]) -> Text:
    """Returns the prompt in bold, the completion, and an empty line."""
    shown = Text()
    shown.append(_harmless(row["prompt"]), style="bold")
    shown.append(_harmless(row["completion"]))
    shown.append("\n")
    return shown


def label_text(text: str, judgement: str) -> Text:
    """Returns a text in bold, the judgement below it, and an empty line."""
    shown = Text()
    shown.append(_harmless(text), style="bold")
    shown.append(f"\n  {_harmless(judgement)}\n")
    return shown


def show(shown: Text) -> None:
    """Prints on stdout and leaves line breaking to the terminal."""
    Console(highlight=False, soft_wrap=True).print(shown)


def _harmless(text: str) -> str:
    """Returns a text with terminal control characters replaced."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else REPLACEMENT for c in text)
