"""Who imports whom: a stage only what stands left of it, and no stage before the model TensorFlow."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import textgen

ROOT = Path(textgen.__file__).resolve().parent
STAGES = (
    *("corpus", "windows", "ingest", "counts", "model", "generation", "evaluation", "probing"),
    *("runs", "training", "sweep", "serving"),
)
FLOOR = (
    *("errors", "progress", "settings", "spec", "presets"),
    *("storage", "local_files", "s3_client", "s3_objects", "outputs", "private_folders"),
    *("ray_session", "waiting"),
)
FACE = "loaded"
"""What `textgen.load` returns, before which everything stands."""
WITHOUT_TENSORFLOW = (*STAGES[: STAGES.index("model")], "runs", *FLOOR, "local")


def imports(path: Path) -> set[str]:
    """Returns the dotted names that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_imported(path: Path) -> set[str]:
    """Returns the parts of `textgen` that a module imports: `windows` for `textgen.windows.lanes`."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("textgen.")}


def modules(part: str) -> list[Path]:
    """Returns the files of a part of `textgen`, a package or a module."""
    return sorted((ROOT / part).rglob("*.py")) or [ROOT / f"{part}.py"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_stages_to_its_left_and_the_floor(stage: str) -> None:
    allowed = {*STAGES[: STAGES.index(stage) + 1], *FLOOR}
    for path in modules(stage):
        assert parts_imported(path) <= allowed, f"{path} reaches right"


def test_the_floor_imports_no_stage() -> None:
    for part in FLOOR:
        for path in modules(part):
            assert parts_imported(path) <= {*FLOOR}, f"{path} reaches up"


def test_the_background_imports_the_smallest_of_the_floor_alone() -> None:
    smallest = {"local", "errors", "progress", "private_folders", "s3_client"}
    for path in modules("local"):
        assert parts_imported(path) <= smallest, f"{path} reaches out"


def test_every_part_is_named_above() -> None:
    found = {name for _, name, _ in pkgutil.iter_modules([str(ROOT)])}
    assert found == {*STAGES, *FLOOR, "local", FACE}


def test_nothing_imports_a_job() -> None:
    for path in ROOT.rglob("*.py"):
        assert not any(name.split(".")[0] == "jobs" for name in imports(path)), f"{path} imports a job"


def test_early_stages_and_the_floor_load_no_tensorflow() -> None:
    names = [
        f"textgen.{name}" for name in WITHOUT_TENSORFLOW if (ROOT / name).is_dir() or (ROOT / f"{name}.py").exists()
    ]
    code = f"""
import importlib, pkgutil, sys
for name in {names!r}:
    module = importlib.import_module(name)
    for _, submodule, _ in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        if not submodule.endswith("__main__"):
            importlib.import_module(submodule)
heavy = sorted({{"tensorflow", "keras", "torch"}} & set(sys.modules))
sys.exit(f"loaded {{heavy}}" if heavy else 0)
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert finished.returncode == 0, finished.stderr
