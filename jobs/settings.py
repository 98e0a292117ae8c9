"""Lists all settings with their type, value in a preset, unit and meaning.

python -m jobs.settings training
python -m jobs.settings lr --preset tiny
python -m jobs.settings --presets
python -m jobs.settings --markdown > docs/settings.md
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.command_line import DEFAULT_PRESET, EPILOG_FORM, run
from jobs.flags import HelpFormatter
from jobs.progress import say
from textgen import presets
from textgen.errors import UserError
from textgen.settings import nearest
from textgen.spec import RunSpec
from textgen.spec.fields import FieldInWords, fields_in_words, sections
from textgen.spec.names import meant_by

NARROWEST_TABLE = 110
"""Width in characters; narrower terminals get a list instead of a table."""


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.settings",
        description="Lists the settings for --set, with type, value in a preset, unit and meaning. Names from other "
        "tools, such as lr or max_tokens, find the equivalent setting.",
        epilog=EPILOG_FORM.format(
            examples="python -m jobs.settings training\n  python -m jobs.settings lr --preset tiny\n"
            "  python -m jobs.settings --presets"
        ),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a section or a setting (default: all settings)")
    parser.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        metavar="NAME",
        help=f"preset to show the values of: {', '.join(presets.PRESET_NAMES)} (default: {DEFAULT_PRESET})",
    )
    parser.add_argument("--presets", action="store_true", help="list the presets instead (default: list the settings)")
    parser.add_argument("--json", action="store_true", help="print one JSON object (default: a table)")
    parser.add_argument(
        "--markdown", action="store_true", help="print docs/settings.md, which has every field (default: off)"
    )
    arguments = parser.parse_args(argv)
    if arguments.markdown:
        print(markdown_page(), end="")
        return
    console = Console(highlight=False)
    if arguments.presets:
        rows = [preset_row(name) for name in presets.PRESET_NAMES]
        if arguments.json:
            print(json.dumps({"presets": rows}, ensure_ascii=False))
        else:
            show_presets(rows, console)
        return
    found = chosen_fields(fields_in_words(presets.preset(arguments.preset)), arguments.names)
    if arguments.json:
        fields = [dataclasses.asdict(field) for field in found]
        print(json.dumps({"preset": arguments.preset, "fields": fields}, ensure_ascii=False))
        return
    show(found, console, preset=arguments.preset)
    say("change a setting with --set SECTION.FIELD=VALUE; python -m jobs.settings --presets lists the presets")


def chosen_fields(fields: Sequence[FieldInWords], names: Sequence[str]) -> list[FieldInWords]:
    """Returns the fields of the named sections and the named fields, or all.

    Raises:
        UserError: a name matches neither a section nor a field.
    """
    if not names:
        return list(fields)
    by_path = {field.path: field for field in fields}
    chosen: dict[str, FieldInWords] = {}
    for name in names:
        of_section = [path for path in by_path if path.partition(".")[0] == name]
        paths = of_section or ([name] if name in by_path else meant_by(name, by_path))
        if not paths:
            raise UserError(f"there is no setting {name!r}; {nearest(name, [*by_path, *sections()])}")
        chosen |= {path: by_path[path] for path in paths}
    return list(chosen.values())


def show(fields: Sequence[FieldInWords], console: Console, *, preset: str) -> None:
    """Prints the fields by section, as tables if the terminal is wide enough and as lists otherwise."""
    for section in dict.fromkeys(field.path.partition(".")[0] for field in fields):
        own = [field for field in fields if field.path.partition(".")[0] == section]
        about = " ".join((sections()[section].__doc__ or "").split())
        console.print(f"[bold]{section}[/bold]  {about}", soft_wrap=True)
        if console.width >= NARROWEST_TABLE:
            console.print(fields_table(own, preset=preset))
            continue
        for field in own:
            unit = f", {field.unit}" if field.unit else ""
            console.print(f"  [bold]{field.path}[/bold] = {written(field.value)}", soft_wrap=True)
            console.print(f"      {field.type}{unit}".replace("[", "\\["), style="dim", soft_wrap=True)
            console.print(f"      {field.meaning}", markup=False, soft_wrap=True)


def fields_table(fields: Sequence[FieldInWords], *, preset: str) -> Table:
    """Returns a table with one row per field."""
    table = Table(show_lines=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column("setting", no_wrap=True, style="bold")
    table.add_column(f"in {preset}", max_width=24, overflow="fold")
    table.add_column("type", max_width=22, style="dim")
    table.add_column("unit", style="dim", max_width=14)
    table.add_column("meaning")
    for field in fields:
        table.add_row(*(text.replace("[", "\\[") for text in row_of(field)))
    return table


def row_of(field: FieldInWords) -> tuple[str, str, str, str, str]:
    """Returns the cells of a field's row."""
    return field.path, written(field.value), field.type, field.unit, field.meaning


