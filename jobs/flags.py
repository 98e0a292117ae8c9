"""Flags for the most common settings: each is short for one `--set`."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from textgen.errors import UserError
from textgen.settings import coerce, field_types, parse_settings
from textgen.spec.fields import meaning, paths, sections
from textgen.spec.names import meant_by

DESTINATION = "setting:"
"""Prefix of the argparse destination of such a flag, before the field."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows the default of every flag: a flag whose help names none gets `none` or `off`."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not action.option_strings or action.required or "(default: " in text or "--help" in action.option_strings:
            return text
        return f"{text} (default: {'off' if action.nargs == 0 else 'none'})"


class JobParser(argparse.ArgumentParser):
    """A parser that suggests the intended flag or setting for an unknown one."""

    sections: tuple[str, ...] = tuple(sections())
    """Sections of the settings that the job accepts."""

    def error(self, message: str) -> NoReturn:
        """Prints the message with a suggestion on stderr and exits with code 2."""
        kind, _, words = message.partition(": ")
        unknown = [word.partition("=")[0] for word in words.split() if word.startswith("--")]
        if kind == "unrecognized arguments" and unknown:
            advice = [one for one in map(self._advice, unknown) if one]
            advice = advice or ["--help lists the flags, and python -m jobs.settings the settings"]
            message = "; ".join([message, *advice])
        super().error(message)

    def _advice(self, flag: str) -> str | None:
        name = flag.lstrip("-")
        takes = {action.dest for action in self._actions}
        meant = meant_by(name, [path for path in paths() if path.partition(".")[0] in self.sections])
        flags = [one.option_strings[-1] for one in self._actions if one.dest.removeprefix(DESTINATION) in meant]
        if flags:
            return f"for {flag} use {' or '.join(flags)}"
        if "settings" in takes and meant:
            return f"for {flag} use --set {meant[0]}=VALUE"
        return None


def add_setting(parser: argparse.ArgumentParser, flag: str, field: str, *, metavar: str, default: str) -> None:
    """Adds a flag that sets a field.

    Args:
        parser: parser of a job with `--set`.
        flag: the flag, such as `--temperature`.
        field: `section.field`.
        metavar: placeholder for the value in `--help`.
        default: description of the default in `--help`.
    """
    text = meaning(field).replace("`", "").replace("%", "%%")
    parser.add_argument(
        flag, dest=DESTINATION + field, metavar=metavar, help=f"{text} Short for --set {field}. (default: {default})"
    )


def add_sampling_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for sampling."""
    for flag, field, metavar in (
        ("--temperature", "sampling.temperature", "T"),
        ("--max-new-chars", "sampling.max_new_chars", "N"),
        ("--top-p", "sampling.top_p", "P"),
        ("--top-k", "sampling.top_k", "K"),
        ("--n", "sampling.n", "N"),
        ("--seed", "sampling.seed", "N"),
    ):
        add_setting(parser, flag, field, metavar=metavar, default="the checkpoint's")


def settings_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Returns the settings given on a command line, by `--set` and by their own flags.

    Raises:
        UserError: a flag and `--set` give different values for a field.
    """
    settings = parse_settings(arguments.settings)
    for name, value in vars(arguments).items():
        if not name.startswith(DESTINATION) or value is None:
            continue
        field = name.removeprefix(DESTINATION)
        if field in settings and _value(field, settings[field]) != _value(field, value):
            raise UserError(f"{field} is {settings[field]} by --set and {value} by the flag for it; give it once")
        settings[field] = value
    return settings


def _value(field: str, text: str) -> Any:
    """Returns the parsed value of a field."""
    section, _, name = field.partition(".")
    return coerce(text, field_types(sections()[section])[name], field)
