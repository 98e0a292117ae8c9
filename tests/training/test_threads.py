"""The GPUs that a training process uses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from textgen.errors import UserError
from textgen.spec import TrainingSpec
from textgen.training.threads import require_gpu, share_threads

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("use_gpu", [True, False])
def test_gpus_that_the_worker_has_not_reserved_are_hidden(use_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    gpus = ["gpu 0", "gpu 1"]
    visible = list(gpus)
    grown: list[str] = []
    calls: dict[str, Any] = {
        "get_visible_devices": lambda kind: visible if kind == "GPU" else [],
        "set_visible_devices": lambda devices, _: visible.__setitem__(slice(None), devices),
        "threading": SimpleNamespace(
            set_intra_op_parallelism_threads=lambda _: None, set_inter_op_parallelism_threads=lambda _: None
        ),
        "experimental": SimpleNamespace(set_memory_growth=lambda gpu, _: grown.append(gpu)),
    }
    for name, call in calls.items():
        monkeypatch.setattr(tf.config, name, call)
    share_threads(2, TrainingSpec(), use_gpu=use_gpu)
    assert visible == grown == (gpus if use_gpu else [])


def test_a_gpu_that_tensorflow_does_not_find_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: ["gpu 0"])
    require_gpu()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: [])
    with pytest.raises(UserError, match=r"TensorFlow finds none; install requirements-cuda\.lock .*--device cpu$"):
        require_gpu()
