"""Restores a run, the same on every worker: from its newest intact checkpoint, another run's weights, or the first
worker's initial weights."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from textgen import storage
from textgen.errors import UnavailableError, UserError
from textgen.model.checkpoint import (
    BEST_NAME,
    MARKER_NAME,
    Arrays,
    Checkpoint,
    checkpoint_uri,
    checkpoint_uris,
    step_of,
)
from textgen.progress import Say
from textgen.runs.lineage import Lineage, first_weights
from textgen.runs.position import Position, Run, name_best, named_best
from textgen.training.collective import HostSum
from textgen.windows.manifest import Manifest
from textgen.windows.vocabulary import Vocabulary

NUM_TRIES = 3


def restored(run: Run, manifest: Manifest, host_sum: HostSum, *, say: Say) -> tuple[Checkpoint, Arrays] | None:
    """Returns the checkpoint to resume from and its training arrays, the same on every worker; None if there is none.

    Workers of a lost driver may still write checkpoints, and delete the one that this start has chosen; the search is
    then repeated.

    Raises:
        UserError: every checkpoint is damaged, or the checkpoint was trained on other windows.
    """
    for _ in range(NUM_TRIES):
        newest = _newest_step(run, say=say) if host_sum.rank == 0 else None
        step = int(host_sum.of_first(np.array([-1 if newest is None else newest]))[0])
        if step < 0:
            return None
        found = _read(checkpoint_uri(run.run_uri, step))
        if not host_sum(np.array([float(found is None)]))[0]:
            break
    else:
        raise UnavailableError(
            f"the checkpoints of {run.run_uri} were deleted while they were read, {NUM_TRIES} times; try again later"
        )
    assert found is not None, "a worker lacks the checkpoint, and the sum did not show it"
    checkpoint, _ = found
    if checkpoint.manifest_hash != manifest.hash:
        raise UserError(
            f"{checkpoint.uri} was trained on other windows than {run.manifest_uri}; "
            "give the original ones, or another --run-name"
        )
    if host_sum.rank == 0:
        _repair_best(run, position_of(checkpoint))
    return found


def load_first_weights(lineage: Lineage, model: Any, vocabulary: Vocabulary, *, seed: int, say: Say) -> None:
    """Loads the weights of another run's checkpoint; every worker reads it, so that all raise the same errors."""
    model.set_weights_by_name(first_weights(lineage, model, vocabulary, seed=seed))
    say(
        f"started from {lineage.uri}: {lineage.num_known_ids} of {vocabulary.size} ids known, "
        f"{lineage.num_added_ids} new"
    )


def share_weights(model: Any, host_sum: HostSum) -> None:
    """Copies the first worker's weights to every worker, and verifies the result."""
    shared = {name: host_sum.of_first(value) for name, value in model.get_weights_by_name().items()}
    model.set_weights_by_name(shared)
    own = float(zlib.crc32(b"".join(value.tobytes() for value in shared.values())))
    if host_sum(np.array([own]))[0] != own * host_sum.num_workers:
        raise RuntimeError("the workers start with different weights")


def position_of(checkpoint: Checkpoint) -> Position:
    """Returns the position that a checkpoint stores."""
    return Position(**checkpoint.position, metrics=dict(checkpoint.metrics))


def _read(uri: str) -> tuple[Checkpoint, Arrays] | None:
    """Returns a checkpoint with all its arrays in memory; None if it no longer exists."""
    try:
        checkpoint = Checkpoint.load(uri)
        checkpoint.weights  # noqa: B018 - reads and caches them.
        return checkpoint, checkpoint.training_arrays
    except UnavailableError:
        raise
    except UserError:
        if storage.exists(storage.join(uri, MARKER_NAME)):
            raise
        return None


def _newest_step(run: Run, *, say: Say) -> int | None:
    """Returns the step of a run's newest intact checkpoint; None if there is no checkpoint.

    Newer checkpoints that are damaged are reported and set aside: from then on they count as unfinished.

    Raises:
        UserError: all checkpoints are damaged, and are left as they are; or storage is not available.
    """
    for _ in range(NUM_TRIES):
        uris = checkpoint_uris(run.run_uri)
        damaged: dict[str, UserError] = {}
        for uri in reversed(uris):
            try:
                Checkpoint.load(uri).verify()
            except UnavailableError:
                raise  # It may be intact.
            except UserError as error:
                if storage.exists(storage.join(uri, MARKER_NAME)):
                    damaged[uri] = error
            else:
                for lost, why in damaged.items():
                    say(f"setting aside a damaged checkpoint: {why}")
                    storage.delete(storage.join(lost, MARKER_NAME))
                return step_of(uri)
        if len(damaged) == len(uris):  # None was deleted meanwhile.
            break
    if damaged:
        raise UserError(
            f"every checkpoint of {run.run_uri} is damaged ({', '.join(uri.rsplit('/', 1)[-1] for uri in damaged)}); "
            "restore one, or start again with another --run-name"
        )
    return None


def _repair_best(run: Run, position: Position) -> None:
    """Corrects `best.json` of a run that resumes from a position.

    The start before may have ended after it wrote a best checkpoint and before it recorded it, or the checkpoint that
    it recorded may have been set aside.
    """
    place = storage.join(run.run_uri, BEST_NAME)
    named = named_best(place)
    own = checkpoint_uri(run.run_uri, position.step).rsplit("/", 1)[-1]
    if position.is_at_its_best and named != own:
        name_best(place, own, loss=position.best_loss)
    elif named is not None and not any(uri.endswith(f"/{named}") for uri in checkpoint_uris(run.run_uri)):
        storage.delete(place)
