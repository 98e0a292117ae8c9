"""Text on a terminal: distinct prompts, empty lines between completions, no control characters."""

from __future__ import annotations

import argparse
import io

import pytest
from rich.console import Console

from jobs.readable import completion_text, is_for_people, label_text


def on_terminal(*rows: object) -> str:
    """Returns the output on a terminal."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", soft_wrap=True, highlight=False)
    for row in rows:
        console.print(row)
    return file.getvalue()


def test_prompts_are_bold_and_completions_separated() -> None:
    rows = [{"prompt": "this [b]film[/b] ", "completion": "was\ngood"}, {"prompt": "", "completion": "x" * 300}]
    shown = on_terminal(*map(completion_text, rows))
    assert shown == f"\x1b[1mthis [b]film[/b] \x1b[0mwas\ngood\n\n{'x' * 300}\n\n"


def test_labels_stand_below_their_texts() -> None:
    assert on_terminal(label_text("fine", "pos, 88% sure")) == "\x1b[1mfine\x1b[0m\n  pos, 88% sure\n\n"


def test_completions_cannot_control_the_terminal() -> None:
    shown = completion_text({"prompt": "a\x1b]0;title\x07", "completion": "\x9b2J\r\tb"}).plain
    assert shown == "a\ufffd]0;title\ufffd\ufffd2J\ufffd\tb\n"


@pytest.mark.parametrize(
    ("terminal", "json", "people"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_json_is_for_programs(terminal: bool, json: bool, people: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert is_for_people(argparse.Namespace(json=json)) is people
