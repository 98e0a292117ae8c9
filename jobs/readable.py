"""Completions and labels as people read them on a terminal; other readers get JSON lines."""

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
        "--json", action="store_true", help="print JSON lines on a terminal too (default: only where stdout is none)"
    )


def is_for_people(arguments: argparse.Namespace) -> bool:
    """Says whether stdout is a terminal that is to show text."""
    return sys.stdout.isatty() and not arguments.json


def completion_text(row: Mapping[str, Any]) -> Text:
    """Returns a completion behind its prompt, which is bold, and an empty line."""
    shown = Text()
    shown.append(_harmless(row["prompt"]), style="bold")
    shown.append(_harmless(row["completion"]))
    shown.append("\n")
    return shown


def label_text(text: str, judgement: str) -> Text:
    """Returns what is said of a text below the text, which is bold, and an empty line."""
    shown = Text()
    shown.append(_harmless(text), style="bold")
    shown.append(f"\n  {_harmless(judgement)}\n")
    return shown


def show(shown: Text) -> None:
    """Prints on stdout; the terminal breaks the lines."""
    Console(highlight=False, soft_wrap=True).print(shown)


def _harmless(text: str) -> str:
    """Returns a text without the characters by which a terminal is commanded."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else REPLACEMENT for c in text)
