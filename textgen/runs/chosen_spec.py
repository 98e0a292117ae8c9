"""Chooses the settings of a training from its windows: by default those that the windows were made with.

Ids are fixed when a corpus is ingested, so a spec takes its sections `corpus` and `windows` from the manifest. Windows
are virtual, so only their length and stride may differ from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textgen import presets, storage
from textgen.counts.contexts import MAX_VOCAB_SIZE
from textgen.errors import UserError
from textgen.runs.start import stored_run
from textgen.spec import CorpusSpec, RunSpec, WindowsSpec, override, section_from_dict
from textgen.windows.manifest import UNHASHED_WINDOWS_FIELDS, Manifest

FREE_FIELDS = {
    "corpus": ("origin", "single_author", "max_rejected_share"),
    "windows": (*UNHASHED_WINDOWS_FIELDS, "shard_bytes"),
}
"""Fields of the sections fixed by an ingest that a training may still set, because they change no id."""


@dataclass(frozen=True, kw_only=True)
class ChosenSpec:
    """The settings of a training, and why they were chosen."""

    spec: RunSpec
    reason: str
    """The preset and why it was chosen, as a log line."""


def chosen_spec(
    manifest: Manifest, *, preset: str | None, settings: Mapping[str, Any], run_uri: str | None = None
) -> ChosenSpec:
    """Returns the settings of a training on a manifest's windows.

    Args:
        manifest: the manifest of the windows.
        preset: the preset as given; None takes the run's preset, or else the manifest's.
        settings: the given changes, by `section.field`.
        run_uri: the run, if it was named; if it exists and no preset is given, it keeps its own settings.

    Raises:
        UserError: the preset or a setting does not fit the manifest, or the manifest's preset is unknown.
    """
    before = stored_run(run_uri) if run_uri is not None and preset is None else None
    if before is not None:
        spec = RunSpec.from_dict(before["spec"])
        reason = f"preset {spec.preset}: the run {run_uri} was started with it and keeps its settings"
        return ChosenSpec(spec=override(spec, settings), reason=reason)
    if preset is None:
        name, reason = _preset_of(manifest)
        lengths = dict(manifest.windows)
    else:
        name, reason = preset, f"preset {preset}, as given"
        _check_fits(presets.preset(name), manifest)
        if manifest.preset not in (None, name):
            reason += f"; {manifest.uri} was made with {manifest.preset}"
        same = manifest.preset == name
        lengths = dict(manifest.windows) if same else dataclasses.asdict(presets.preset(name).windows)
    corpus, windows = _sections(manifest)
    windows = dataclasses.replace(windows, **{field: lengths[field] for field in UNHASHED_WINDOWS_FIELDS})
    # In one call, because the sections may be valid only together and with the given settings.
    spec = override(presets.preset(name), {**_changes(corpus=corpus, windows=windows), **settings})
    _check_settings(spec, settings, corpus=corpus, windows=windows, uri=manifest.uri)
    size = manifest.vocabulary.size
    if spec.model.counts_order is not None and "model.counts_order" not in settings and size > MAX_VOCAB_SIZE:
        spec = override(spec, {"model.counts_order": None})
        reason += (
            f"; without its counts, which are for up to {MAX_VOCAB_SIZE} different characters ({manifest.uri} has "
            f"{size}; a larger windows.min_count leaves out rare ones)"
        )
    return ChosenSpec(spec=spec, reason=reason)


def fitting_presets(manifest: Manifest) -> list[str]:
    """Returns the presets whose sections `corpus` and `windows` equal a manifest's, except for `FREE_FIELDS`."""
    corpus, windows = _sections(manifest)
    made = (_fixed("corpus", corpus), _fixed("windows", windows))
    specs = {name: presets.preset(name) for name in presets.PRESET_NAMES}
    return [
        name for name, spec in specs.items() if (_fixed("corpus", spec.corpus), _fixed("windows", spec.windows)) == made
    ]


