"""What this machine's processor can do, as far as it decides how fast a training is."""

from __future__ import annotations

from pathlib import Path

from textgen.spec import RunSpec
from textgen.training.plan import inputs_per_row

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instructions that multiply bfloat16, as Linux names them on x86-64 and on Arm."""


def multiplies_bfloat16(cpu_info: Path = CPU_INFO) -> bool:
    """Says whether the CPU has instructions that multiply bfloat16; False where that cannot be found out."""
    if not cpu_info.exists():
        return False
    flags = {
        flag
        for line in cpu_info.read_text().splitlines()
        if line.lower().startswith(("flags", "features"))
        for flag in line.partition(":")[2].split()
    }
    return bool(flags & BFLOAT16_FLAGS)


def precision_advice(spec: RunSpec, *, longest_window: int, cpu_info: Path = CPU_INFO) -> str | None:
    """Returns what a training on this CPU should be told about `training.mixed_precision`; None where all is well.

    In windows (documents, for a classifier) of more ids than `longest_window` the setting does nothing on a CPU.
    On two cores of an AMD EPYC with such instructions a step took 0.83 of its time at 128 units, 0.6 at 256 and 512;
    without them, imitated, more than twice its time.
    """
    is_able = multiplies_bfloat16(cpu_info)
    has_a_say = (
        cpu_info.exists()
        and spec.classifier.features != "bag_of_words"
        and spec.model.cell == "lstm"
        and inputs_per_row(spec) <= longest_window
    )
    if not has_a_say or is_able == spec.training.mixed_precision:
        return None
    if is_able:
        return "this CPU multiplies bfloat16: training.mixed_precision=true would train faster"
    return "this CPU does not multiply bfloat16: training.mixed_precision=false would train faster"
