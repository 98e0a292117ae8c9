"""From a checkpoint and prompts to completions: what jobs and servers share."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textgen import storage
from textgen.corpus.cleaning import normalize_prompt
from textgen.corpus.marks import mark_rules
from textgen.errors import UserError
from textgen.generation.stream import Reading, Request
from textgen.model.checkpoint import Checkpoint
from textgen.settings import field_types
from textgen.spec import RunSpec, SamplingSpec, override
from textgen.spec.names import meant_by, unknown_setting

if TYPE_CHECKING:
    from textgen.generation.engine import Engine
    from textgen.generation.loop import StepModel
    from textgen.generation.steering import HeldUnit

SAMPLING_NAME = "sampling.json"
"""File beside a checkpoint's own, written by a sweep: sampling settings found best for it, by field."""


def engine_of(checkpoint: Checkpoint, *, held: Sequence[HeldUnit] = (), guidance: float = 1.0) -> Engine:
    """Returns an engine for a checkpoint that reads prompts as the checkpoint's corpus was cleaned.

    Args:
        checkpoint: Whose model completes.
        held: Units whose cell state is held at a value, in every completion.
        guidance: How far every completion leans to its condition, as `generation.guidance` has it; 1 is as learnt.

    Raises:
        UserError: the model has no such units, keeps no state from id to id, or was trained without conditions.
    """
    from textgen.generation.engine import Engine  # Loads TensorFlow.
    from textgen.generation.guidance import GuidedModel
    from textgen.generation.steering import Steering
    from textgen.model.sliding import as_trained

    normalize = functools.partial(normalize_prompt, spec=checkpoint.spec.corpus)
    if held and checkpoint.spec.training.loss_at == "last":
        raise UserError(
            f"{checkpoint.uri} was trained with training.loss_at=last and reads every window anew, so that no unit can "
            "be held; name a checkpoint that was trained with every"
        )
    model = checkpoint.build_model()
    stepped: StepModel = as_trained(model, checkpoint.spec)
    if guidance != 1:
        stepped = GuidedModel(stepped, checkpoint.vocabulary, guidance=guidance)
    steer = Steering(held, model) if held else list
    reading = Reading(normalize=normalize, mark_rules=mark_rules(checkpoint.spec.corpus.rules))
    return Engine(stepped, checkpoint.vocabulary, reading=reading, steer=steer)


def sampling_of(checkpoint: Checkpoint, changes: Mapping[str, str]) -> SamplingSpec:
    """Returns the sampling settings of a checkpoint: its spec's, then its `sampling.json`'s, then `changes`.

    Args:
        checkpoint: Whose settings.
        changes: By `sampling.field`, as `--set` gives them.

    Raises:
        UserError: a change of another section, or a wrong one.
    """
    known = [f"sampling.{name}" for name in field_types(SamplingSpec)]
    for path, value in changes.items():
        if not path.startswith("sampling."):
            if "." not in path and meant_by(path, known):
                raise unknown_setting(path, value, known)
            raise UserError(f"--set received {path}; what a trained model can still change is sampling.*")
    spec = checkpoint.spec
    found = storage.read_if_exists(storage.join(checkpoint.uri, SAMPLING_NAME))
    if found is not None:
        settings = json.loads(found)
        spec = override(spec, {f"sampling.{name}": value for name, value in settings.items()})
    return override(spec, changes).sampling


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A text to continue, and sampling settings of its own."""

    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """By field of `SamplingSpec`; the job's settings hold for the others."""
    condition: Mapping[str, Any] = field(default_factory=dict)
    """Values told before the text, by name of the condition; the job's hold for the others."""


def requests_of(
    prompts: Sequence[Prompt], settings: SamplingSpec, *, condition: Mapping[str, Any] | None = None
) -> list[Request]:
    """Returns `n` requests a prompt, prompt by prompt."""
    requests = []
    for prompt in prompts:
        own = override(
            RunSpec(preset="", sampling=settings),
            {f"sampling.{name}": value for name, value in prompt.changes.items()},
        ).sampling
        told = {**(condition or {}), **prompt.condition}
        requests += [Request(prompt=prompt.text, settings=own, index=index, condition=told) for index in range(own.n)]
    return requests


def read_prompts(uri: str) -> list[Prompt]:
    """Returns the prompts of a file: one a line, or of a `.jsonl` file an object a line.

    Such an object has the field `prompt`, and may have `condition`, an object of values by name, and fields of
    `SamplingSpec` beside it.

    Raises:
        UserError: the file does not exist, is not UTF-8, or a line lacks the field.
    """
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{uri} is not UTF-8; convert it first") from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if not uri.endswith((".jsonl", ".json")):
        return [Prompt(text=line) for line in lines]
    return [_prompt_of(line, uri, number) for number, line in enumerate(lines, start=1)]


def _prompt_of(line: str, uri: str, number: int) -> Prompt:
    try:
        fields = dict(json.loads(line))
        text, condition = fields.pop("prompt", None), fields.pop("condition", {})
    except (json.JSONDecodeError, TypeError, ValueError):
        text = None
    if not isinstance(text, str) or not isinstance(condition, dict):
        raise UserError(f'prompt {number} of {uri} is not of the form {{"prompt": "a text"}}; correct that line')
    if isinstance(fields.get("stop"), str):  # One text as it is, and no list as a command line writes it.
        fields["stop"] = [fields["stop"]]
    return Prompt(text=text, changes=fields, condition=condition)


def parse_condition(told: Sequence[str]) -> dict[str, str]:
    """Splits `name=value` texts, as `--condition` takes them."""
    pairs = {}
    for text in told:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.strip() in pairs:
            raise UserError(f"--condition received {text!r}; write each one once, as label=5")
        pairs[name.strip()] = value.strip()
    return pairs
