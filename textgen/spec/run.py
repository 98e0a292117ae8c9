"""Everything that determines a run, and single fields of it changed."""

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
    """Everything that determines a run, whatever hardware it is computed on."""

    preset: str
    """Name of the preset it began as."""
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
            f"{windows.context_length}; the carried state needs them equal: set both, or training.order=shuffled",
        )
        features = self.classifier.features
        check(
            not self.corpus.condition_on or (windows.separator is None and features is None),
            f"corpus.condition_on is {list(self.corpus.condition_on)} with windows.separator {windows.separator!r} and "
            f"classifier.features {features or 'none'}; controls follow END, for a language model: use none in both",
        )
        check(
            (windows.unit == "words") == (features == "bag_of_words"),
            f"windows.unit is {windows.unit} with classifier.features {features or 'none'}; "
            "a bag of words takes words, and everything else characters or bytes: set both",
        )
        check(
            features != "bag_of_words" or not self.training.mixed_precision,
            f"training.mixed_precision is true with classifier.features {features}; it is for the layers of language "
            "models: leave it out",
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
            f"classifier.features {features}; a classifier's documents have no order and one target: "
            "set training.order=shuffled and training.loss_at=every",
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the spec as JSON-ready nested dictionaries, with the version that wrote it."""
        as_dict: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {VERSION_KEY: SPEC_VERSION, **as_dict}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Builds a spec from `to_dict`'s result, of this or of an older version (`textgen.spec.versions`).

        A field that the version did not have takes the value that was in force then.

        Raises:
            UserError: a name is unknown, a value does not fit, or a newer version has written it.
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
    """Builds one section of a spec, such as `CorpusSpec`, from its part of a stored spec or manifest.

    Missing fields take what was in force when it was written.

    Raises:
        UserError: an unknown field, or a value that does not fit.
    """
    section = field_types(RunSpec)[name]
    known = field_types(section)
    for key in values:
        if key not in known:
            raise UserError(f"the section {name} has no field {key!r}; {nearest(key, known)}")
    return section(**{key: coerce(item, known[key], f"{name}.{key}") for key, item in completed(name, values).items()})


def override(spec: RunSpec, changes: Mapping[str, Any]) -> RunSpec:
    """Returns `spec` with fields replaced; keys read `section.field`, values may be strings of a command line.

    All changes to a section are made at once, since two fields may be valid only together.

    Raises:
        UserError: an unknown name (the message says which field is meant) or a value that does not fit.
    """
    sections = {name: kind for name, kind in field_types(RunSpec).items() if dataclasses.is_dataclass(kind)}
    known = [f"{name}.{key}" for name, kind in sections.items() for key in field_types(kind)]
    by_section: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        if path not in known:
            raise unknown_setting(path, value, known)
        section, key = path.split(".")
        kind = field_types(sections[section])[key]
        by_section.setdefault(section, {})[key] = coerce(value, kind, path)
        if key == "seed":  # Looked at here alone: stored specs may have larger ones.
            check_seed(by_section[section][key], path)
    replaced = {
        section: dataclasses.replace(getattr(spec, section), **values) for section, values in by_section.items()
    }
    return dataclasses.replace(spec, **replaced)
