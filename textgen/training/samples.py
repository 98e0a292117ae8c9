"""Sample texts that a training logs after every validation."""

from __future__ import annotations

from textgen.generation.engine import Engine
from textgen.generation.stream import Request
from textgen.model.language_model import LanguageModel
from textgen.model.sliding import SlidingModel
from textgen.spec import SamplingSpec, TrainingSpec
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

PROMPT_CHARS = 32
PROMPT_SEARCH_IDS = 4096


class Sampler:
    """Continues one prompt of `val` (of `train` if that is empty) at several temperatures."""

    def __init__(self, model: LanguageModel | SlidingModel, manifest: Manifest, spec: TrainingSpec) -> None:
        self._spec = spec
        self._prompt = first_prompt(manifest)
        self._engine = (
            Engine(
                model,
                manifest.vocabulary,
                num_slots=len(spec.sample_temperatures),
                codec=manifest.codec,
            )
            if spec.sample_temperatures
            else None
        )

    def samples(self) -> dict[str, str]:
        """Returns `temperature T` -> prompt and completion, with the current weights."""
        if self._engine is None:
            return {}
        requests = [
            Request(
                prompt=self._prompt,
                settings=SamplingSpec(
                    temperature=temperature, max_new_chars=self._spec.sample_chars, seed=self._spec.seed
                ),
            )
            for temperature in self._spec.sample_temperatures
        ]
        completions = self._engine.generate(requests)
        return {f"temperature {c.temperature}": c.prompt + c.completion for c in completions}


def first_prompt(manifest: Manifest) -> str:
    """Returns the beginning of the first document of `val` (else `train`), cut after a whole word."""
    split = "val" if manifest.split("val").num_ids else "train"
    vocabulary = manifest.vocabulary
    with IdReader(manifest, split) as reader:
        ids = reader.read(0, PROMPT_SEARCH_IDS)
    if vocabulary.end_id is not None:
        ids = ids[: next((i for i, value in enumerate(ids) if value == vocabulary.end_id), len(ids))]
    if vocabulary.unknown_id is not None:
        ids = ids[ids != vocabulary.unknown_id]
    text = manifest.codec.decode(vocabulary.decode(ids))
    return text if len(text) <= PROMPT_CHARS else text[:PROMPT_CHARS].rsplit(" ", 1)[0]
