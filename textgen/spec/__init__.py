"""Everything that determines a run, as frozen dataclasses that validate themselves.

A preset (`textgen.presets`) returns a complete `RunSpec`, and `override` changes single fields of it, for the command
line (`--set training.learning_rate=1e-3`), sweeps and tests. The number of workers is not part of the spec, because the
result does not depend on it.
"""

from textgen.spec.corpus import RULE_NAMES, CorpusSpec, WindowsSpec
from textgen.spec.model import ClassifierSpec, ModelSpec
from textgen.spec.run import RunSpec, override, override_section, section_from_dict
from textgen.spec.training import TrainingSpec
from textgen.spec.use import SamplingSpec, SweepSpec

__all__ = [
    "RULE_NAMES",
    "ClassifierSpec",
    "CorpusSpec",
    "ModelSpec",
    "RunSpec",
    "SamplingSpec",
    "SweepSpec",
    "TrainingSpec",
    "WindowsSpec",
    "override",
    "override_section",
    "section_from_dict",
]
