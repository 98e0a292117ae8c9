"""What holds for every module: its size, its functions' sizes and return types, and where its tests stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50
CODE = sorted([*(ROOT / "textgen").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")])

TESTED_ELSEWHERE = {
    "counts/test_build.py": ("textgen/counts/contexts", "textgen/counts/counting", "textgen/counts/table"),
    "batch/test_run.py": (
        "textgen/batch/classifying",
        "textgen/batch/generating",
        "textgen/batch/outputs",
        "textgen/batch/plan",
        "textgen/batch/pool",
        "textgen/batch/tasks",
    ),
    "corpus/test_archives.py": ("textgen/corpus/naming",),
    "corpus/test_json.py": (
        "textgen/corpus/json_records",
        "textgen/corpus/json_scanner",
    ),
    "corpus/test_reading.py": ("textgen/ingest/result",),
    "corpus/test_records.py": (
        "textgen/corpus/formats",
        "textgen/corpus/parquet",
        "textgen/corpus/plain_text",
    ),
    "corpus/test_schema.py": ("textgen/corpus/doubts",),
    "corpus/test_tables.py": (
        "textgen/corpus/delimited",
        "textgen/corpus/detection",
    ),
    "corpus/test_twitter_archive.py": ("textgen/corpus/note_tweets",),
    "evaluation/test_count_model.py": ("textgen/evaluation/sorted_lookup",),
    "generation/test_engine.py": ("textgen/generation/loop",),
    "ingest/test_pipeline.py": (
        "textgen/ingest/duplicates",
        "textgen/ingest/plan",
    ),
    "ingest/test_resumed_pipeline.py": ("textgen/ingest/tasks",),
    "ingest/test_staging.py": ("textgen/ingest/grouping",),
    "jobs/test_chain.py": ("jobs/demo",),
    "jobs/test_command_line.py": ("textgen/errors",),
    "jobs/test_evaluate.py": ("textgen/evaluation/figures",),
    "jobs/test_generate.py": ("jobs/batch_mode",),
    "jobs/test_ingest.py": ("textgen/ingest/ray_tasks",),
    "jobs/test_progress.py": ("textgen/progress",),
    "local/test_local.py": (
        "textgen/local/__main__",
        "textgen/local/background",
        "textgen/local/checkout",
        "textgen/local/head",
        "textgen/local/s3",
        "textgen/local/submit",
    ),
    "model/test_language_model.py": (
        "textgen/model/layers",
        "textgen/model/named_weights",
    ),
    "probing/test_features.py": ("textgen/probing/state_reader",),
    "probing/test_probe.py": (
        "textgen/probing/document_forms",
        "textgen/probing/labelled",
        "textgen/probing/unit_effects",
    ),
    "runs/test_lease.py": ("textgen/training/team",),
    "serving/test_app.py": ("textgen/serving/protocol",),
    "spec/test_run.py": (
        "textgen/settings",
        "textgen/spec/corpus",
        "textgen/spec/model",
        "textgen/spec/training",
        "textgen/spec/use",
    ),
    "test_presets.py": ("textgen/published_recipes",),
    "test_storage_faults.py": ("textgen/s3_client",),
    "training/test_classifier.py": (
        "textgen/evaluation/classifier_figures",
        "textgen/evaluation/labelling",
        "textgen/training/objective",
    ),
    "training/test_driver.py": (
        "textgen/training/backend",
        "textgen/training/lost_workers",
        "textgen/training/worker",
    ),
    "training/test_loop.py": (
        "textgen/runs/preemption",
        "textgen/runs/recording",
        "textgen/training/learner",
        "textgen/training/samples",
        "textgen/training/validation",
    ),
    "training/test_rate_finder.py": ("jobs/find_learning_rate",),
    "training/test_step.py": (
        "textgen/model/dropout",
        "textgen/training/collective",
    ),
}
"""Modules without a test file of their own, by the file that tests what they do: parts of something that is tested as a
whole, and types."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


def functions(path: Path) -> Iterator[Function]:
    """Yields all functions of a module, nested ones and methods included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def file_for(path: Path) -> Path:
    """Returns where the tests of a module stand: `tests/runs/test_lease.py` for `textgen/runs/lease.py`."""
    folder = path.parent.relative_to(ROOT / "textgen" if path.is_relative_to(ROOT / "textgen") else ROOT)
    return TESTS / folder / f"test_{path.stem}.py"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_modules_and_functions_are_short_and_say_what_they_return(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_MODULE_LINES
    for function in functions(path):
        place = f"{path.name}:{function.lineno} {function.name}"
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < MAX_FUNCTION_LINES, place
        assert function.returns is not None, place


def test_every_module_has_its_test_file_or_a_named_one() -> None:
    modules = {name_of(path): file_for(path) for path in CODE if path.name != "__init__.py"}
    without = {name for name, tests in modules.items() if not tests.exists()}
    assert without == {module for named in TESTED_ELSEWHERE.values() for module in named}
    assert all((TESTS / tests).exists() for tests in TESTED_ELSEWHERE)
