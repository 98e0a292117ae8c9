"""The pictures of README: the page that `make demo` ends with, and the learning curve of the best model.

python -m benchmarks.pictures demo      # after `make demo`: docs/demo.svg
python -m benchmarks.pictures curve     # from benchmarks/results/reviews.json: docs/curve.svg
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from jobs.demo import Demo, figures_table, samples_table
from textgen.local.s3 import bucket_uri, s3_environment, start_s3, uses_embedded_s3

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 100
SELF_CONTAINED = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's page without the fonts that it would load from elsewhere."""


def demo_picture() -> str:
    """Returns what the finished demo shows, as SVG: the figures and the samples."""
    if uses_embedded_s3():
        start_s3()
        os.environ.update(s3_environment())
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    demo = Demo(bucket_uri(), console)
    evaluation = demo.result("evaluation")
    if evaluation is None:
        raise SystemExit("there is no finished demo; run `make demo` first")
    console.print("$ make demo\n", style="bold")
    console.print(figures_table(evaluation))
    console.print(samples_table(demo))
    return console.export_svg(title="textgen", code_format=SELF_CONTAINED)


def curve_picture() -> bytes:
    """Returns bits per character on `val` over training time of the recipe `reviews_best`, beside count models."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    details = json.loads((ROOT / "benchmarks" / "results" / "reviews.json").read_text())["details"]
    points: list[dict[str, Any]] = details["best"]["history"]
    baselines = details["figures"]["reviews"]["baselines"]
    best_counts = baselines[f"order{baselines['best_order']}"]
    # Mid-tones on a transparent ground are read on light and dark pages alike.
    style: Any = {"svg.hashsalt": "textgen", "text.color": "#808080", "axes.labelcolor": "#808080"}
    style |= {"xtick.color": "#808080", "ytick.color": "#808080", "axes.edgecolor": "#808080"}
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
        minutes = [point["seconds"] / 60 for point in points]
        axes.plot(minutes, [point["val_bits_per_character"] for point in points], "o-", color="#2f81f7", ms=4)
        for bits, name in ((best_counts, f"best count model {best_counts:.2f}"), (baselines["xz"], "xz -9e")):
            axes.axhline(bits, color="#d29922", ls="--", lw=1)
            axes.annotate(name, (minutes[-1], bits), ha="right", va="bottom", color="#d29922", fontsize=9)
        axes.set(xlabel="minutes of training on two CPU cores", ylabel="bits per character")
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    return buffer.getvalue()


def main() -> None:
    """Writes the pictures that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="+", choices=("demo", "curve"))
    for name in parser.parse_args().pictures:
        content = demo_picture().encode() if name == "demo" else curve_picture()
        (ROOT / "docs" / f"{name}.svg").write_bytes(content)
        print(f"wrote docs/{name}.svg")


if __name__ == "__main__":
    main()
