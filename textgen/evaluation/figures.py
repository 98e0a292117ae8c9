"""Scores a checkpoint on a split, with baselines on the same text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray

from textgen.errors import UserError
from textgen.evaluation.baselines import ORDERS, baselines, check_orders
from textgen.evaluation.classifier_figures import classifier_figures
from textgen.evaluation.original_text import OriginalSizes
from textgen.evaluation.tally import Tally
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.progress import Say
from textgen.settings import check
from textgen.waiting import Need, wait_for
from textgen.windows.dataset import batches_of, scoring_dataset
from textgen.windows.manifest import SPLITS, Manifest

PROGRESS_SECONDS = 10.0


def evaluate(
    checkpoint_uri: str,
    *,
    windows_uri: str | None = None,
    split: str = "test",
    count_orders: Sequence[int] = ORDERS,
    num_completions: int = 0,
    say: Say,
) -> dict[str, Any]:
    """Scores a checkpoint, or the best one of a run, on a split of a manifest; returns JSON values.

    Needs a connected Ray: a Ray Dataset reads the split, and a Ray task computes the baselines in parallel. For a
    classifier, returns the result of `classifier_figures`. A model with counts is scored without them, too.

    Args:
        checkpoint_uri: A checkpoint or a run.
        windows_uri: The manifest; None uses the one that the checkpoint was trained on.
        split: The split to score.
        count_orders: Orders of the count models.
        num_completions: Number of completions to generate and measure.
        say: Receives progress.

    Raises:
        UserError: the manifest's vocabulary differs from the checkpoint's, the split is empty, an order is out of
            range, `num_completions` is negative, or the cluster had no free CPU within the limit of `waiting`.
    """
    started = time.monotonic()
    check_orders(count_orders)
    check(num_completions >= 0, f"--completions is {num_completions}; use 0 (none) or more")
    checkpoint = find_checkpoint(checkpoint_uri)
    manifest = Manifest.load(windows_uri or checkpoint.manifest_uri)
    check_fit(checkpoint, manifest, split=split)
    if checkpoint.classes:
        return classifier_figures(checkpoint, manifest, split=split, say=say)
    figures = _language_figures(checkpoint, manifest, split=split, count_orders=count_orders, say=say)
    if num_completions:
        from textgen.evaluation.generated_text import completion_figures  # Loads the generation engine.

        figures["completions"] = completion_figures(
            checkpoint, manifest, num_completions=num_completions, split=split, say=say
        )
    return figures | {"seconds": round(time.monotonic() - started, 1)}


def _language_figures(
    checkpoint: Checkpoint, manifest: Manifest, *, split: str, count_orders: Sequence[int], say: Say
) -> dict[str, Any]:
    wait_for(Need(what="the tasks that read the split", resources={"CPU": 1}), say=say)
    num_ids = manifest.split(split).num_ids
    say(f"scoring {num_ids:,} ids of {split} with {checkpoint.uri}")
    one_cpu: Any = ray.remote(num_cpus=1)
    counting = one_cpu(baselines).remote(manifest, split=split, orders=list(count_orders))
    scoring_started = time.monotonic()
    tally = OriginalSizes(manifest, split).counted(score(checkpoint, manifest, split=split, say=say))
    scoring_seconds = time.monotonic() - scoring_started
    figures = {
        "checkpoint_uri": checkpoint.uri,
        "windows_uri": manifest.uri,
        "split": split,
        "documents": manifest.split(split).num_documents,
        "characters": tally.num_characters,
        "loss": tally.loss,
        "bits_per_character": tally.bits_per_character,
        "bits_per_byte": tally.bits_per_byte,
        "perplexity": tally.perplexity,
        "accuracy": tally.accuracy,
        "unknown_rate": tally.unknown_rate,
        "baselines": ray.get(counting),
        "trained_on_this_manifest": manifest.hash == checkpoint.manifest_hash,
        "chars_per_second": round(tally.num_characters / scoring_seconds, 1),
    }
    if checkpoint.counts is not None:
        say("scoring the counts alone")
        alone = score(checkpoint, manifest, split=split, counts_alone=True, say=say)
        bits = OriginalSizes(manifest, split).counted(alone).bits_per_character
        figures |= {"bits_per_character_of_counts_alone": bits, "ids_counted": checkpoint.counts["num_ids"]}
    return figures


def score(checkpoint: Checkpoint, manifest: Manifest, *, split: str, counts_alone: bool = False, say: Say) -> Tally:
    """Returns the tally of all ids of a split, read through a Ray Dataset, by the model or its counts alone."""
    from textgen.evaluation.scoring import CHUNK_IDS, NUM_LANES, Scorer  # Loads TensorFlow, so after the checks.
    from textgen.model.sliding import as_trained

    num_ids = manifest.split(split).num_ids
    model = as_trained(checkpoint.build_model(counts_alone=counts_alone), checkpoint.spec)
    rows = scoring_dataset(
        manifest, split=split, context_length=CHUNK_IDS, num_lanes=NUM_LANES, lead_ids=model.lead_ids
    )
    said = time.monotonic()

    def progress(num_scored: int) -> None:
        nonlocal said
        if time.monotonic() - said >= PROGRESS_SECONDS:
            said = time.monotonic()
            say(f"scored {num_scored:,} of {num_ids:,} ids")

    scorer = Scorer(model, checkpoint.vocabulary)
    return scorer.score(batches_of(rows, num_rows=NUM_LANES), progress=progress)


def check_fit(checkpoint: Checkpoint, manifest: Manifest, *, split: str) -> None:
    """Checks that a checkpoint can score a split of a manifest.

    Raises:
        UserError: their vocabularies differ, or the split is empty.
    """
    if checkpoint.vocabulary != manifest.vocabulary:
        raise UserError(
            f"{checkpoint.uri} has a vocabulary of {checkpoint.vocabulary.size} ids and {manifest.uri} one of "
            f"{manifest.vocabulary.size}; evaluate on the windows that it was trained on, {checkpoint.manifest_uri}"
        )
    if not manifest.split(split).num_ids:
        others = [name for name in SPLITS if manifest.split(name).num_ids]
        raise UserError(
            f"the split {split} of {manifest.uri} is empty; use one with text, --split: {', '.join(others)}"
        )
