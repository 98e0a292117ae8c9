"""A batch loses and doubles no row, resumes where it stopped, and is not mixed with another one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.batch.shouting import Shouting, lines_of, shout_checkpoint, shout_work, shouting
from textgen.batch import run, tasks
from textgen.batch.cutting import Shard
from textgen.batch.plan import Plan
from textgen.batch.run import Progress, run_batch
from textgen.batch.tasks import Work
from textgen.errors import UserError

__all__ = ["shouting"]
TEXTS = 23


@pytest.fixture
def work(tmp_path: Path, shouting: type[Shouting]) -> Work:
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [json.dumps({"text": f"text {number}", "n": 1 + number % 3, "id": number}) for number in range(TEXTS)]
    (folder / "a.jsonl").write_text("\n".join(rows[:10]))
    (folder / "b.jsonl").write_text("\n".join(rows[10:]) + "\n\n")
    return shout_work(shout_checkpoint(tmp_path / "checkpoint"))


def shouted(work: Work, output: Path, *, said: list[str] | None = None, **arguments: Any) -> dict[str, Any]:
    say = (lambda _: None) if said is None else said.append
    arguments = {"rows_per_shard": 3, "inputs": [str(output.parent / "in")], **arguments}
    return run_batch(work, output=str(output), say=say, **arguments)


def shards(output: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (output / "shouts").glob("part-*")}


EXPECTED = [
    {
        "input_file": "a.jsonl" if number < 10 else "b.jsonl",
        "input_row": number + 1 if number < 10 else number - 9,
        "id": number,
        "shout": f"TEXT {number}!",
    }
    for number in range(TEXTS)
    for _ in range(1 + number % 3)
]


def test_every_row_makes_its_lines_in_order(work: Work, tmp_path: Path) -> None:
    result = shouted(work, tmp_path / "out")
    lines = lines_of(tmp_path / "out/shouts")
    assert [{**line, "input_file": Path(line["input_file"]).name} for line in lines] == EXPECTED
    assert (result["texts"], result["shouts"], result["shards"]) == (TEXTS, len(EXPECTED), 4 + 5)
    assert json.loads((tmp_path / "out/shouts/_SUCCESS").read_text()) == result
    plan = Plan.load(str(tmp_path / "out"))
    assert plan is not None
    assert (plan.num_rows, plan.num_outputs) == (TEXTS, len(EXPECTED))


@pytest.mark.parametrize("after", [0, 3, 8, 22])
def test_what_was_broken_off_is_continued(work: Work, tmp_path: Path, after: int) -> None:
    shouted(work, tmp_path / "whole")
    Shouting.texts_left = after
    with pytest.raises(RuntimeError, match="hoarse"):
        shouted(work, tmp_path / "out")
    Shouting.texts_left = None
    before = shards(tmp_path / "out")
    assert not (tmp_path / "out/shouts/_SUCCESS").exists()
    said: list[str] = []
    result = shouted(work, tmp_path / "out", said=said)
    now = shards(tmp_path / "out")
    assert {name: now[name] for name in before} == before, "finished shards are not written again"
    assert {name: content for name, (_, content) in now.items()} == {
        name: content for name, (_, content) in shards(tmp_path / "whole").items()
    }
    assert (f"{len(before)} of 9 shards are finished already; continuing" in said) == bool(before)
    done = sum(content.count(b"\n") for _, content in before.values())
    assert (result["shouts"], result["added"]) == (len(EXPECTED), len(EXPECTED) - done)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(path.read_bytes() * 2),
        lambda path: path.write_text("[]\n"),
        lambda path: path.unlink(),
    ],
)
def test_a_shard_that_is_not_whole_is_written_again(work: Work, tmp_path: Path, harm: Any) -> None:
    shouted(work, tmp_path / "out")
    before = {name: content for name, (_, content) in shards(tmp_path / "out").items()}
    (tmp_path / "out/shouts/_SUCCESS").unlink()
    harm(tmp_path / "out/shouts/part-000002.jsonl")
    shouted(work, tmp_path / "out")
    assert {name: content for name, (_, content) in shards(tmp_path / "out").items()} == before


def test_a_finished_batch_is_left_alone(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = shouted(work, tmp_path / "out")
    for name in ("run_tasks", "run_in_pool"):
        monkeypatch.setattr(run, name, None)
    said: list[str] = []
    assert shouted(work, tmp_path / "out", said=said, num_workers=5) == result
    assert "finished already" in said[-1]


def test_another_batch_is_refused_where_shards_stand(work: Work, tmp_path: Path) -> None:
    output, first = tmp_path / "out", tmp_path / "in/a.jsonl"
    Shouting.texts_left = 7
    with pytest.raises(RuntimeError):
        shouted(work, output)
    Shouting.texts_left = None
    with pytest.raises(UserError, match=r"a batch with other mark \(!; now \?\); choose another --output"):
        shouted(shout_work(work.checkpoint_uri, mark="?"), output)
    other = shout_checkpoint(tmp_path / "other", weight=1.0)
    with pytest.raises(UserError, match=r"other weights \(.*checkpoint; now .*other\)"):
        shouted(shout_work(other), output)
    with pytest.raises(UserError, match=r"other --rows-per-shard \(3; now 4\)"):
        shouted(work, output, rows_per_shard=4)
    with pytest.raises(UserError, match="other files of --input"):
        shouted(work, output, inputs=[str(first)])
    content, about = first.read_text(), first.stat()
    first.write_text(content + "\n" + json.dumps({"text": "more"}))
    with pytest.raises(UserError, match=r"other content of --input \(.*a\.jsonl has changed\)"):
        shouted(work, output)
    first.write_text(content)
    os.utime(first, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert shouted(work, output)["texts"] == TEXTS


def test_a_batch_of_which_nothing_is_finished_is_replaced(work: Work, tmp_path: Path) -> None:
    Shouting.texts_left = 0
    with pytest.raises(RuntimeError):
        shouted(work, tmp_path / "out")
    Shouting.texts_left = None
    said: list[str] = []
    shouted(shout_work(work.checkpoint_uri, mark="?"), tmp_path / "out", said=said)
    assert "nothing of the batch" in said[0]
    assert lines_of(tmp_path / "out/shouts")[0]["shout"] == "TEXT 0?"


def test_files_of_nobody_are_not_mixed_with_shards(work: Work, tmp_path: Path) -> None:
    (tmp_path / "out/shouts").mkdir(parents=True)
    (tmp_path / "out/shouts/part-000000.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="holds files that no batch of"):
        shouted(work, tmp_path / "out")


def test_a_wrong_row_ends_it_before_anything_is_written(work: Work, tmp_path: Path) -> None:
    with (tmp_path / "in/b.jsonl").open("a") as file:
        file.write('{"body": "x"}\n')
    with pytest.raises(UserError, match=r"row 15 of .*b\.jsonl: it has no text"):
        shouted(work, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_input_that_changes_meanwhile_is_noticed(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examine = tasks.examine

    def changed(*arguments: Any, **others: Any) -> Any:
        yield from examine(*arguments, **others)
        (tmp_path / "in/a.jsonl").write_text('{"text": "another"}\n')

    monkeypatch.setattr(tasks, "examine", changed)
    with pytest.raises(UserError, match=r"a\.jsonl has changed since"):
        shouted(work, tmp_path / "out")


def test_no_rows_make_no_lines(work: Work, tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text(" \n\n")
    said: list[str] = []
    result = shouted(work, tmp_path / "out", inputs=[str(tmp_path / "blank.txt")], said=said)
    assert (result["texts"], result["shards"]) == (0, 0)
    assert any("blank.txt holds no row, so nothing is shouted" in line for line in said)


@pytest.mark.parametrize("name", ["rows_per_shard", "num_workers"])
def test_counts_are_1_or_more(work: Work, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} is 0; use 1 or more"):
        shouted(work, tmp_path / "out", **{name: 0})


def test_a_worker_that_is_started_again_says_as_much_as_before(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PROGRESS_OUTPUTS", 4)
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": str(number)}) for number in range(10)))
    shouted(work, tmp_path / "out", inputs=[str(path)], rows_per_shard=99)
    plan = Plan.load(str(tmp_path / "out"))
    assert plan is not None
    item = {"file": vars(plan.files[0]), "shards": [(0, shard.to_list()) for shard in plan.shards]}
    written = tmp_path / "out/shouts/part-000000.jsonl"
    about = written.stat()
    again = list(tasks.write(item, work=work, output=str(tmp_path / "out")))
    assert written.stat().st_mtime_ns == about.st_mtime_ns
    written.unlink()
    assert list(tasks.write(item, work=work, output=str(tmp_path / "out"))) == again
    assert [values.get("num_done") for values in again] == [4, 8, None]
    assert Shard.from_list(plan.shards[0].to_list()) == plan.shards[0]


def test_progress_is_measured_from_the_first_word_on() -> None:
    progress = Progress(num_all=1000, num_before=100)
    assert progress.at(100, 50.0) == "200 of 1,000"
    assert progress.at(100, 51.0) == "200 of 1,000"
    assert progress.at(300, 60.0) == "400 of 1,000, 20.0 a second, about 30 s left"
    assert progress.at(110, 60.0) == "210 of 1,000, 1.0 a second, about 13 min left"
    assert progress.at(101, 60.0).endswith("about 2.2 h left")
