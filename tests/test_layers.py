"""Import rules: stages import only earlier stages, modules form no circles, early stages do not load TensorFlow."""

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
    *("corpus", "windows", "ingest", "counts", "model", "generation", "evaluation", "probing", "batch"),
    *("runs", "training", "sweep", "serving"),
)
FLOOR = (
    *("errors", "progress", "settings", "spec", "published_recipes", "presets"),
    *("storage", "local_files", "s3_client", "s3_objects", "outputs", "private_folders"),
    *("ray_session", "waiting"),
)
FACE = "loaded"
"""The module behind `textgen.load`, which may import every other part."""
WITHOUT_TENSORFLOW = (*STAGES[: STAGES.index("model")], "batch", "runs", *FLOOR, "local")


def imports(path: Path) -> set[str]:
    """Returns the dotted names that a module imports, at module level, in functions and under `TYPE_CHECKING`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_imported(path: Path) -> set[str]:
    """Returns the parts of `textgen` that a module imports, such as `windows` for `textgen.windows.lanes`."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("textgen.")}


def modules(part: str) -> list[Path]:
    """Returns the files of a part of `textgen`, a package or a module."""
    return sorted((ROOT / part).rglob("*.py")) or [ROOT / f"{part}.py"]


def modules_imported() -> dict[str, set[str]]:
    """Returns the modules of `textgen` that each module of `textgen` imports, by dotted name."""
    paths = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in paths.items():
        found = {name if name in paths else name.rpartition(".")[0] for name in imports(path)}
        graph[module] = {name for name in found if name in paths}
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Returns the modules of a circle of imports, the first repeated at the end; empty if there is none."""
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return []
        circle = next(filter(None, (visit(other, [*path, module]) for other in sorted(graph[module]))), [])
        finished.add(module)
        return circle

    return next(filter(None, (visit(module, []) for module in sorted(graph))), [])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_stages_to_its_left_and_the_floor(stage: str) -> None:
    allowed = {*STAGES[: STAGES.index(stage) + 1], *FLOOR}
    for path in modules(stage):
        assert parts_imported(path) <= allowed, f"{path} imports a later stage"


def test_the_floor_imports_no_stage() -> None:
    for part in FLOOR:
        for path in modules(part):
            assert parts_imported(path) <= {*FLOOR}, f"{path} imports a stage"


def test_local_imports_only_a_few_modules_of_the_floor() -> None:
    allowed = {"local", "errors", "progress", "private_folders", "s3_client"}
    for path in modules("local"):
        assert parts_imported(path) <= allowed, f"{path} imports more than {sorted(allowed)}"


def test_modules_form_no_circles() -> None:
    circle = circle_in(modules_imported())
    assert not circle, f"a circle of imports: {' -> '.join(circle)}"


def test_a_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_part_is_listed() -> None:
    found = {name for _, name, _ in pkgutil.iter_modules([str(ROOT)])}
    assert found == {*STAGES, *FLOOR, "local", FACE}


def test_nothing_imports_a_job() -> None:
    for path in ROOT.rglob("*.py"):
        assert not any(name.split(".")[0] == "jobs" for name in imports(path)), f"{path} imports a job"


def test_early_stages_and_the_floor_do_not_load_tensorflow() -> None:
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
