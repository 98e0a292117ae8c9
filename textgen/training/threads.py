"""How a training process shares out its threads; TensorFlow is imported by the call, as drivers have no use for it."""

from __future__ import annotations

import contextlib

from textgen.spec import TrainingSpec


def share_threads(num_threads: int, spec: TrainingSpec) -> None:
    """Shares the threads out, within operations or, where a sum may not depend on how it is cut, between them."""
    import tensorflow as tf

    is_fixed = spec.reduction == "fixed_order"
    if is_fixed:
        tf.config.experimental.enable_op_determinism()
    with contextlib.suppress(RuntimeError):  # A process that has computed already keeps what it was set to.
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.threading.set_intra_op_parallelism_threads(1 if is_fixed else num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(num_threads if is_fixed else max(1, num_threads // 2))
