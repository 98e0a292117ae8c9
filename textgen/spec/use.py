"""Settings for sampling completions and for sweeps."""

from __future__ import annotations

from dataclasses import dataclass

from textgen.settings import check

MAX_TEMPERATURE = 1000.0
"""Far below this temperature, sampling is already uniform. Above it, the quotients of logits may underflow 32 bits."""


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """How completions are sampled."""

    temperature: float = 0.7
    """Divisor of the logits; 0 means greedy decoding."""
    top_k: int | None = None
    """Samples only from the k most likely ids; None samples from all."""
    top_p: float = 1.0
    """Samples only from the smallest set of most likely ids whose total probability is at least this (nucleus
    sampling)."""
    max_new_chars: int = 400
    """Largest length of a completion, in characters (code points). A character is never separated from its accents, nor
    a joined emoji split, at the limit."""
    stop: tuple[str, ...] = ()
    """Texts at which a completion stops; it ends before the first occurrence of any of them."""
    n: int = 1
    """Number of completions per prompt."""
    seed: int = 0
    """Seed of the completions. Together with the prompt and the index of a completion, it determines the completion's
    random stream."""

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
        check(all(self.stop), "sampling.stop has an empty text; remove it")


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """Search space of a sweep: hidden sizes, compared by `val_bits_per_character`, then temperatures, by divergence."""

    units: tuple[int, ...] = (64, 128, 256)
    """Hidden sizes to train, one trial each."""
    temperatures: tuple[float, ...] = (0.5, 0.7, 0.85, 1.0)
    """Temperatures to evaluate on the best checkpoints."""
    num_best: int = 1
    """Number of best checkpoints on which temperatures are evaluated."""
    num_completions: int = 200
    """Number of completions generated per temperature."""
    completion_chars: int = 200
    """Length of each completion, in characters."""
    max_concurrent_trials: int = 1
    """Largest number of trials that train at the same time."""

    def __post_init__(self) -> None:
        for name in ("num_best", "num_completions", "completion_chars", "max_concurrent_trials"):
            check(getattr(self, name) >= 1, f"sweep.{name} is {getattr(self, name)}; use 1 or more")
        check(len(self.units) > 0, "sweep.units is empty; give at least one hidden size, such as [128]")
        check(all(units >= 1 for units in self.units), f"sweep.units is {list(self.units)}; each must be 1 or more")
        check(len(self.temperatures) > 0, "sweep.temperatures is empty; give at least one, such as [0.7]")
        check(
            all(0 <= temperature <= MAX_TEMPERATURE for temperature in self.temperatures),
            f"sweep.temperatures is {list(self.temperatures)}; each must be from 0 (greedy) to {MAX_TEMPERATURE:g}",
        )
