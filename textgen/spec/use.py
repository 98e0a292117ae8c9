"""What is done with a model: how completions are drawn, what a sweep tries."""

from __future__ import annotations

from dataclasses import dataclass

from textgen.settings import check

MAX_TEMPERATURE = 1000.0
"""Text is drawn evenly from all characters long before; further on 32 bits would not hold the logits' quotients."""


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """How a completion is drawn."""

    temperature: float = 0.7
    """Divides the logits; 0 is greedy."""
    top_k: int | None = None
    """Draws among the k likeliest ids; None among all."""
    top_p: float = 1.0
    """Draws among the likeliest ids that together have this probability."""
    max_new_chars: int = 400
    """Limit of a completion, in characters (code points); no accent or joined emoji is cut off at it."""
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these texts."""
    n: int = 1
    """Completions per prompt."""
    seed: int = 0
    """Seed of the completions: with prompt and index of a completion it starts the generator of its stream."""

    def __post_init__(self) -> None:
        check(
            0 <= self.temperature <= MAX_TEMPERATURE,
            f"sampling.temperature is {self.temperature}; use 0 (greedy) to {MAX_TEMPERATURE:g}",
        )
        check(self.top_k is None or self.top_k >= 1, f"sampling.top_k is {self.top_k}; use 1 or more, or none")
        check(0 < self.top_p <= 1, f"sampling.top_p is {self.top_p}; it must lie in (0, 1]")
        for name in ("max_new_chars", "n"):
            check(getattr(self, name) >= 1, f"sampling.{name} is {getattr(self, name)}; use 1 or more")
        check(0 <= self.seed < 2**63, f"sampling.seed is {self.seed}; it must lie in [0, 2**63)")
        check(all(self.stop), "sampling.stop has an empty text; leave it out")


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """What a sweep tries: hidden sizes by `val_bits_per_character`, then temperatures by divergence."""

    units: tuple[int, ...] = (64, 128, 256)
    """Hidden sizes, one trial each."""
    temperatures: tuple[float, ...] = (0.5, 0.7, 0.85, 1.0)
    """Temperatures tried on the best checkpoints."""
    num_best: int = 1
    """Best checkpoints for which temperatures are tried."""
    num_completions: int = 200
    """Completions per temperature."""
    completion_chars: int = 200
    """Length of each, in characters."""
    max_concurrent_trials: int = 1
    """Trials that train at the same time."""

    def __post_init__(self) -> None:
        for name in ("num_best", "num_completions", "completion_chars", "max_concurrent_trials"):
            check(getattr(self, name) >= 1, f"sweep.{name} is {getattr(self, name)}; use 1 or more")
        check(len(self.units) > 0, "sweep.units is empty; give at least one hidden size, such as [128]")
        check(all(units >= 1 for units in self.units), f"sweep.units is {list(self.units)}; each is 1 or more")
        check(len(self.temperatures) > 0, "sweep.temperatures is empty; give at least one, such as [0.7]")
        check(
            all(0 <= temperature <= MAX_TEMPERATURE for temperature in self.temperatures),
            f"sweep.temperatures is {list(self.temperatures)}; each is 0 (greedy) to {MAX_TEMPERATURE:g}",
        )
