"""How a model learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from textgen.settings import check
from textgen.spec.use import MAX_TEMPERATURE


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """How the model learns: order of the windows, optimizer, schedule, and what happens every so often."""

    order: Literal["stateful", "shuffled"] = "stateful"
    """Lanes read front to back with the recurrent state carried, or in shuffled blocks with the state reset."""
    loss_at: Literal["every", "last"] = "every"
    """Which inputs of a window are followed by a prediction: every one, or the last alone. A model that has learnt from
    the last alone reads `windows.context_length` ids from a zero state before each prediction, in use as in training.
    """
    reduction: Literal["all_reduce", "fixed_order"] = "all_reduce"
    """How gradients are summed: in whatever order is fastest, so that another number of workers rounds differently, or
    part by part in one order, so that any number of workers comes to the same weights, bit by bit."""
    virtual_workers: int = 2
    """Parts of the global batch whose gradients are summed one after another; with `fixed_order`, and then as many
    workers as that at most."""
    mixed_precision: bool | None = None
    """Computes the layers of a language model in bfloat16, while weights and the sums over workers keep 32 bits. On
    GPUs of 2020 and later, and of a GRU everywhere, that is all but the logits. On CPUs it is the matrix products of
    LSTM layers in windows of up to 512 ids, each rounded to bfloat16, and takes 0.6 of the time at 256 units where the
    CPU has instructions for it, twice the time elsewhere. None decides when a run begins, and the run keeps it: true
    for LSTM layers on a CPU that has the instructions, false elsewhere."""
    fresh_share: float = 0.05
    """Share of the lanes whose recurrent state begins anew at each step of the order `stateful`, drawn at random. Text
    is written and scored from a state of zeros, of which lanes that never end learn nothing: 512 units without it took
    1,000 characters to recover (5.0 bits in the first 256, 1.8 from there on)."""
    block_windows: int = 64
    """Windows of a lane read at once, and shuffled together in the order `shuffled`; a power of two."""
    global_batch_size: int = 64
    """Windows (documents, for a classifier) per step, over all workers: the number of lanes."""
    epochs: float = 1.0
    """Passes over `train`; with `max_steps`, whichever ends first."""
    max_steps: int | None = None
    """Steps after which training ends; None goes by `epochs`."""
    optimizer: Literal["adam", "adamw", "muon", "rmsprop", "sgd"] = "adam"
    """Which update rule turns gradients into new weights, with Keras's constants. `muon` orthogonalises the updates of
    the kernels between hidden layers, which learns more in a step, and leaves the other weights to Adam."""
    learning_rate: float = 2e-3
    """Peak of the schedule."""
    muon_learning_rate: float = 0.02
    """Peak of the same schedule for the kernels that `muon` updates; `learning_rate` is that of the other weights."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises linearly from 0."""
    decay: Literal["cosine", "constant", "one_cycle", "slanted_triangular"] = "cosine"
    """What follows the warm-up: a cosine down to `final_learning_rate_share`, or nothing. The other two say how the
    rate rises too, in place of `warmup_steps`: `one_cycle` by a cosine over the first quarter of the steps, then down
    as `cosine` (the optimizer's momentum stays as it is); `slanted_triangular` in a line from 1/32 of the peak over the
    first tenth, then back to 1/32 in a line."""
    final_learning_rate_share: float = 0.05
    """Learning rate at the last step as a share of the peak."""
    layer_rate_factor: float = 1.0
    """Each group of layers learns at the rate of the group above it divided by this: discriminative rates. The groups
    are the embedding, each recurrent layer, and what stands above them, which learns at `learning_rate`."""
    unfreeze_every_steps: int | None = None
    """At first the last group of layers learns alone, and every so many steps one more: gradual unfreezing. What does
    not learn yet does not change at all. None lets all learn from the beginning."""
    weight_decay: float = 0.0
    """Decoupled weight decay, for `adamw`, and for the kernels that `muon` updates."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient; None does not clip."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """What becomes of a step whose loss or gradient is not a finite number: the training ends, or the step is left out
    and counted. Either way it changes no weight."""
    seed: int = 0
    """Seed of initial weights, dropout, window order and samples: one derived stream a purpose."""
    validate_every_steps: int = 500
    """Steps between validations; the last step always validates."""
    validation_chars: int = 200_000
    """Characters of `val` that a validation scores: always the first ones. A classifier's validation scores all."""
    patience: int | None = None
    """Validations without a better loss before training stops early; None never stops early."""
    checkpoint_every_steps: int | None = None
    """Steps between checkpoints, beside those by time; None goes by time alone."""
    checkpoint_every_seconds: float = 60.0
    """Seconds between checkpoints."""
    keep_checkpoints: int = 2
    """Latest checkpoints kept, beside the best."""
    sample_temperatures: tuple[float, ...] = (0.2, 0.5, 1.0, 1.2)
    """Temperatures of the samples printed after every validation; empty prints none."""
    sample_chars: int = 120
    """Length of those samples, in characters."""
    max_failures: int = 3
    """Times that a lost worker restarts the run from its last checkpoint."""
    record_steps: bool = False
    """Writes the hash of the windows and the loss of every step under the run's `steps/`."""

    def __post_init__(self) -> None:
        check(0 <= self.fresh_share <= 1, f"training.fresh_share is {self.fresh_share}; it must lie in [0, 1]")
        for name in (
            "block_windows",
            "global_batch_size",
            "virtual_workers",
            "validate_every_steps",
            "keep_checkpoints",
            "validation_chars",
            "sample_chars",
        ):
            check(getattr(self, name) >= 1, f"training.{name} is {getattr(self, name)}; use 1 or more")
        for name in ("max_steps", "checkpoint_every_steps", "patience", "unfreeze_every_steps"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"training.{name} is {value}; use 1 or more, or none")
        for name in ("epochs", "learning_rate", "muon_learning_rate"):
            value = getattr(self, name)
            check(0 < value < math.inf, f"training.{name} is {value}; it must be above 0 and finite")
        check(
            self.checkpoint_every_seconds > 0,
            f"training.checkpoint_every_seconds is {self.checkpoint_every_seconds}; it must be above 0",
        )
        for name in ("warmup_steps", "max_failures"):
            check(getattr(self, name) >= 0, f"training.{name} is {getattr(self, name)}; use 0 or more")
        check(0 <= self.seed < 2**63, f"training.seed is {self.seed}; it must lie in [0, 2**63)")
        check(
            all(0 <= temperature <= MAX_TEMPERATURE for temperature in self.sample_temperatures),
            f"training.sample_temperatures is {list(self.sample_temperatures)}; each is 0 (greedy) to "
            f"{MAX_TEMPERATURE:g}",
        )
        check(
            self.block_windows & (self.block_windows - 1) == 0,
            f"training.block_windows is {self.block_windows}; it must be a power of two, such as 64",
        )
        check(
            self.clip_norm is None or self.clip_norm > 0,
            f"training.clip_norm is {self.clip_norm}; it must be above 0, or none",
        )
        check(
            0 <= self.final_learning_rate_share <= 1,
            f"training.final_learning_rate_share is {self.final_learning_rate_share}; it must lie in [0, 1]",
        )
        check(
            1 <= self.layer_rate_factor < math.inf,
            f"training.layer_rate_factor is {self.layer_rate_factor}; use 1 (all layers alike) or more, such as 2.6",
        )
        check(self.weight_decay >= 0, f"training.weight_decay is {self.weight_decay}; use 0 or more")
        check(
            self.weight_decay == 0 or self.optimizer in ("adamw", "muon"),
            f"training.weight_decay is {self.weight_decay} with optimizer {self.optimizer}; adamw and muon decay",
        )
        check(
            self.reduction != "fixed_order" or self.virtual_workers <= self.global_batch_size,
            f"training.virtual_workers is {self.virtual_workers} with training.global_batch_size "
            f"{self.global_batch_size}, and each needs a row; lower the one or raise the other",
        )
        check(
            self.loss_at != "last" or self.order == "shuffled",
            f"training.loss_at is last with training.order {self.order}; it learns from windows that stand alone: "
            "set training.order=shuffled too",
        )
