"""The trials of a sweep, run in processes of the cluster: train a hidden size, or try a temperature."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ray import tune

from textgen import storage
from textgen.evaluation.comparable import comparable
from textgen.evaluation.divergence import jensen_shannon, ngram_counts
from textgen.generation.completions import engine_of
from textgen.model.checkpoint import Checkpoint
from textgen.spec import RunSpec, SamplingSpec, SweepSpec, override
from textgen.windows.documents import original_texts
from textgen.windows.manifest import Manifest

if TYPE_CHECKING:
    from textgen.generation.engine import Engine

MAX_REFERENCE_TEXTS = 2000
"""Maximum number of documents of `val` whose beginnings are compared with completions."""
REPORTED = ("step", "epoch", "loss", "val_loss", "val_bits_per_character")


def runs_uri(output: str) -> str:
    """Returns the folder of the runs of a sweep's trials."""
    return storage.join(output, "runs")


def run_name(units: int) -> str:
    """Returns the name of a hidden size's run."""
    return f"units-{units}"


def trial_spec(spec: RunSpec, units: int) -> RunSpec:
    """Returns the spec to train a hidden size with: the sweep's, without samples."""
    return override(spec, {"model.units": units, "training.sample_temperatures": ()})


def training_trial(
    config: Mapping[str, Any],
    *,
    spec: RunSpec,
    windows_uri: str,
    output: str,
    driver: str,
    num_workers: int,
    num_threads: int,
) -> None:
    """Trains the hidden size `units`, or resumes its run, and reports every validation.

    A single worker is this process; Ray Train starts several, which takes about 35 s per trial. A resumed run first
    reports its earlier validations, because the scheduler compares sizes at equal steps.

    Raises:
        LeaseLostError: another driver than `driver` holds the sweep's lease.
    """
    from textgen.runs import lease
    from textgen.runs.recording import read_history
    from textgen.training.driver import train, train_here  # Loads Ray Train.

    lease.check(output, driver)
    spec = trial_spec(spec, config["units"])
    name = run_name(config["units"])
    for figures in read_history(storage.join(runs_uri(output), name)):
        _report(figures)
    run: dict[str, Any] = {
        "manifest_uri": windows_uri,
        "output": runs_uri(output),
        "run_name": name,
        "acknowledge": True,  # The sweep has already checked it.
        "say": _say_nothing,
    }
    if num_workers == 1:
        outcome = train_here(spec, **run, num_threads=num_threads, report=_report)
    else:
        from ray.tune.integration.ray_train import TuneReportCallback

        outcome = train(spec, **run, num_workers=num_workers, callbacks=[TuneReportCallback()])
    _report(outcome)


def temperature_trial(config: Mapping[str, Any], *, spec: RunSpec, windows_uri: str) -> None:
    """Generates with `checkpoint_uri` at `temperature` and reports the divergence from the text of `val`."""
    from textgen.generation.stream import Request

    settings = sampling_at(spec, config["temperature"])
    requests = [Request(prompt="", settings=settings, index=index) for index in range(spec.sweep.num_completions)]
    completions = _engine(config["checkpoint_uri"]).generate(requests)
    counts = ngram_counts(completion.completion for completion in completions)
    reference = _reference_counts(windows_uri, spec.sweep)
    tune.report({"divergence": jensen_shannon(counts, reference) if counts else 1.0})


def sampling_at(spec: RunSpec, temperature: float) -> SamplingSpec:
    """Returns the settings to try a temperature: single completions of the sweep's length, without stop texts."""
    return dataclasses.replace(
        spec.sampling, temperature=temperature, max_new_chars=spec.sweep.completion_chars, stop=(), n=1
    )


def reference_texts(manifest: Manifest, spec: SweepSpec) -> Iterator[str]:
    """Yields the texts to compare completions of the empty prompt with: the beginnings of documents of `val`.

    They are cut to the length of the completions. If a separator joins the documents, completions continue across it,
    so the joined text is cut into pieces instead.
    """
    length = spec.completion_chars
    texts = original_texts(manifest, "val")
    separator = manifest.vocabulary.separator
    if separator is None:
        yield from (text[:length] for text in itertools.islice(texts, MAX_REFERENCE_TEXTS))
        return
    characters = itertools.chain.from_iterable(text + separator for text in texts)
    for _ in range(MAX_REFERENCE_TEXTS):
        piece = "".join(itertools.islice(characters, length))
        if not piece:
            return
        yield piece


@functools.lru_cache(maxsize=1)
def _reference_counts(windows_uri: str, spec: SweepSpec) -> Counter[str]:
    return ngram_counts(reference_texts(Manifest.load(windows_uri), spec))


@functools.lru_cache(maxsize=1)
def _engine(checkpoint_uri: str) -> Engine:
    return engine_of(Checkpoint.load(checkpoint_uri))


def _report(figures: Mapping[str, Any]) -> None:
    """Reports the finite figures, because Tune's scheduler would treat NaN as a number."""
    tune.report({name: figures[name] for name in REPORTED if math.isfinite(comparable(figures.get(name)))})


def _say_nothing(message: str) -> None:
    """Drops a trial's progress; the sweep prints what trials report."""
