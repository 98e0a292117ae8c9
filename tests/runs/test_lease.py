"""Two drivers of one run: the newer one trains, the older one ends and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tensorflow

from tests.rendezvous import together  # noqa: E402
from tests.written_windows import tiny_spec, written_manifest  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.model.checkpoint import checkpoint_uris  # noqa: E402
from textgen.runs import lease  # noqa: E402
from textgen.runs.lease import DRIVERS_NAME, LeaseLostError  # noqa: E402
from textgen.runs.position import Run  # noqa: E402
from textgen.runs.recording import HISTORY_NAME  # noqa: E402
from textgen.runs.start import OUTCOME_NAME, keep_outcome, outcome_of, start_run  # noqa: E402
from textgen.spec import RunSpec  # noqa: E402
from textgen.training.collective import Alone, Collective  # noqa: E402
from textgen.training.loop import train_worker  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402


def test_the_last_driver_that_claimed_a_folder_holds_its_lease(tmp_path: Path) -> None:
    uri = str(tmp_path)
    lease.check(uri, "first")  # Nobody has claimed it.
    for driver in ("first", "first", "second"):
        lease.claim(uri, driver)
        lease.check(uri, driver)
    message = r"another command claimed \S+ at 20\S+ \(process \d+ on \S+\)"
    for act in (lease.check, lease.claim):  # Also when its workers are restarted.
        with pytest.raises(LeaseLostError, match=message):
            act(uri, "first")
    lines = (tmp_path / DRIVERS_NAME).read_text().splitlines()
    assert [json.loads(line)["driver"] for line in lines] == ["first", "second"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    texts = [f"the {('red', 'blue', 'green')[i % 3]} cat sat {i % 7} times" for i in range(60)]
    splits = {"train": texts, "val": texts[:7], "test": texts[:5]}
    return written_manifest(str(tmp_path_factory.mktemp("windows")), splits)


def spec_with(**due: int) -> RunSpec:
    return tiny_spec(
        training__global_batch_size=10,
        training__max_steps=12,
        training__sample_temperatures=(),
        training__record_steps=True,
        **{"training__validate_every_steps": 6} | {f"training__{name}": steps for name, steps in due.items()},
    )


def run_of(spec: RunSpec, manifest: Manifest, folder: Path, name: str = "run") -> Run:
    return start_run(spec, manifest_uri=manifest.uri, output=str(folder), run_name=name).run


def trained(run: Run, report: Any = None, *, collective: Collective | None = None) -> dict[str, Any]:
    return train_worker(run, collective or Alone(), say=[].append, report=report or [].append)


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("due", [{"validate_every_steps": 5}, {"checkpoint_every_steps": 8}])
def test_of_two_drivers_of_a_run_the_older_one_ends_before_it_writes(
    manifest: Manifest, tmp_path: Path, due: dict[str, int], num_workers: int
) -> None:
    spec = spec_with(**due)
    whole = trained(run_of(spec, manifest, tmp_path, "whole"))
    older, newer = run_of(spec, manifest, tmp_path), run_of(spec, manifest, tmp_path)

    def written() -> list[Any]:
        files = [HISTORY_NAME, *(f"steps/from-00000000-rank-{rank}.jsonl" for rank in range(num_workers))]
        return [checkpoint_uris(older.run_uri), *((tmp_path / "run" / name).read_text() for name in files)]

    before: list[list[Any]] = []

    def another_claims(figures: Mapping[str, Any]) -> None:
        if not before:
            lease.claim(newer.run_uri, newer.driver)
            before.append(written())

    def work(member: Collective) -> None:
        with pytest.raises(LeaseLostError):
            trained(older, another_claims if member.rank == 0 else None, collective=member)

    if num_workers == 1:
        work(Alone())
    else:
        together(num_workers, work)
    assert written() == before[0]
    outcome = trained(newer)
    assert outcome["step"] == 12
    assert outcome["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-4)


def test_an_outcome_belongs_to_its_driver(manifest: Manifest, tmp_path: Path) -> None:
    older, newer = run_of(spec_with(), manifest, tmp_path), run_of(spec_with(), manifest, tmp_path)
    assert outcome_of(older, num_steps=12) is None
    lease.claim(older.run_uri, older.driver)
    keep_outcome(older, {"step": 3})
    assert outcome_of(older, num_steps=12) == {"step": 3}
    assert outcome_of(newer, num_steps=12) is None
    assert outcome_of(newer, num_steps=3) == {"step": 3}  # Finished, while the newer one waited for machines.
    lease.claim(newer.run_uri, newer.driver)
    with pytest.raises(LeaseLostError):
        keep_outcome(older, {"step": 4})
    assert outcome_of(older, num_steps=12) == {"step": 3}


def test_a_user_error_while_resuming_is_reported_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))  # Another test's shards may hold the same bytes.
    texts = [f"the cat sat {i % 7} times" for i in range(60)]
    manifest = written_manifest(str(tmp_path / "windows"), {"train": texts, "val": texts[:7], "test": texts[:5]})
    lease.claim(str(tmp_path / "run"), "a driver that is gone")
    run = run_of(spec_with(), manifest, tmp_path)
    for shard in manifest.split("train").shards:
        (tmp_path / "windows" / shard.name).unlink()
    with pytest.raises(UserError, match="does not exist"):
        trained(run)
    keep_outcome(run, {"user_error": "it does not exist"})
    assert outcome_of(run, num_steps=12) == {"user_error": "it does not exist"}


def test_a_refused_start_does_not_disturb_a_training(manifest: Manifest, tmp_path: Path) -> None:
    training = run_of(spec_with(), manifest, tmp_path)
    lease.claim(training.run_uri, training.driver)
    with pytest.raises(UserError, match="started with other settings"):
        run_of(tiny_spec(model__units=77), manifest, tmp_path)
    run_of(spec_with(), manifest, tmp_path)  # One whose workers have not started.
    lease.check(training.run_uri, training.driver)
    assert not (tmp_path / "run" / OUTCOME_NAME).exists()
