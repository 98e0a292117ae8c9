"""The plan of a training, and which settings may change when it resumes."""

import typing
from pathlib import Path

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.errors import UserError
from textgen.runs.plan import COUNTS_COPIES, TrainingPlan, check_resumable, flops_per_input, flops_per_update
from textgen.runs.start import default_run_name
from textgen.settings import field_types
from textgen.spec import TrainingSpec, override


def test_the_plan_counts_windows_steps_and_parameters(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abcab"] * 10})  # 60 ids: a, b, c, END and UNKNOWN.
    spec = tiny_spec(training__global_batch_size=3, training__epochs=2.0, training__max_steps=None)
    plan = TrainingPlan.of(spec, manifest)
    assert plan.lanes.num_windows == 8  # 7 ids and the one after: starts 0, 7, ..., 49.
    assert plan.num_steps == 6  # 3 steps of 3 windows, twice.
    assert plan.num_parameters == 5 * 5 + 4 * 6 * (5 + 6 + 1) + 7 * 5
    line = plan.describe(spec, num_workers=2)
    assert "8 windows of 7 -> 6 steps of 3 = 2.00 epochs" in line
    assert "348 parameters; 2 workers" in line


def test_more_workers_need_less_memory_each_and_more_units_need_more(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abcab"] * 50})
    small, large = tiny_spec(), tiny_spec(model__units=600)
    plan, large_plan = TrainingPlan.of(small, manifest), TrainingPlan.of(large, manifest)
    assert plan.worker_bytes(small, num_workers=2) < plan.worker_bytes(small, num_workers=1)
    assert plan.worker_bytes(small, num_workers=1) < large_plan.worker_bytes(large, num_workers=1)


def test_counts_need_memory_up_to_their_bound_and_no_more_than_the_corpus_gives(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abcab" * 60_000]})  # 300,001 ids: at most 6 MB of counts.

    def size(megabytes: int) -> int:
        spec = tiny_spec(model__counts_order=4, model__counts_max_megabytes=megabytes)
        return TrainingPlan.of(spec, manifest).worker_bytes(spec, num_workers=1)

    assert size(2) - size(1) == COUNTS_COPIES * 2**20
    assert size(5) < size(6) == size(900)


@pytest.mark.parametrize("optimizer", typing.get_args(field_types(TrainingSpec)["optimizer"]))
def test_every_optimizer_has_a_plan(tmp_path: Path, optimizer: str) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abcab"] * 50})
    spec = tiny_spec(training__optimizer=optimizer, model__num_layers=2, model__layer_units=(6, 5))
    plan = TrainingPlan.of(spec, manifest)
    assert "parameters" in plan.describe(spec, num_workers=1)
    blocks = [(6, 6), (5, 6), (5, 5), (5, 6)]  # (short, long): recurrent and input kernels, an embedding of 5.
    by_hand = sum(4 * 5 * (2 * a * a * b + 2 * a * a * a + 2 * a * a * b) for a, b in blocks)
    assert flops_per_update(spec, vocab_size=plan.vocab_size) == (by_hand if optimizer == "muon" else 0)


def test_a_corpus_smaller_than_a_batch_names_the_number_to_change(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abcab"] * 4})
    with pytest.raises(UserError, match=r"training\.global_batch_size = 16 windows but the split has 3"):
        TrainingPlan.of(tiny_spec(), manifest)


def test_a_run_may_resume_with_more_steps_but_not_with_another_model() -> None:
    spec = tiny_spec()
    check_resumable(spec, override(spec, {"training.max_steps": 9000, "training.patience": 2}), run_uri="r")
    changed = override(spec, {"model.units": 9, "training.learning_rate": 0.5})
    with pytest.raises(UserError, match=r"model\.units \(6 -> 9\), training\.learning_rate \(0\.01 -> 0\.5\)"):
        check_resumable(spec, changed, run_uri="r")


def test_a_run_is_named_by_the_widths_of_its_layers(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abcab"]})
    names = [
        default_run_name(tiny_spec(**changes), manifest)
        for changes in ({"model__num_layers": 2}, {"model__num_layers": 3, "model__layer_units": (7, 7, 5)})
    ]
    assert names == [f"tiny-6x2-{manifest.hash[:8]}", f"tiny-7-7-5-{manifest.hash[:8]}"]


def test_operations_are_those_of_the_products() -> None:
    # One layer of 6 units after an embedding: 4 gates of 6 x 6; then 6 x 9 for the logits of each loss.
    assert flops_per_input(tiny_spec(), vocab_size=9) == 6 * (4 * 6 * 6 + 6 * 9)
    last = tiny_spec(training__order="shuffled", training__loss_at="last")
    assert flops_per_input(last, vocab_size=9) == round(6 * (4 * 6 * 6 + 6 * 9 / 7))
    deep = tiny_spec(model__num_layers=2, model__layer_units=(6, 5), model__dense_units=8, model__cell="gru")
    assert flops_per_input(deep, vocab_size=9) == 6 * (3 * 6 * 6 + 3 * 5 * (5 + 6) + 5 * 8 + 8 * 9)
