"""`RunSpec`, which contains everything that determines a run, and functions that build and change it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from textgen.errors import UserError
from textgen.settings import check, check_seed, coerce, field_types, nearest
from textgen.spec.corpus import CorpusSpec, WindowsSpec
from textgen.spec.model import ClassifierSpec, ModelSpec
from textgen.spec.names import unknown_setting
from textgen.spec.training import TrainingSpec
from textgen.spec.use import SamplingSpec, SweepSpec
from textgen.spec.versions import CHANGES, SPEC_VERSION, VERSION_KEY, completed, version_of


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that determines a run, independent of the hardware."""

    preset: str
    """Name of the preset that the spec is based on."""
    corpus: CorpusSpec = field(default_factory=CorpusSpec)
    windows: WindowsSpec = field(default_factory=WindowsSpec)
    model: ModelSpec = field(default_factory=ModelSpec)
    classifier: ClassifierSpec = field(default_factory=ClassifierSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    sweep: SweepSpec = field(default_factory=SweepSpec)

    def __post_init__(self) -> None:
        windows = self.windows
        check(
            self.training.order != "stateful" or windows.stride == windows.context_length,
            f"training.order is stateful with windows.stride {windows.stride} and windows.context_length "
            f"{windows.context_length}; carrying state requires equal values: set both, or training.order=shuffled",
        )
        features = self.classifier.features
        check(
            not self.corpus.condition_on or (windows.separator is None and features is None),
            f"corpus.condition_on is {list(self.corpus.condition_on)} with windows.separator {windows.separator!r} and "
            f"classifier.features {features or 'none'}; conditions require END and a language model: use none for both",
        )
        check(
            (windows.unit == "words") == (features == "bag_of_words"),
            f"windows.unit is {windows.unit} with classifier.features {features or 'none'}; "
            "bag_of_words requires words, and everything else requires characters or bytes: set both",
        )
        check(
            features != "bag_of_words" or not self.training.mixed_precision,
            f"training.mixed_precision is true with classifier.features {features}, but it applies only to layers of "
            "language models: remove it",
        )
        check(
            self.model.counts_order is None or (features is None and self.training.loss_at == "every"),
            f"model.counts_order is {self.model.counts_order} with training.loss_at {self.training.loss_at} and "
            f"classifier.features {features or 'none'}; counts predict the next character of every window position: "
            "set training.loss_at=every and classifier.features=none, or model.counts_order=none",
        )
        check(
            features is None or (self.training.order == "shuffled" and self.training.loss_at == "every"),
            f"training.order is {self.training.order} and training.loss_at {self.training.loss_at} with "
            f"classifier.features {features}; a classifier reads separate documents with one target each: "
            "set training.order=shuffled and training.loss_at=every",
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the spec as nested dictionaries of JSON values, with the version of the format."""
        as_dict: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {VERSION_KEY: SPEC_VERSION, **as_dict}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Builds a spec from the result of `to_dict`, of this or an older version (`textgen.spec.versions`).

        Fields that the version did not have take the value that applied then.

        Raises:
            UserError: A name is unknown, a value is invalid, or the version is newer than this program.
        """
        version_of(values)
        sections = {}
        whole = {name: {} for name in dict.fromkeys(change.section for change in CHANGES)} | dict(values)
        for name, value in whole.items():
            if name == VERSION_KEY:
                continue
            section = field_types(cls).get(name)
            if section is None:
                raise UserError(f"a spec has no section {name!r}; {nearest(name, field_types(cls))}")
            if not dataclasses.is_dataclass(section):
                sections[name] = value
                continue
            sections[name] = section_from_dict(name, value)
        return cls(**sections)


def section_from_dict(name: str, values: Mapping[str, Any]) -> Any:
    """Builds one section of a spec, such as `CorpusSpec`, from a stored spec or manifest.

    Missing fields take the value that applied when it was written.

    Raises:
        UserError: A field is unknown, or a value is invalid.
    """
    section = field_types(RunSpec)[name]
    known = field_types(section)
    for key in values:
        if key not in known:
            raise UserError(f"the section {name} has no field {key!r}; {nearest(key, known)}")
    return section(**{key: coerce(item, known[key], f"{name}.{key}") for key, item in completed(name, values).items()})


def override_section(name: str, values: Any, changes: Mapping[str, Any]) -> Any:
    """Returns a copy of one section, such as a `SamplingSpec`, with fields changed; values may be command-line strings.

    Raises:
        UserError: an unknown field, or an invalid value.
    """
    known = field_types(type(values))
    converted = {}
    for key, value in changes.items():
        path = f"{name}.{key}"
        if key not in known:
            raise unknown_setting(path, value, [f"{name}.{one}" for one in known])
        converted[key] = coerce(value, known[key], path)
        if key == "seed":  # Checked only here, because stored specs may have larger seeds.
            check_seed(converted[key], path)
    return dataclasses.replace(values, **converted)


def override(spec: RunSpec, changes: Mapping[str, Any]) -> RunSpec:
    """Returns a copy of `spec` with changed fields; keys are `section.field`, values may be command-line strings.

    All changes to a section are applied together, since two fields may be valid only in combination.

    Raises:
        UserError: A name is unknown (the message suggests a field), or a value is invalid.
    """
    sections = {name: kind for name, kind in field_types(RunSpec).items() if dataclasses.is_dataclass(kind)}
    known = [f"{name}.{key}" for name, kind in sections.items() for key in field_types(kind)]
    by_section: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        if path not in known:
            raise unknown_setting(path, value, known)
        section, key = path.split(".")
        by_section.setdefault(section, {})[key] = value
    replaced = {
        section: override_section(section, getattr(spec, section), values) for section, values in by_section.items()
    }
    return dataclasses.replace(spec, **replaced)
