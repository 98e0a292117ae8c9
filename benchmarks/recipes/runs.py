"""Ingests, trains and measures for recipes; everything can be resumed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.recipes.chain import Say, job
from textgen.generation.completions import engine_of
from textgen.generation.stream import Request
from textgen.model.checkpoint import Checkpoint, find_checkpoint, latest_checkpoint
from textgen.spec import RunSpec, SamplingSpec, override
from textgen.windows.manifest import Manifest

Measured = TypeVar("Measured")
FIRST_STEPS, LAST_STEPS = 20, 60
"""Steps between which the pace of a training is measured, because the first ones include compilation."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run."""

    checkpoint: Checkpoint
    """The best checkpoint by validation, or by training loss if nothing is held out."""
    last: Checkpoint
    """The checkpoint of the last step."""
    history: tuple[Mapping[str, Any], ...]
    """The figures of every validation."""

    @property
    def seconds(self) -> float:
        """Time of all steps, without validations and checkpoints."""
        return float(self.history[-1]["seconds"])

    @property
    def predictions_per_second(self) -> float:
        """Training predictions per second."""
        return float(self.history[-1]["predictions"]) / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """Returns the part of a run to keep in a result."""
        spec = self.checkpoint.spec
        return {
            "steps": self.history[-1]["step"],
            "best_step": self.checkpoint.step,
            "seconds": self.seconds,
            "predictions": self.history[-1]["predictions"],
            "model": dataclasses.asdict(spec.model),
            "training": dataclasses.asdict(spec.training),
            "history": list(self.history),
        }


def ingested(preset: str, source: Path, output: Path, changes: Mapping[str, Any], *, say: Say) -> dict[str, Any]:
    """Ingests a source with a preset and changed settings, and returns the job's result."""
    settings = [word for path, value in changes.items() for word in ("--set", f"{path}={_setting(value)}")]
    return job("ingest", "--source", source, "--preset", preset, "--output", output, *settings, say=say)


def trained(spec: RunSpec, windows: Path, folder: Path, name: str, *, source: str | None = None, say: Say) -> Trained:
    """Trains or resumes a run in this process, unless it is finished; `source` is a checkpoint to fine-tune."""
    from textgen.runs.lineage import Source
    from textgen.training.driver import train_here  # Loads Ray.

    train_here(
        override(spec, {"training.sample_temperatures": ()}),
        manifest_uri=str(windows),
        output=str(folder),
        run_name=name,
        num_threads=len(os.sched_getaffinity(0)),
        source=Source(uri=source) if source is not None else None,
        acknowledge=True,
        say=lambda line: say(f"{name}: {line}"),
        report=lambda _: None,
    )
    last = latest_checkpoint(str(folder / name))
    assert last is not None
    lines = (folder / name / "history.jsonl").read_text().splitlines()
    return Trained(
        checkpoint=find_checkpoint(str(folder / name)), last=last, history=tuple(json.loads(line) for line in lines)
    )


def trained_within(seconds: float, spec: RunSpec, windows: Path, folder: Path, name: str, *, say: Say) -> Trained:
    """Trains a run for its full length, or for the number of steps that fit into `seconds` if that is smaller.

    A short training determines the number of steps once; it is stored, so a resumed run keeps it.
    """

    def fitting_steps() -> int:
        short = override(spec, {"training.max_steps": LAST_STEPS, "training.validate_every_steps": FIRST_STEPS})
        first, *_, last = trained(short, windows, folder, f"{name}-pace", say=say).history
        pace = (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])
        return int(first["step"]) + max(1, int(pace * (seconds - first["seconds"])))

    max_steps = kept(folder / f"{name}-steps.json", fitting_steps)
    say(f"{name}: at most {max_steps:,} steps, which take about {seconds:,.0f} s")
    return trained(override(spec, {"training.max_steps": max_steps}), windows, folder, name, say=say)


def test_bits(checkpoint: Checkpoint) -> float:
    """Returns the bits per character of a checkpoint on the split `test` of its own windows."""
    from textgen.evaluation.original_text import OriginalSizes
    from textgen.evaluation.scoring import CHUNK_IDS, NUM_LANES, Scorer
    from textgen.model.sliding import as_trained
    from textgen.windows.batches import scoring_batches
    from textgen.windows.lanes import ScoringLanes
    from textgen.windows.shards import IdReader

    model = as_trained(checkpoint.build_model(), checkpoint.spec)
    manifest = Manifest.load(checkpoint.manifest_uri)
    with IdReader(manifest, "test") as reader:
        lanes = ScoringLanes(
            num_ids=reader.num_ids, context_length=CHUNK_IDS, num_lanes=NUM_LANES, lead_ids=model.lead_ids
        )
        batches = scoring_batches(reader, lanes, start_id=checkpoint.vocabulary.start_id)
        tally = Scorer(model, checkpoint.vocabulary).score(batches)
    return OriginalSizes(manifest, "test").counted(tally).bits_per_character


def completed(checkpoint: Checkpoint, prompts: Sequence[str], *settings: SamplingSpec) -> list[list[str]]:
    """Returns a completion of each prompt for each of the settings."""
    requests = [
        Request(prompt=prompt, settings=one, index=index) for one in settings for index, prompt in enumerate(prompts)
    ]
    texts = [completion.completion for completion in engine_of(checkpoint).generate(requests)]
    return [texts[start : start + len(prompts)] for start in range(0, len(texts), len(prompts))]


def best_count_model(windows: Path) -> dict[str, Any]:
    """Returns the bits per character of count models on `test`, and the best order."""
    from textgen.evaluation.baselines import baselines

    return dict(baselines(Manifest.load(str(windows)), split="test"))


def kept(place: Path, measured: Callable[[], Measured]) -> Measured:
    """Returns a measurement from the file at `place`; measures and writes it first if the file does not exist."""
    if not place.exists():
        content = json.dumps(measured(), ensure_ascii=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    value: Measured = json.loads(place.read_text())
    return value


def changed_fields(old: RunSpec, new: RunSpec, section: str) -> dict[str, Any]:
    """Returns the fields of a section of `new` that differ from `old`'s, by path."""
    before, after = dataclasses.asdict(getattr(old, section)), dataclasses.asdict(getattr(new, section))
    return {f"{section}.{name}": value for name, value in after.items() if value != before[name]}


def _setting(value: Any) -> str:
    """Returns a value in the syntax of `--set`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
