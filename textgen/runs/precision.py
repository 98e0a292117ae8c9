"""What this machine's processor can do, as far as it decides how fast a training is."""

from __future__ import annotations

from pathlib import Path

from textgen.runs.plan import inputs_per_row
from textgen.spec import RunSpec, override
from textgen.spec.model import LONGEST_UNROLLED

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


def with_precision(spec: RunSpec, *, on_gpu: bool) -> RunSpec:
    """Returns a spec whose `training.mixed_precision` is decided: as it says, or by this machine's CPU.

    On GPUs 32 bits are kept: bfloat16 was not tried there.
    """
    if spec.training.mixed_precision is not None:
        return spec
    is_faster = not on_gpu and _has_a_say(spec) and multiplies_bfloat16()
    return override(spec, {"training.mixed_precision": is_faster})


def precision_line(spec: RunSpec, *, cpu_info: Path = CPU_INFO) -> str | None:
    """Returns what the log of a training on this CPU says of `training.mixed_precision`; None where it does nothing.

    On two cores of an AMD EPYC with instructions for bfloat16 a step took 0.83 of its time at 128 units, 0.6 at 256 and
    512; without them, imitated, more than twice its time.
    """
    if not _has_a_say(spec) or not cpu_info.exists():
        return None
    is_able, is_mixed = multiplies_bfloat16(cpu_info), bool(spec.training.mixed_precision)
    if is_mixed:
        kind = "multiplies in bfloat16 (training.mixed_precision)"
        return kind if is_able else f"{kind}, which this CPU has no instructions for: false would train faster"
    kind = "multiplies in 32 bits"
    if is_able:
        return f"{kind}; this CPU has instructions for bfloat16: training.mixed_precision=true would train faster"
    return f"{kind}: this CPU has no instructions for bfloat16"


def _has_a_say(spec: RunSpec) -> bool:
    """Says whether the setting changes how fast a training on a CPU is: LSTM layers in windows that are unrolled."""
    return (
        spec.classifier.features != "bag_of_words"
        and spec.model.cell == "lstm"
        and inputs_per_row(spec) <= LONGEST_UNROLLED
    )
