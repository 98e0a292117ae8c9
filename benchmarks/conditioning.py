"""Measures whether a model conditioned on star ratings writes reviews that match them, as judged by a classifier.

python -m benchmarks.conditioning                     # full length: about half an hour on two cores
python -m benchmarks.conditioning --max-steps 1000    # a quick look

Trains on product reviews conditioned on their stars (groceries and musical instruments), generates 100 reviews for each
number of stars, and ranks them with TF-IDF and logistic regression trained on film reviews. The same judge ranks
held-out reviews written by people, which shows the best that it can do. A separate measurement shows what the model
knows: how many bits it saves on each of these reviews given its stars, and which stars make a review most likely. The
same command resumes an interrupted run.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT, environment, without_places
from benchmarks.recipes.chain import job
from textgen.corpus.records import read_records
from textgen.corpus.sources import MOVIE_REVIEWS, resolve
from textgen.model.checkpoint import find_checkpoint
from textgen.spec import CorpusSpec
from textgen.windows.manifest import Manifest
from textgen.windows.shards import iter_documents

SOURCES = ("reviews/amazon-reviews-groceries-gourmet-*.csv.gz", "reviews/Musical_instruments_reviews.csv.zip")
"""Training data of the model."""
PRODUCTS = ("reviews/All_Beauty_5.json.gz", "reviews/amazon_reviews_us_Gift_Card_v1_00.tsv")
"""Training data of a second judge: closer in kind, and a tenth of the size."""
STARS = ("1", "2", "3", "4", "5")
NUM_COMPLETIONS = 100
"""Completions per number of stars."""
COMPLETION_CHARS = 600
GUIDANCES = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
SETTINGS = {
    "corpus.condition_on": "[label]",
    "corpus.test_share": 0.1,
    "windows.min_count": 3,
    "windows.context_length": 128,
    "windows.stride": 128,
    "model.embedding_dim": 64,
    "model.units": 256,
    "model.dropout": 0.0,
    "training.global_batch_size": 32,
    "training.epochs": 4,
    "training.learning_rate": 4e-3,
    "training.validate_every_steps": 500,
    "training.validation_chars": 60_000,
}
LAYERS = ("model.embedding_dim", "model.units")
"""Settings that a model to fine-tune determines."""
FINE_TUNING = {"training.learning_rate": 2e-3}
"""Settings for fine-tuning a model."""
JUDGED_CHARS = 2000

Texts = Sequence[str]
Judge = Callable[[Texts], Any]


def main(argv: list[str]) -> None:
    """Trains, generates and judges; prints a table and writes the result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conditioning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="FOLDER", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--folder", metavar="FOLDER", type=Path, default=ROOT / "runs" / "conditioning")
    parser.add_argument(
        "--max-steps", metavar="N", type=int, help="end the training early and write the result to --folder only"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="URI",
        help="fine-tune a model of other texts, such as the film reviews of the recipe reviews",
    )
    parser.add_argument("--num-workers", metavar="N", type=int, default=2)
    arguments = parser.parse_args(argv)
    if not (arguments.data / "reviews").is_dir():
        print(f"data absent: {arguments.data / 'reviews'}")
        return
    started = time.monotonic()
    run = trained(arguments)
    result = {
        **judged(run, arguments),
        "training": {
            name: run[name] for name in ("step", "epoch", "val_bits_per_character", "chars_per_second", "seconds")
        },
        "settings": run["settings"],
        "seconds": round(time.monotonic() - started, 1),
        "command": " ".join(["python -m benchmarks.conditioning", *argv]),
        **environment(),
    }
    whole = arguments.max_steps is None
    place = (ROOT / "benchmarks" / "results" if whole else arguments.folder) / "conditioning.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(result, ensure_ascii=False, indent=1) + "\n"
    place.write_text(without_places(content, data=arguments.data))
    print(table(result))


