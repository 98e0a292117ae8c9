"""Measures training in predictions per second: ours, PyTorch's LSTM of the same shape, and the published recipe's loop.

python -m benchmarks.training                     # about a quarter of an hour on two cores
python -m benchmarks.training --rounds 5 --seconds 4 --only 2x128

PyTorch needs a separate environment: `make peers`. All contenders use the same two cores, one after another. Ratios are
relative to the better of ours in 32 bits. On CPUs with instructions for bfloat16, ours is also measured in mixed
precision.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.side_by_side import Contender, Measured, cores, measure, save
from textgen import presets
from textgen.runs.plan import flops_per_input
from textgen.runs.precision import multiplies_bfloat16
from textgen.spec import override

SHAPES = {"1x128": (1, 128), "2x128": (2, 128), "1x512": (1, 512)}
ROWS, LENGTH, VOCAB_SIZE, EMBEDDING_DIM = 128, 64, 112, 64
PYTORCH = ROOT / ".peers" / "bin" / "python"
BFLOAT16, MIXED = "ours in bfloat16, a worker a core", ("--set", "training.mixed_precision=true")
RECIPE, ARITHMETIC = "the recipe's loop (last character)", "numpy sgemm"


def main(argv: list[str]) -> int:
    """Measures the contenders of each shape and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds per round")
    parser.add_argument("--only", metavar="SHAPES", default=",".join(SHAPES))
    parser.add_argument(
        "--pytorch", metavar="PYTHON", type=Path, default=PYTORCH, help="a Python interpreter with torch"
    )
    arguments = parser.parse_args(argv)
    if not arguments.pytorch.exists():
        print(f"error: {arguments.pytorch} does not exist; create it with `make peers`", file=sys.stderr)
        return 2
    table = [
        "| shape | contender | predictions per second, median (range) | GFLOP/s | ours is |",
        "|---|---|---:|---:|---:|",
    ]
    details = {}
    for shape in arguments.only.split(","):
        contenders = _contenders(shape, arguments.pytorch)
        measured = measure(contenders, rounds=arguments.rounds, seconds=arguments.seconds)
        details[shape] = {name: one.rates for name, one in measured.items()}
        table += _rows(shape, measured)
    save("training", table, {"rates": details}, versions={"torch": _torch_version(arguments.pytorch)})
    return 0


def _torch_version(python: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('torch'))"
    return subprocess.run([python, "-c", code], text=True, capture_output=True, check=True).stdout.strip()


def _contenders(shape: str, pytorch: Path) -> list[Contender]:
    layers, units = SHAPES[shape]
    num_cores = min(2, len(cores()))
    settings = {
        "model.units": units,
        "model.num_layers": layers,
        "model.embedding_dim": EMBEDDING_DIM,
        "windows.context_length": LENGTH,
        "windows.stride": LENGTH,
        "training.global_batch_size": ROWS,
        "training.optimizer": "adam",
        "training.weight_decay": 0,
        "training.fresh_share": 0,
    }
    ours = ["benchmarks.peers.ours", "--vocab-size", str(VOCAB_SIZE)]
    ours += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    contenders = _ours(ours, num_cores)
    same = {
        "units": units,
        "layers": layers,
        "embedding-dim": EMBEDDING_DIM,
        "rows": ROWS,
        "length": LENGTH,
        "vocab-size": VOCAB_SIZE,
        "threads": num_cores,
    }
    words = [word for name, value in same.items() for word in (f"--{name}", str(value))]
    contenders += [
        Contender(
            name="PyTorch",
            python=pytorch,
            command=("benchmarks.peers.pytorch_lstm", *words),
            num_threads=num_cores,
            environment={"PYTHONPATH": str(ROOT)},
        ),
        Contender(name=ARITHMETIC, command=("benchmarks.peers.sgemm",), num_threads=num_cores),
    ]
    if shape == "2x128":
        command = ("benchmarks.peers.one_hot_keras", "--threads", str(num_cores))
        contenders.append(Contender(name=RECIPE, command=command, num_threads=num_cores))
    return contenders


def _ours(command: Sequence[str], num_cores: int) -> list[Contender]:
    contenders = [
        Contender(name=f"ours, {num_cores} workers", command=(*command, "--threads", "1"), num_processes=num_cores),
        Contender(
            name=f"ours, 1 worker of {num_cores} threads",
            command=(*command, "--threads", str(num_cores)),
            num_threads=num_cores,
        ),
    ]
    if multiplies_bfloat16():
        words = (*command, *MIXED, "--threads", "1")
        contenders.append(Contender(name=BFLOAT16, command=words, num_processes=num_cores))
    return contenders


def _rows(shape: str, measured: dict[str, Measured]) -> list[str]:
    layers, units = SHAPES[shape]
    spec = override(presets.preset("reviews_best"), {"model.units": units, "model.num_layers": layers})
    flops = flops_per_input(spec, vocab_size=VOCAB_SIZE)
    best = max(one.median for name, one in measured.items() if name.startswith("ours, "))
    rows = []
    for name, one in measured.items():
        if name == ARITHMETIC:
            share = best * flops / one.median
            rows.append(f"| {shape} | {name} |  | {one.median / 1e9:,.0f} | {share:.0%} of it |")
            continue
        gflops = "" if name == RECIPE else f"{one.median * flops / 1e9:,.0f}"
        ratio = "" if name.startswith("ours, ") else f"{best / one.median:,.2f} times it"
        rows.append(f"| {shape} | {name} | {one.words()} | {gflops} | {ratio} |")
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
