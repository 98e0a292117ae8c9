"""Measures generated text: novelty, copying, words and repetition, compared with held-out text written by people.

The prompts are passages of `train`, because a model that has memorized its corpus would recite what follows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.evaluation.copying import longest_runs, training_ids
from textgen.evaluation.novelty import distances, training_windows
from textgen.evaluation.repetition import closing_loop, repeated_ngrams
from textgen.evaluation.tally import TextSizes
from textgen.evaluation.words import word_figures
from textgen.generation.completions import engine_of, sampling_of
from textgen.generation.stream import Request
from textgen.model.checkpoint import Checkpoint
from textgen.progress import Say
from textgen.spec import WindowsSpec
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids, Vocabulary

COPY_CHARS = 40
"""A text with a copied passage of this many characters counts as a copy: the published recipe's prompt length."""
LOOP_SHARE = 0.5
"""A text counts as looping if its closing loop is more than this share of it."""
DRAWS = 50
"""Positions tried to find a passage within one document."""
SEARCHED_IDS = 200
"""Ids after a position that are searched for a space."""

MOST_IDS = 4
"""Maximum number of ids per character."""


def completion_figures(
    checkpoint: Checkpoint, manifest: Manifest, *, num_completions: int, split: str, say: Say
) -> dict[str, Any]:
    """Returns the figures of completions of passages of `train`, and those of passages of `split` under `held_out`.

    Prompts have `windows.context_length` characters; sampling uses the checkpoint's settings.
    """
    settings, windows = sampling_of(checkpoint, {}), checkpoint.spec.windows
    prompts = passages(
        manifest, split="train", num_passages=num_completions, length=windows.context_length, seed=settings.seed
    )
    say(f"completing {len(prompts)} passages of train with up to {settings.max_new_chars} characters each")
    requests = [Request(prompt=prompt, settings=settings, index=index) for index, prompt in enumerate(prompts)]
    completions = [completion.completion for completion in engine_of(checkpoint).generate(requests)]
    mean_chars = sum(map(len, completions)) // len(completions)
    written = passages(
        manifest, split=split, num_passages=num_completions, length=max(mean_chars, 1), seed=settings.seed
    )
    return {
        "num_completions": len(completions),
        "temperature": settings.temperature,
        **text_figures(completions, manifest, windows=windows, prompts=prompts),
        "held_out": text_figures(written, manifest, windows=windows),
    }


def text_figures(
    texts: Sequence[str], manifest: Manifest, *, windows: WindowsSpec, prompts: Sequence[str] = ()
) -> dict[str, float]:
    """Returns the figures of texts compared with `train`; with their `prompts`, also the novelty including these."""
    joined = [prompt + text for prompt, text in zip(prompts, texts, strict=bool(prompts))]
    known = training_windows(manifest, context_length=windows.context_length, stride=windows.stride)
    novelty = distances([*texts, *joined], known)
    copied = copied_chars(texts, manifest)
    repeated, ngrams = np.array([repeated_ngrams(text) for text in texts]).sum(axis=0).tolist()
    loop_chars = np.array([closing_loop(text).num_chars for text in texts])
    chars = np.array([len(text) for text in texts])
    return {
        "mean_chars": float(chars.mean()),
        "novelty": float(novelty[: len(texts)].mean()),
        **({"novelty_with_prompt": float(novelty[len(texts) :].mean())} if joined else {}),
        "copied_chars_mean": float(copied.mean()),
        "copied_chars_max": int(copied.max()),
        f"share_with_{COPY_CHARS}_copied_chars": float((copied >= COPY_CHARS).mean()),
        **word_figures(texts, manifest),
        "repeated_ngram_share": repeated / max(ngrams, 1),
        "loop_chars_share": float(loop_chars.sum() / max(chars.sum(), 1)),
        "looping_share": float((loop_chars > LOOP_SHARE * chars).mean()),
    }


def copied_chars(texts: Sequence[str], manifest: Manifest) -> npt.NDArray[np.int64]:
    """Returns the length in characters of each text's longest passage in `train`, shape [number of texts]."""
    vocabulary = manifest.vocabulary
    rows = [vocabulary.encode(manifest.codec.encode(text)) for text in texts]
    runs = longest_runs(rows, training_ids(manifest), vocab_size=vocabulary.size)
    sizes = TextSizes(vocabulary)
    return np.array(
        [
            sizes.tally(ids[run.start : run.start + run.num_ids], nats=0.0).num_characters
            for ids, run in zip(rows, runs, strict=True)
        ],
        dtype=np.int64,
    )


def passages(manifest: Manifest, *, split: str, num_passages: int, length: int, seed: int) -> list[str]:
    """Returns random passages of a split, each within one document and starting at a space.

    They have `length` characters after unmarking. Passages of shorter documents are shorter, and passages of a text
    without spaces start anywhere.

    Raises:
        UserError: the split has no text.
    """
    vocabulary = manifest.vocabulary
    drawn = np.random.default_rng(seed)
    with IdReader(manifest, split) as reader:
        if not reader.num_ids:
            raise UserError(f"the split {split} of {manifest.uri} is empty; use another split, or ingest more text")
        # With bytes as ids, or with marks, a character can have several ids.
        num_ids = length * (MOST_IDS if vocabulary.unit == "bytes" or manifest.codec.has_marks else 1)
        found = []
        for _ in range(num_passages):
            longest = ""
            for place in drawn.integers(reader.num_ids, size=DRAWS).tolist():
                ids = _passage(reader.read(place, place + SEARCHED_IDS + num_ids), vocabulary, length=num_ids)
                text = vocabulary.decode(ids)
                if vocabulary.unit == "bytes":  # Partial characters at the ends.
                    text = text.strip("\N{REPLACEMENT CHARACTER}")
                longest = max(longest, manifest.codec.decode(text)[:length], key=len)
                if len(longest) == length:
                    break
            found.append(longest)
    return found


def _passage(ids: Ids, vocabulary: Vocabulary, *, length: int) -> Ids:
    """Returns at most `length` ids, from the first space (or the first id) up to END."""
    is_space = ids == vocabulary.encode(" ")[0] if not vocabulary.missing(" ") else np.ones(1, dtype=np.bool_)
    start = int(is_space[:SEARCHED_IDS].argmax())
    passage = ids[start : start + length]
    ends = np.flatnonzero(passage == vocabulary.end_id) if vocabulary.end_id is not None else passage[:0]
    return passage[: ends[0]] if len(ends) else passage
