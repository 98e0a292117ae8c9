"""The plan of a batch: `batch.json`, written before any output, by which the same command finds its work again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textgen import storage
from textgen.batch.cutting import Shard
from textgen.batch.rows import InputFile
from textgen.batch.tasks import Work, shards_uri
from textgen.errors import UserError
from textgen.progress import Say

PLAN_NAME = "batch.json"
MARKER_NAME = "_SUCCESS"
"""Stands beside the shards when all of them do; holds the totals."""
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to which rows, in which shards."""

    work: Work
    checkpoint_hashes: Mapping[str, str]
    """sha256 of the checkpoint's files."""
    files: tuple[InputFile, ...]
    rows_per_shard: int
    shards: tuple[Shard, ...] = ()

    @property
    def num_rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_outputs(self) -> int:
        """Outputs of all shards."""
        return sum(shard.num_outputs for shard in self.shards)

    def save(self, output: str) -> None:
        """Writes the plan."""
        content = {
            "format_version": FORMAT_VERSION,
            "job": self.work.job,
            "checkpoint": {"uri": self.work.checkpoint_uri, "sha256": dict(self.checkpoint_hashes)},
            "settings": dict(self.work.settings),
            "rows_per_shard": self.rows_per_shard,
            "num_rows": self.num_rows,
            "num_outputs": self.num_outputs,
            "inputs": [dataclasses.asdict(file) for file in self.files],
            "shard_fields": [field.name for field in dataclasses.fields(Shard)],
            "shards": [shard.to_list() for shard in self.shards],
        }
        storage.write_bytes(storage.join(output, PLAN_NAME), json.dumps(content, ensure_ascii=False).encode())

    @classmethod
    def load(cls, output: str) -> Plan | None:
        """Returns the plan of an output; None where there is none.

        Raises:
            UserError: it is of another version.
        """
        content = storage.read_if_exists(storage.join(output, PLAN_NAME))
        if content is None:
            return None
        values = json.loads(content)
        if values["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"{output} holds a batch of format version {values['format_version']}, and this is for "
                f"{FORMAT_VERSION}; choose another --output"
            )
        return cls(
            work=Work(job=values["job"], checkpoint_uri=values["checkpoint"]["uri"], settings=values["settings"]),
            checkpoint_hashes=values["checkpoint"]["sha256"],
            files=tuple(InputFile(**file) for file in values["inputs"]),
            rows_per_shard=values["rows_per_shard"],
            shards=tuple(Shard.from_list(shard) for shard in values["shards"]),
        )


def begun(wanted: Plan, output: str, *, say: Say) -> Plan | None:
    """Returns the plan of an output that the same command began; None where nothing stands there.

    Raises:
        UserError: shards of another checkpoint, other input or other settings stand there.
    """
    there = Plan.load(output)
    place = shards_uri(output, wanted.work)
    if there is None:
        if storage.list_files(place):
            raise UserError(f"{place} holds files that no batch of {output} wrote; choose another --output")
        return None
    different = _differences(there, wanted)
    if not different:
        return there
    if storage.list_files(shards_uri(output, there.work)):
        raise UserError(
            f"{output} holds a batch with other {' and '.join(different)}; choose another --output, or complete that "
            "one by its own command"
        )
    say(f"nothing of the batch in {output} is finished, and it has other {' and '.join(different)}; beginning anew")
    return None


def _differences(there: Plan, wanted: Plan) -> list[str]:
    """Returns what differs between two plans, in words."""
    names = []
    if there.work.job != wanted.work.job:
        return [f"work (jobs.{there.work.job})"]
    if there.checkpoint_hashes != wanted.checkpoint_hashes:
        names.append(f"weights ({there.work.checkpoint_uri}; now {wanted.work.checkpoint_uri})")
    if [file.uri for file in there.files] != [file.uri for file in wanted.files]:
        names.append("files of --input")
    elif there.files != wanted.files:
        changed = next(old.uri for old, new in zip(there.files, wanted.files, strict=True) if old != new)
        names.append(f"content of --input ({changed} has changed)")
    old, new = _flat(there.work.settings), _flat(wanted.work.settings)
    names += [f"{name} ({old.get(name)}; now {new.get(name)})" for name in new if new[name] != old.get(name)]
    if there.rows_per_shard != wanted.rows_per_shard:
        names.append(f"--rows-per-shard ({there.rows_per_shard}; now {wanted.rows_per_shard})")
    return names


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings by name, those of a section as `section.name`."""
    flat = {name: value for name, value in settings.items() if name != "sampling"}
    return flat | {f"sampling.{name}": value for name, value in settings.get("sampling", {}).items()}