def written(value: Any) -> str:
    """Returns a value in the syntax of `--set`."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(written(item) for item in value) + "]"
    return repr(value) if isinstance(value, str) and (not value or value != value.strip()) else str(value)


def preset_row(name: str) -> dict[str, Any]:
    """Returns the name, purpose and main settings of a preset."""
    spec = presets.preset(name)
    training = spec.training
    layers = spec.classifier.hidden_units if spec.classifier.features == "bag_of_words" else spec.model.widths
    return {
        "preset": name,
        "for": presets.meaning(name),
        "layers": " and ".join(map(str, layers)),
        "reads": spec.windows.unit,
        "lasts": f"{training.epochs:g} epochs" + (f", {training.max_steps:,} steps" if training.max_steps else ""),
    }


def show_presets(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Prints two lines per preset."""
    for row in rows:
        console.print(
            f"[bold]{row['preset']}[/bold]  layers of {row['layers']}, {row['reads']}, {row['lasts']}", soft_wrap=True
        )
        console.print(f"    {row['for']}", markup=False, soft_wrap=True)


PAGE_HEAD = """# Settings

Every setting of a run, with its type, default and meaning. `--set section.field=value` changes one for `ingest`,
`train`, `sweep` and `find_learning_rate`; `generate` and `serve` take those of [sampling](#sampling). Lists are
written `[a,b]`, and `none`, `true` and `false` as they stand here:

    python -m jobs.train --windows runs/first/windows --output runs/first --set model.units=256 --set training.epochs=3

A preset replaces some defaults. `python -m jobs.settings --preset tiny` lists the settings with the values of a preset,
and `python -m jobs.settings lr` finds a setting by the name that another tool gives it.

This page is generated: `python -m jobs.settings --markdown > docs/settings.md`.
"""


def markdown_page() -> str:
    """Returns docs/settings.md: the presets, then a table of fields for each section."""
    presets_table = _markdown_table(("preset", "layers", "unit", "trains for", "purpose"), _presets())
    parts = [PAGE_HEAD, "## Presets\n", presets_table]
    fields = fields_in_words(RunSpec(preset="defaults"))
    for section, kind in sections().items():
        about = " ".join((kind.__doc__ or "").split())
        rows = [
            (f"`{field.path}`", field.type + (f" ({field.unit})" if field.unit else ""), _default(field), field.meaning)
            for field in fields
            if field.path.partition(".")[0] == section
        ]
        parts += [f"## {section}\n", f"{about}\n", _markdown_table(("setting", "type", "default", "meaning"), rows)]
    return "\n".join(parts)


def _presets() -> list[tuple[str, ...]]:
    rows = [preset_row(name) for name in presets.PRESET_NAMES]
    return [(f"`{row['preset']}`", row["layers"], row["reads"], row["lasts"], row["for"]) for row in rows]


def _default(field: FieldInWords) -> str:
    return f"`{written(field.value)}`"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    run(main)
