"""What this machine's CPU supports, as far as it affects the speed of a training."""

from __future__ import annotations

from pathlib import Path

from textgen.runs.plan import inputs_per_row
from textgen.spec import RunSpec, override
from textgen.spec.cells import CELLS
from textgen.spec.model import LONGEST_UNROLLED

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instructions that multiply bfloat16, by their Linux names on x86-64 and Arm."""


def multiplies_bfloat16(cpu_info: Path = CPU_INFO) -> bool:
    """Returns whether the CPU has instructions that multiply bfloat16; False if that cannot be determined."""
    if not cpu_info.exists():
        return False
    flags = {
        flag
        for line in cpu_info.read_text().splitlines()
        if line.lower().startswith(("flags", "features"))
        for flag in line.partition(":")[2].split()
    }
    return bool(flags & BFLOAT16_FLAGS)


def with_precision(spec: RunSpec, *, on_gpu: bool) -> RunSpec:
    """Returns a spec whose `training.mixed_precision` is decided: as given, or by what this machine's CPU supports.

    Trainings on GPUs keep 32 bits, because bfloat16 was not measured there.
    """
    if spec.training.mixed_precision is not None:
        return spec
    is_faster = not on_gpu and _affects_speed(spec) and multiplies_bfloat16()
    return override(spec, {"training.mixed_precision": is_faster})


def precision_line(spec: RunSpec, *, cpu_info: Path = CPU_INFO) -> str | None:
    """Returns the log line about `training.mixed_precision` on this CPU; None if the setting does not affect the speed.

    On two cores of an AMD EPYC with instructions for bfloat16, a step took 0.83 of its 32-bit time at 128 units, and
    0.6 at 256 and 512. Without them bfloat16 is emulated, and a step took more than twice its 32-bit time.
    """
    if not _affects_speed(spec) or not cpu_info.exists():
        return None
    is_able, is_mixed = multiplies_bfloat16(cpu_info), bool(spec.training.mixed_precision)
    if is_mixed:
        kind = "computes products in bfloat16 (training.mixed_precision)"
        return kind if is_able else f"{kind}, but this CPU has no instructions for it: false would train faster"
    kind = "computes products in 32 bits"
    if is_able:
        return f"{kind}; this CPU has instructions for bfloat16: training.mixed_precision=true would train faster"
    return f"{kind}: this CPU has no instructions for bfloat16"


def _affects_speed(spec: RunSpec) -> bool:
    """Returns whether the setting affects the speed of a training on CPUs: only LSTM layers over unrolled windows."""
    return (
        spec.classifier.features != "bag_of_words"
        and CELLS[spec.model.cell].trains_on_cpu
        and inputs_per_row(spec) <= LONGEST_UNROLLED
    )
