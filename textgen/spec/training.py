"""Settings for training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from textgen.settings import check
from textgen.spec.use import MAX_TEMPERATURE


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Order of the windows, optimizer, learning-rate schedule, validation, checkpoints and samples."""

    order: Literal["stateful", "shuffled"] = "stateful"
    """Order of the windows. `stateful` reads each lane from start to end and carries the recurrent state between
    windows; `shuffled` reads windows in shuffled blocks, each from a zero state."""
    loss_at: Literal["every", "last"] = "every"
    """Positions of a window with a prediction: `every` position, or only the `last`. A model trained with `last` reads
    `windows.context_length` ids from a zero state before each prediction, in training and in generation."""
    reduction: Literal["all_reduce", "fixed_order"] = "all_reduce"
    """How gradients are summed. `all_reduce` uses the fastest order, so the rounding depends on the number of workers.
    `fixed_order` sums parts of the batch in a fixed order, so the weights are bit-identical for any number of
    workers."""
    virtual_workers: int = 2
    """Number of parts of the global batch that `fixed_order` sums one after another, which is also the largest number
    of workers. Unused with `all_reduce`."""
    mixed_precision: bool | None = None
    """Computes the layers of a language model in bfloat16, while weights and sums over workers keep 32 bits. On GPUs
    from 2020 or later, and for GRUs everywhere, this applies to everything but the logits. On CPUs it applies to the
    matrix products of LSTM layers in windows of up to 512 ids; at 256 units, training takes 0.6 times as long on CPUs
    with bfloat16 instructions, and twice as long on others. With none, the decision is made when a run
    starts and then kept: true for LSTM layers on a CPU with these instructions, false otherwise."""
    fresh_share: float = 0.05
    """Share of the lanes, drawn at random at each step, whose recurrent state is reset to zeros in the order
    `stateful`. Generation and scoring start from a zero state, which lanes without resets never see: without them, a
    model with 512 units needed 1,000 characters to recover (5.0 bits per character in the first 256, 1.8 from there
    on)."""
    block_windows: int = 64
    """Number of windows of a lane that are read together and, in the order `shuffled`, shuffled together. Must be a
    power of two."""
    global_batch_size: int = 64
    """Windows (documents, for a classifier) per step over all workers. This is also the number of lanes."""
    epochs: float = 1.0
    """Passes over `train`. If `max_steps` is also set, training ends at whichever comes first."""
    max_steps: int | None = None
    """Step at which training ends; None means that only `epochs` applies."""
    optimizer: Literal["adam", "adamw", "muon", "rmsprop", "sgd"] = "adam"
    """Optimizer, with Keras's default constants. `muon` updates the kernels between hidden layers by orthogonalized
    momentum, which learns more per step, and all other weights by Adam."""
    learning_rate: float = 2e-3
    """Learning rate at the peak of the schedule."""
    muon_learning_rate: float = 0.02
    """Learning rate, at the peak of the same schedule, of the kernels that `muon` updates; other weights use
    `learning_rate`. Unused with other optimizers."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises linearly from 0. Unused with `one_cycle` and `slanted_triangular`."""
    decay: Literal["cosine", "constant", "one_cycle", "slanted_triangular"] = "cosine"
    """Learning-rate schedule. After the warm-up, `cosine` decays to `final_learning_rate_share`, and `constant` stays
    at the peak. The other two replace the warm-up: `one_cycle` rises along a cosine over the first quarter of the steps
    and then decays like `cosine` (without cycling the momentum); `slanted_triangular` rises linearly from 1/32 of the
    peak over the first tenth and then falls linearly back to 1/32."""
    final_learning_rate_share: float = 0.05
    """Learning rate at the last step, as a share of the peak."""
    layer_rate_factor: float = 1.0
    """Factor by which the learning rate decreases from each group of layers to the one below (discriminative learning
    rates). The groups are the embedding, each recurrent layer, and the layers above, which use `learning_rate`."""
    unfreeze_every_steps: int | None = None
    """Steps after which one more group of layers is trained, beginning with only the top group (gradual unfreezing).
    Frozen layers do not change at all. None trains all layers from the start."""
    weight_decay: float = 0.0
    """Decoupled weight decay. Requires `adamw`, or `muon`, which applies it to the kernels it updates."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient; None disables clipping."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """What happens at a step whose loss or gradient is not finite: `stop` ends the training, `skip` skips and counts
    the step. Either way the weights do not change."""
    seed: int = 0
    """Seed from which separate random streams are derived for initial weights, dropout, window order and samples."""
    validate_every_steps: int = 500
    """Steps between validations. The last step is always validated."""
    validation_chars: int = 200_000
    """Number of characters at the start of `val` that a validation scores. For a classifier, it scores all of `val`."""
    patience: int | None = None
    """Number of validations without a lower loss after which training stops early; None disables early stopping."""
    checkpoint_every_steps: int | None = None
    """Steps between checkpoints, in addition to those by time; None means only by time."""
    checkpoint_every_seconds: float = 60.0
    """Seconds between checkpoints."""
    keep_checkpoints: int = 2
    """Number of latest checkpoints to keep, in addition to the best."""
    sample_temperatures: tuple[float, ...] = (0.2, 0.5, 1.0, 1.2)
    """Temperatures of the samples printed after every validation; empty disables samples."""
    sample_chars: int = 120
    """Length of these samples, in characters."""
    max_failures: int = 3
    """Number of times that a run restarts from its last checkpoint after losing a worker."""
    record_steps: bool = False
    """Whether to record the hash of the windows and the loss of every step under the run's `steps/`."""

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_optimization()
        self._check_combinations()

    def _check_numbers(self) -> None:
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
        check(0 <= self.fresh_share <= 1, f"training.fresh_share is {self.fresh_share}; it must lie in [0, 1]")
        check(0 <= self.seed < 2**63, f"training.seed is {self.seed}; it must lie in [0, 2**63)")
        check(
            all(0 <= temperature <= MAX_TEMPERATURE for temperature in self.sample_temperatures),
            f"training.sample_temperatures is {list(self.sample_temperatures)}; each must be from 0 (greedy) to "
            f"{MAX_TEMPERATURE:g}",
        )
        check(
            self.block_windows & (self.block_windows - 1) == 0,
            f"training.block_windows is {self.block_windows}; it must be a power of two, such as 64",
        )

    def _check_optimization(self) -> None:
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
            f"training.layer_rate_factor is {self.layer_rate_factor}; use 1 (the same rate for all layers) or more, "
            "such as 2.6",
        )
        check(self.weight_decay >= 0, f"training.weight_decay is {self.weight_decay}; use 0 or more")

    def _check_combinations(self) -> None:
        check(
            self.weight_decay == 0 or self.optimizer in ("adamw", "muon"),
            f"training.weight_decay is {self.weight_decay} with training.optimizer {self.optimizer}; only adamw and "
            "muon support weight decay: use 0, or set training.optimizer=adamw",
        )
        check(
            self.reduction != "fixed_order" or self.virtual_workers <= self.global_batch_size,
            f"training.virtual_workers is {self.virtual_workers} with training.global_batch_size "
            f"{self.global_batch_size}; each virtual worker needs a row: lower the first or raise the second",
        )
        check(
            self.loss_at != "last" or self.order == "shuffled",
            f"training.loss_at is last with training.order {self.order}; it requires independent windows: "
            "set training.order=shuffled too",
        )
