"""Configures the threads and GPUs of a training process; the functions import TensorFlow, which drivers do not need."""

from __future__ import annotations

import contextlib

from textgen.errors import UserError
from textgen.spec import TrainingSpec


def share_threads(num_threads: int, spec: TrainingSpec, *, use_gpu: bool = True) -> None:
    """Distributes threads within operations, or only between them if sums must not depend on how they are split.

    Without `use_gpu`, the GPUs of this machine are hidden, because they belong to others; Ray 2.60 does not hide them
    from a worker that has reserved none.
    """
    import tensorflow as tf

    is_fixed = spec.reduction == "fixed_order"
    if is_fixed:
        tf.config.experimental.enable_op_determinism()
    with contextlib.suppress(RuntimeError):  # A process that has used TensorFlow keeps its settings.
        if not use_gpu:
            tf.config.set_visible_devices([], "GPU")
        for gpu in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.threading.set_intra_op_parallelism_threads(1 if is_fixed else num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(num_threads if is_fixed else max(1, num_threads // 2))


def has_gpu() -> bool:
    """Returns whether TensorFlow finds a GPU in this process."""
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def require_gpu() -> None:
    """Checks that TensorFlow finds the GPU that this worker has reserved.

    Raises:
        UserError: it finds none, and would compute on one core.
    """
    if not has_gpu():
        raise UserError(
            "Ray gave this worker a GPU, but TensorFlow finds none; install requirements-cuda.lock on every machine, "
            "or give --device cpu"
        )
