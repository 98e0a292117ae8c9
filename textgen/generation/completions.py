"""Builds an engine, sampling settings and requests from a checkpoint and prompts, for jobs and servers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textgen import storage
from textgen.corpus.codec import TextCodec
from textgen.errors import UserError
from textgen.generation.stream import Request
from textgen.model.checkpoint import Checkpoint
from textgen.settings import field_types
from textgen.spec import SamplingSpec, override, override_section
from textgen.spec.names import meant_by, unknown_setting

if TYPE_CHECKING:
    from textgen.generation.engine import Engine
    from textgen.generation.loop import StepModel
    from textgen.generation.steering import HeldUnit

SAMPLING_NAME = "sampling.json"
"""A file that a sweep writes into a checkpoint: the sampling settings that scored best, by field."""


def engine_of(checkpoint: Checkpoint, *, held: Sequence[HeldUnit] = (), guidance: float = 1.0) -> Engine:
    """Returns an engine for a checkpoint; it cleans prompts as the checkpoint's corpus was cleaned.

    Args:
        checkpoint: The language model to generate with.
        held: Units whose cell state is held at a fixed value, in every completion.
        guidance: Guidance scale of every completion, see `generation.guidance`; 1 leaves the model unchanged.

    Raises:
        UserError: the model lacks one of the units, carries no state from id to id, or was trained without conditions.
    """
    from textgen.generation.engine import Engine  # Loads TensorFlow.
    from textgen.generation.guidance import GuidedModel
    from textgen.generation.steering import Steering
    from textgen.model.sliding import as_trained

    if held and checkpoint.spec.training.loss_at == "last":
        raise UserError(
            f"{checkpoint.uri} was trained with training.loss_at=last: it carries no state from one character to the "
            "next, so no unit can be held; use a checkpoint that was trained with training.loss_at=every"
        )
    model = checkpoint.build_model()
    stepped: StepModel = as_trained(model, checkpoint.spec)
    if guidance != 1:
        stepped = GuidedModel(stepped, checkpoint.vocabulary, guidance=guidance)
    steer = Steering(held, model) if held else list
    return Engine(stepped, checkpoint.vocabulary, codec=TextCodec.of(checkpoint.spec.corpus), steer=steer)


def sampling_of(checkpoint: Checkpoint, changes: Mapping[str, str]) -> SamplingSpec:
    """Returns the sampling settings of a checkpoint; `changes` override its `sampling.json`, which overrides its spec.

    Args:
        checkpoint: The checkpoint.
        changes: Values by `sampling.field`, as given to `--set`.

    Raises:
        UserError: a change names another section or has an invalid value.
    """
    known = [f"sampling.{name}" for name in field_types(SamplingSpec)]
    for path, value in changes.items():
        if not path.startswith("sampling."):
            if "." not in path and meant_by(path, known):
                raise unknown_setting(path, value, known)
            raise UserError(f"--set received {path}; a trained model accepts only sampling.* settings")
    spec = checkpoint.spec
    found = storage.read_if_exists(storage.join(checkpoint.uri, SAMPLING_NAME))
    if found is not None:
        settings = json.loads(found)
        spec = override(spec, {f"sampling.{name}": value for name, value in settings.items()})
    return override(spec, changes).sampling


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A text to continue, with optional settings that override the job's."""

    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Sampling settings by field of `SamplingSpec`; other fields keep the job's settings."""
    condition: Mapping[str, Any] = field(default_factory=dict)
    """Values to condition on, by name of the condition; other conditions keep the job's values."""


def requests_of(
    prompts: Sequence[Prompt], settings: SamplingSpec, *, condition: Mapping[str, Any] | None = None
) -> list[Request]:
    """Returns `n` requests per prompt, in the order of the prompts."""
    requests = []
    for prompt in prompts:
        own = override_section("sampling", settings, prompt.changes)
        values = {**(condition or {}), **prompt.condition}
        requests += [Request(prompt=prompt.text, settings=own, index=index, condition=values) for index in range(own.n)]
    return requests


def read_prompts(uri: str) -> list[Prompt]:
    """Returns the prompts of a file: one per line, as plain text or, in a `.jsonl` file, as JSON objects.

    Each object has the field `prompt`. It may also have `condition`, an object of values by name, and fields of
    `SamplingSpec`.

    Raises:
        UserError: the file does not exist or is not UTF-8, or a line lacks the field `prompt`.
    """
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{uri} is not UTF-8; convert it to UTF-8") from None
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
    if isinstance(fields.get("stop"), str):  # One stop text, not a comma-separated list as on the command line.
        fields["stop"] = [fields["stop"]]
    return Prompt(text=text, changes=fields, condition=condition)


def parse_condition(texts: Sequence[str]) -> dict[str, str]:
    """Returns values by name from the `name=value` texts of `--condition`.

    Raises:
        UserError: a text does not have that form, or a name occurs twice.
    """
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.strip() in pairs:
            raise UserError(f"--condition received {text!r}; write each condition once, as name=value, such as label=5")
        pairs[name.strip()] = value.strip()
    return pairs