def trained(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ingests and trains, or resumes; returns the result of the training, and its settings."""
    windows, runs = arguments.folder / "windows", arguments.folder / "runs"
    name = "-".join(["stars", *["from"] * bool(arguments.source), *map(str, filter(None, [arguments.max_steps]))])
    sources = [part for name in SOURCES for part in ("--source", arguments.data / name)]
    settings: dict[str, object] = dict(SETTINGS)
    settings |= {"training.max_steps": arguments.max_steps} if arguments.max_steps else {}
    if arguments.source:
        settings = {path: value for path, value in settings.items() if path not in LAYERS} | FINE_TUNING
    changes = [part for path, value in settings.items() for part in ("--set", f"{path}={value}")]
    job("ingest", *sources, "--preset", "reviews_best", *changes, "--output", windows, say=say)
    begin = ["--from", arguments.source] if arguments.source else []
    outcome = job(
        "train", "--preset", "reviews_best", *changes, "--windows", windows, "--output", runs, "--run-name", name,
        *begin, "--num-workers", arguments.num_workers, say=say,
    )  # fmt: skip
    return {**outcome, "settings": settings}


def judged(run: Mapping[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the scores of both judges for people's reviews, and for the model's at each guidance."""
    judges = {
        "films": judge_of([MOVIE_REVIEWS], is_good=lambda label: label == "1"),
        "products": judge_of([str(arguments.data / name) for name in PRODUCTS], is_good=lambda label: label in "45"),
    }
    people = reviews_of_people(Manifest.load(str(arguments.folder / "windows")))
    written = {"people": people}
    for guidance in GUIDANCES:
        written[f"guidance {guidance:g}"] = completions(run["checkpoint_uri"], guidance, arguments.folder)
    return {
        "known": knowledge(run["checkpoint_uri"], people),
        "judged": {
            name: {judge: figures(texts, score) for judge, score in judges.items()} for name, texts in written.items()
        },
        "texts": {name: {stars: of_stars[:3] for stars, of_stars in texts.items()} for name, texts in written.items()},
    }


def judge_of(sources: Sequence[str], *, is_good: Callable[[str], bool]) -> Judge:
    """Returns a function that scores how positive texts are: logistic regression on TF-IDF of words and word pairs."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    labels: dict[str, bool] = {}
    for file in resolve(sources):
        for record in read_records(file, CorpusSpec()):
            if record.text and record.label and record.label != "3":
                labels[record.text[:JUDGED_CHARS]] = is_good(record.label)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10.0, class_weight="balanced", max_iter=300))
    model.fit(list(labels), list(labels.values()))
    judge: Judge = model.decision_function
    return judge


def reviews_of_people(manifest: Manifest) -> dict[str, list[str]]:
    """Returns held-out reviews by stars, equally many per number of stars, cut to the length of completions."""
    found: dict[str, list[str]] = {stars: [] for stars in STARS}
    for document in iter_documents(manifest, "test"):
        if document.label in found:
            found[document.label].append(document.text[:COMPLETION_CHARS])
    num_each = min(NUM_COMPLETIONS, *map(len, found.values()))
    drawn = random.Random(0)
    return {stars: drawn.sample(texts, num_each) for stars, texts in found.items()}


def knowledge(checkpoint_uri: str, texts: Mapping[str, Texts]) -> dict[str, float]:
    """Returns how well a model recognizes the stars of reviews by their likelihood under each number of stars.

    `accuracy` is the share of reviews that are most likely under their own stars (0.2 by chance). `spearman` is the
    rank correlation of the stars with the mean of all stars weighted by the likelihood under each.
    """
    import numpy as np
    from scipy.stats import spearmanr

    unconditioned, *conditioned = np.transpose(
        _log_likelihoods(checkpoint_uri, [text for some in texts.values() for text in some])
    )
    likelihoods = np.stack(conditioned, axis=1)  # [texts, stars]
    own = np.repeat(np.arange(len(STARS)), [len(of_stars) for of_stars in texts.values()])
    weights = np.exp(likelihoods - likelihoods.max(axis=1, keepdims=True))
    expected = weights @ np.arange(len(STARS)) / weights.sum(axis=1)
    saved = likelihoods[np.arange(len(own)), own] - unconditioned
    characters = sum(len(text) for of_stars in texts.values() for text in of_stars)
    return {
        "accuracy": round(float((likelihoods.argmax(axis=1) == own).mean()), 3),
        "spearman": round(float(spearmanr(own, expected).statistic), 3),
        "bits_per_character_saved": round(float(saved.sum() / np.log(2) / characters), 4),
        "texts": len(own),
    }


def _log_likelihoods(checkpoint_uri: str, texts: Texts) -> list[Any]:
    """Returns the log likelihood of each text, in nats, after the control of none and of each number of stars."""
    import numpy as np
    import tensorflow as tf

    checkpoint = find_checkpoint(checkpoint_uri)
    model, vocabulary = checkpoint.build_model(), checkpoint.vocabulary
    (condition,) = vocabulary.conditions
    controls = vocabulary.control_ids([[condition.control_of(stars)] for stars in ("none", *STARS)])  # [controls, 1]

    @tf.function  # type: ignore[untyped-decorator]
    def nats(ids: Any, length: Any) -> Any:
        """Returns the cost of the first `length` ids of a padded text after each two-id prefix, [controls]."""
        logits, _ = model(ids[:, :-1], model.initial_state(len(controls)))
        costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids[:, 1:], logits=logits)
        return tf.reduce_sum(costs[:, 1 : 1 + length], axis=1)

    found = []
    for text in texts:
        ids = np.zeros((len(controls), 2 + COMPLETION_CHARS), np.int32)
        ids[:, :1], ids[:, 1:2], ids[:, 2 : 2 + len(text)] = vocabulary.start_id, controls, vocabulary.encode(text)
        found.append(-nats(tf.constant(ids), tf.constant(len(text))).numpy())
    return found


def completions(checkpoint_uri: str, guidance: float, folder: Path) -> dict[str, list[str]]:
    """Returns completions of the empty prompt for each number of stars."""
    prompts = folder / "prompts.jsonl"
    lines = [{"prompt": "", "condition": {"stars": stars}, "n": NUM_COMPLETIONS} for stars in STARS]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = folder / f"guidance-{guidance:g}"
    job(
        "generate", "--checkpoint", checkpoint_uri, "--prompts", prompts, "--guidance", guidance, "--output", output,
        "--set", f"sampling.max_new_chars={COMPLETION_CHARS}", say=say,
    )  # fmt: skip
    written: dict[str, list[str]] = {stars: [] for stars in STARS}
    for line in (output / "completions.jsonl").read_text().splitlines():
        completion = json.loads(line)
        written[completion["condition"]["stars"]].append(completion["completion"])
    return written


def figures(texts: Mapping[str, Texts], judge: Judge) -> dict[str, Any]:
    """Returns the rank correlation of stars and judged score over all texts, and the mean score of each star."""
    from scipy.stats import spearmanr

    stars = [int(asked) for asked, of_stars in texts.items() for _ in of_stars]
    scores = judge([text for of_stars in texts.values() for text in of_stars])
    means = {
        asked: round(float(sum(s for s, of in zip(scores, stars, strict=True) if of == int(asked)) / len(of_stars)), 3)
        for asked, of_stars in texts.items()
    }
    return {"spearman": round(float(spearmanr(stars, scores).statistic), 3), "texts": len(stars), "mean_score": means}


def table(result: Mapping[str, Any]) -> str:
    """Returns the figures as a Markdown table."""
    lines = [
        "| texts | Spearman, film judge | Spearman, product judge | mean score of 1, 2, 3, 4, 5 stars (film judge) |",
        "|---|---|---|---|",
    ]
    for name, by_judge in result["judged"].items():
        means = ", ".join(f"{mean:+.2f}" for mean in by_judge["films"]["mean_score"].values())
        lines.append(
            f"| {name} | {by_judge['films']['spearman']:.3f} | {by_judge['products']['spearman']:.3f} | {means} |"
        )
    known = result["known"]
    said = (
        f"{known['texts']} reviews by people: most likely under their own stars {known['accuracy']:.3f}, "
        f"Spearman {known['spearman']:.3f}, {known['bits_per_character_saved']:+.4f} bits per character saved"
    )
    return "\n".join([*lines, "", said])


def say(line: str) -> None:
    """Prints a line of progress on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