def _preset_of(manifest: Manifest) -> tuple[str, str]:
    """Returns the preset that a manifest was made with, and the reason for that conclusion."""
    if manifest.preset is not None:
        if manifest.preset not in presets.PRESET_NAMES:
            raise UserError(
                f"{manifest.uri} was made with the preset {manifest.preset!r}, which this version of textgen does not "
                f"have; name one of {', '.join(presets.PRESET_NAMES)} with --preset"
            )
        return manifest.preset, f"preset {manifest.preset}: {manifest.uri} was made with it"
    fitting = fitting_presets(manifest)
    if len(fitting) == 1:
        return fitting[0], f"preset {fitting[0]}: the only one with the settings that {manifest.uri} was made with"
    raise UserError(
        f"{manifest.uri} does not say which preset it was made with, and "
        f"{' and '.join(fitting) if fitting else 'none'} would fit; name one with --preset, such as --preset "
        f"{fitting[0] if fitting else 'reviews_best'}"
    )


def _sections(manifest: Manifest) -> tuple[CorpusSpec, WindowsSpec]:
    """Returns a manifest's sections; fields that it lacks take the values in force when it was written."""
    return section_from_dict("corpus", manifest.corpus), section_from_dict("windows", manifest.windows)


def _changes(**sections: CorpusSpec | WindowsSpec) -> dict[str, Any]:
    """Returns the fields of sections by `section.field`, as `override` expects them."""
    return {f"{name}.{field}": value for name, values in sections.items() for field, value in vars(values).items()}


def _fixed(section: str, values: CorpusSpec | WindowsSpec) -> dict[str, Any]:
    """Returns the fields of a section that determine ids."""
    return {name: value for name, value in dataclasses.asdict(values).items() if name not in FREE_FIELDS[section]}


def _check_fits(preset: RunSpec, manifest: Manifest) -> None:
    """Checks that a preset reads text the way its windows do.

    Other differences, such as the minimum count of a symbol, are settled by the manifest.

    Raises:
        UserError: the preset reads other units, or its text is cleaned by other rules.
    """
    rules = tuple(manifest.corpus.get("rules", ()))
    made = [manifest.preset] if manifest.preset in presets.PRESET_NAMES else []
    # An older manifest names no preset: take the presets with its rules. Rules that no preset has come from the user.
    made = made or [name for name in presets.PRESET_NAMES if presets.preset(name).corpus.rules == rules]
    known = {presets.preset(name).corpus.rules for name in made if name is not None}
    unit = manifest.vocabulary.unit
    differing = []
    if (preset.windows.unit == "words") != (unit == "words"):
        differing.append(f"windows.unit {unit}, not {preset.windows.unit}")
    if known and preset.corpus.rules not in (rules, *known):
        differing.append(f"corpus.rules {list(rules)}, not {list(preset.corpus.rules)}")
    if differing:
        by = f"the preset {manifest.preset}, " if manifest.preset else ""
        raise UserError(
            f"--preset {preset.preset} does not fit {manifest.uri}, which was made with {by}{' and '.join(differing)}; "
            f"leave --preset out to use the settings of the windows, or run jobs.ingest with --preset {preset.preset}"
        )


def _check_settings(
    spec: RunSpec, settings: Mapping[str, Any], *, corpus: CorpusSpec, windows: WindowsSpec, uri: str
) -> None:
    """Checks that no setting requires other ids than the windows hold.

    Raises:
        UserError: a setting does.
    """
    for path in settings:
        section, _, name = path.partition(".")
        made = {"corpus": corpus, "windows": windows}.get(section)
        if made is None or name in FREE_FIELDS[section]:
            continue
        given, stored = getattr(getattr(spec, section), name), getattr(made, name)
        if given != stored:
            raise UserError(
                f"{path} is {_shown(given)} but {uri} was made with {_shown(stored)}, which training cannot change; "
                "leave the setting out, or run jobs.ingest with it"
            )


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def run_uri_of(output: str, run_name: str | None) -> str | None:
    """Returns the URI of a named run; None without a name."""
    return None if run_name is None else storage.join(storage.absolute(output), run_name)
