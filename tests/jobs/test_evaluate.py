"""The job `evaluate` from a checkpoint and shards on S3 to its figures."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tests.jobs.job_process import mistake_of, result_of, run_job
from tests.written_windows import tiny_spec, written_manifest
from textgen.evaluation.baselines import baselines
from textgen.model.checkpoint import Checkpoint
from textgen.windows.batches import scoring_batches
from textgen.windows.lanes import ScoringLanes
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]

TRAIN = ["the cat sat on the mat", "a dog sat", "cats and dogs and mats"] * 9
TEST = ["the dog and the cat", "a mat!", "cats sat on dogs"] * 4


@pytest.fixture(scope="module")
def manifest(s3_server: str) -> Manifest:
    return written_manifest(f"{s3_server}/evaluate/windows", {"train": TRAIN, "val": [], "test": TEST})


@pytest.fixture(scope="module")
def run_uri(s3_server: str, manifest: Manifest) -> str:
    from textgen.model.language_model import LanguageModel

    spec = tiny_spec()
    checkpoint = Checkpoint(
        uri=f"{s3_server}/evaluate/run/checkpoints/step-00000003",
        spec=spec,
        vocabulary=manifest.vocabulary,
        run_name="run",
        manifest_uri=manifest.uri,
        manifest_hash=manifest.hash,
        position={"step": 3},
        metrics={},
    )
    checkpoint.save(
        weights=LanguageModel(spec.model, vocab_size=manifest.vocabulary.size, seed=2).get_weights_by_name()
    )
    return f"{s3_server}/evaluate/run"


@pytest.mark.usefixtures("ray_head")
def test_figures_are_those_of_the_pure_scorer(manifest: Manifest, run_uri: str, s3_server: str) -> None:
    from textgen.evaluation.scoring import CHUNK_IDS, NUM_LANES, Scorer

    output = f"{s3_server}/evaluate/output"
    arguments = ["--checkpoint", run_uri, "--output", output, "--count-order", "2", "5", "--completions", "2"]
    result = result_of(run_job("evaluate", *arguments), output=output)

    checkpoint = Checkpoint.load(result["checkpoint_uri"])
    assert checkpoint.uri == f"{run_uri}/checkpoints/step-00000003"
    ids = IdReader(manifest, "test")
    lanes = ScoringLanes(num_ids=ids.num_ids, context_length=CHUNK_IDS, num_lanes=NUM_LANES)
    batches = scoring_batches(ids, lanes, start_id=manifest.vocabulary.start_id)
    tally = Scorer(checkpoint.build_model(), manifest.vocabulary).score(batches)
    assert result["split"] == "test"
    assert result["characters"] == sum(len(text) + 1 for text in TEST) == tally.num_characters
    expected = {
        "loss": tally.loss,
        "bits_per_character": tally.loss / math.log(2),
        "bits_per_byte": tally.bits_per_byte,
        "perplexity": math.exp(tally.loss),
        "accuracy": tally.accuracy,
        "unknown_rate": TEST.count("a mat!") / tally.num_ids,
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert result["baselines"] == pytest.approx(baselines(manifest, split="test", orders=[2, 5]))
    completions = result["completions"]
    assert completions["num_completions"] == 2
    assert 0 < completions["mean_chars"] <= checkpoint.spec.sampling.max_new_chars
    assert 0 <= completions["novelty_with_prompt"] <= 1
    assert completions["held_out"]["mean_chars"] > 0


def test_an_empty_split_says_which_ones_have_text(manifest: Manifest) -> None:
    from textgen.evaluation.figures import check_fit

    spec = tiny_spec()
    checkpoint = Checkpoint(
        uri="somewhere",
        spec=spec,
        vocabulary=manifest.vocabulary,
        run_name="run",
        manifest_uri=manifest.uri,
        manifest_hash=manifest.hash,
        position={"step": 1},
        metrics={},
    )
    check_fit(checkpoint, manifest, split="test")
    with pytest.raises(ValueError, match=r"split val of .* is empty; .*--split: train, test"):
        check_fit(checkpoint, manifest, split="val")
    other = dataclasses.replace(manifest.vocabulary, symbols=(97, 98))
    with pytest.raises(ValueError, match=r"somewhere has a vocabulary of 4 ids and .*evaluate on the windows"):
        check_fit(dataclasses.replace(checkpoint, vocabulary=other), manifest, split="test")


@pytest.mark.usefixtures("ray_head")
def test_a_missing_checkpoint_is_one_sentence(s3_server: str) -> None:
    mistake = mistake_of(run_job("evaluate", "--checkpoint", f"{s3_server}/evaluate/nothing"))
    assert "neither a checkpoint nor a run" in mistake
