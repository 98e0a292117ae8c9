"""OpenAI's formats of a completion request, its response and its errors.

Tokens are characters here: `max_tokens` and `usage` count characters.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, Field

from textgen.errors import UserError
from textgen.generation.stream import Completion
from textgen.settings import MAX_SEED
from textgen.spec import SamplingSpec
from textgen.spec.use import MAX_TEMPERATURE

MAX_PROMPTS = 64
MAX_COMPLETIONS = 128
"""Maximum number per request: prompts times n."""
MAX_TOKENS = 16_384
MAX_PROMPT_CHARS = 65_536
MAX_STOPS = 4
UNSUPPORTED: Mapping[str, Sequence[Any]] = {
    "stream": (False,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (),
    "presence_penalty": (0,),
    "suffix": ("",),
}
"""Unsupported fields of OpenAI's API, with the values that are accepted because they change nothing."""


class RefusedRequestError(Exception):
    """A request that gets an error response in OpenAI's format."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class CompletionBody(BaseModel, extra="allow"):
    """The request body of `POST /v1/completions`. Fields that are null or missing use the checkpoint's settings."""

    model: str | None = None
    prompt: str | list[str] | None = None
    """None is the empty text."""
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=MAX_TEMPERATURE)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=None, ge=1, le=MAX_COMPLETIONS)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    stop: str | list[str] | None = None
    echo: bool | None = None
    condition: dict[str, str | int | float] | None = None
    """An extension of OpenAI's API: values to condition on, such as `{"stars": 1}`, for a model trained with them."""

    def check(self) -> None:
        """Checks the limits that the field types do not express.

        Raises:
            RefusedRequestError: a field is not supported, or exceeds a limit.
        """
        for name, harmless in UNSUPPORTED.items():
            value = (self.model_extra or {}).get(name)
            if value is not None and value not in harmless:
                what = "streaming" if name == "stream" else name
                raise RefusedRequestError(f"{what} is not supported yet; leave {name!r} out", param=name)
        if len(self.stops) > MAX_STOPS:
            raise RefusedRequestError(f"'stop' has {len(self.stops)} texts; use at most {MAX_STOPS}", param="stop")
        if not all(self.stops):
            raise RefusedRequestError("'stop' has an empty text; leave it out", param="stop")
        if not 1 <= len(self.prompts) <= MAX_PROMPTS:
            raise RefusedRequestError(f"'prompt' has {len(self.prompts)} texts; use 1 to {MAX_PROMPTS}", param="prompt")
        longest = max(map(len, self.prompts))
        if longest > MAX_PROMPT_CHARS:
            raise RefusedRequestError(
                f"'prompt' has {longest} characters; use at most {MAX_PROMPT_CHARS}", param="prompt"
            )
        if len(self.prompts) * (self.n or 1) > MAX_COMPLETIONS:
            raise RefusedRequestError(
                f"{len(self.prompts)} prompts times n = {self.n} are too many; use at most {MAX_COMPLETIONS} in all",
                param="n",
            )

    @property
    def prompts(self) -> list[str]:
        """The prompts, at least one."""
        return self.prompt if isinstance(self.prompt, list) else [self.prompt or ""]

    @property
    def stops(self) -> list[str]:
        """The stop texts."""
        return [self.stop] if isinstance(self.stop, str) else (self.stop or [])

    def settings(self, defaults: SamplingSpec) -> SamplingSpec:
        """Returns the sampling settings of the request, with a random seed if it has none.

        Raises:
            RefusedRequestError: the spec refuses the settings.
        """
        given = {
            "max_new_chars": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stop": None if self.stop is None else tuple(self.stops),
        }
        seed = secrets.randbelow(MAX_SEED + 1) if self.seed is None else self.seed
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        try:
            return replace(defaults, **changes, n=self.n or 1, seed=seed)
        except UserError as error:
            raise RefusedRequestError(str(error)) from None


def answer(
    body: CompletionBody, completions: Sequence[Completion], *, model_id: str, fingerprint: str
) -> dict[str, Any]:
    """Returns the response as JSON: OpenAI's fields and `seed`, and `unknown_characters` if there are any."""
    choices = [
        {
            "index": index,
            "text": (completion.prompt if body.echo else "") + completion.completion,
            "logprobs": None,
            # OpenAI's API also uses `stop` if the model ends the text itself.
            "finish_reason": "length" if completion.finish_reason == "length" else "stop",
        }
        for index, completion in enumerate(completions)
    ]
    num_prompt_chars = sum(map(len, body.prompts))
    num_completion_chars = sum(len(completion.completion) for completion in completions)
    unknown = sorted({character for completion in completions for character in completion.unknown_characters})
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model_id,
        "system_fingerprint": fingerprint,
        "choices": choices,
        "usage": {
            "prompt_tokens": num_prompt_chars,
            "completion_tokens": num_completion_chars,
            "total_tokens": num_prompt_chars + num_completion_chars,
        },
        "seed": completions[0].seed,
        **({"unknown_characters": unknown} if unknown else {}),
    }
