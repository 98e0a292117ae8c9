"""What one trial of a sweep does, in a process of the cluster: train a hidden size, or try a temperature."""

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
from textgen.windows.manifest import Manifest
from textgen.windows.shards import original_texts

if TYPE_CHECKING:
    from textgen.generation.engine import Engine

MAX_REFERENCE_TEXTS = 2000
"""Beginnings of documents of `val` that completions are compared with, at most."""
REPORTED = ("step", "epoch", "loss", "val_loss", "val_bits_per_character")


def runs_uri(output: str) -> str:
    """Returns where a sweep keeps the runs of its trials."""
    return storage.join(output, "runs")


def run_name(units: int) -> str:
    """Returns the name of a hidden size's run."""
    return f"units-{units}"


def trial_spec(spec: RunSpec, units: int) -> RunSpec:
    """Returns what a hidden size is trained by: the sweep's spec, without samples."""
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
    """Trains the hidden size `units`, or goes on with its run, and reports every validation.

    One worker is this process itself. More are started by Ray Train, which costs some 35 s a trial. A run that goes on
    reports its validations so far first: a scheduler compares sizes at equal steps.

    Raises:
        LeaseLostError: the sweep is another driver's than `driver`.
    """
    from textgen.runs import lease
    from textgen.runs.recording import read_history
    from textgen.training.driver import train, train_here  # Here: a driver that only looks has no use for Ray Train.

    lease.check(output, driver)
    spec = trial_spec(spec, config["units"])
    name = run_name(config["units"])
    for figures in read_history(storage.join(runs_uri(output), name)):
        _report(figures)
    if num_workers == 1:
        outcome = train_here(
            spec,
            manifest_uri=windows_uri,
            output=runs_uri(output),
            run_name=name,
            num_threads=num_threads,
            acknowledge=True,  # Asked once, by the sweep.
            say=_say_nothing,
            report=_report,
        )
    else:
        from ray.tune.integration.ray_train import TuneReportCallback

        outcome = train(
            spec,
            manifest_uri=windows_uri,
            output=runs_uri(output),
            run_name=name,
            num_workers=num_workers,
            callbacks=[TuneReportCallback()],
            acknowledge=True,
            say=_say_nothing,
        )
    _report(outcome)


def temperature_trial(config: Mapping[str, Any], *, spec: RunSpec, windows_uri: str) -> None:
    """Generates at `temperature` from `checkpoint_uri` and reports the divergence from the text of `val`."""
    from textgen.generation.stream import Request

    settings = sampling_at(spec, config["temperature"])
    requests = [Request(prompt="", settings=settings, index=index) for index in range(spec.sweep.num_completions)]
    completions = _engine(config["checkpoint_uri"]).generate(requests)
    counts = ngram_counts(completion.completion for completion in completions)
    reference = _reference_counts(windows_uri, spec.sweep)
    tune.report({"divergence": jensen_shannon(counts, reference) if counts else 1.0})


def sampling_at(spec: RunSpec, temperature: float) -> SamplingSpec:
    """Returns how a temperature is tried: single completions of the sweep's length, nothing that ends them early."""
    return dataclasses.replace(
        spec.sampling, temperature=temperature, max_new_chars=spec.sweep.completion_chars, stop=(), n=1
    )


def reference_texts(manifest: Manifest, spec: SweepSpec) -> Iterator[str]:
    """Yields what completions of the empty prompt are compared with: the beginnings of the first documents of `val`.

    They are cut to the length of the completions. Where a text joins the documents, completions run on over it, and
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
    """Reports the figures that are numbers: Tune's scheduler would take NaN for one."""
    tune.report({name: figures[name] for name in REPORTED if math.isfinite(comparable(figures.get(name)))})


def _say_nothing(message: str) -> None:
    """Drops a trial's own lines of progress; the sweep says what trials report."""
