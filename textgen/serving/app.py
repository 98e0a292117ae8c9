"""The HTTP API: an ASGI app, independent of Ray, with OpenAI's completions and models, and a health check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from textgen.generation.completions import Prompt, requests_of
from textgen.generation.stream import RefusedFieldError
from textgen.serving.engine_thread import BusyError, EngineThread
from textgen.serving.protocol import CompletionBody, RefusedRequestError, answer
from textgen.spec import SamplingSpec


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that is ready to serve."""

    model_id: str
    engine: EngineThread
    defaults: SamplingSpec
    """Settings for fields that a request leaves out."""
    fingerprint: str
    """Identifies the weights: with the same fingerprint, equal requests give equal text."""
    created: int = field(default_factory=lambda: int(time.time()))


def build_app(served: ServedModel) -> FastAPI:
    """Returns the ASGI app of one model."""
    app = FastAPI(title="textgen", docs_url=None, redoc_url=None)
    app.add_exception_handler(RefusedRequestError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failed)

    @app.post("/v1/completions")
    async def complete(body: CompletionBody) -> dict[str, Any]:
        return await _complete(served, body)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(served)]}

    @app.get("/v1/models/{model_id:path}")
    async def model(model_id: str) -> dict[str, Any]:
        _check_model(served, model_id)
        return _model(served)

    @app.get("/health")
    async def health() -> JSONResponse:
        fault = served.engine.fault
        return JSONResponse({"status": fault or "ok"}, status_code=503 if fault else 200)

    return app


async def _complete(served: ServedModel, body: CompletionBody) -> dict[str, Any]:
    if body.model is not None:
        _check_model(served, body.model)
    body.check()
    settings = body.settings(served.defaults)
    try:
        # In a thread: on the event loop, a long prompt would block all other requests.
        prepared = await asyncio.to_thread(_prepare, served.engine, body, settings)
        futures = served.engine.submit(prepared)
    except RefusedFieldError as error:
        raise RefusedRequestError(str(error), param=error.field) from None
    except BusyError as error:
        message = f"the server is busy ({error}); try again in a moment"
        raise RefusedRequestError(message, status=429, kind="rate_limit_error", code="rate_limit_exceeded") from None
    # If the client disconnects, `gather` is cancelled and cancels the futures, which frees the slots.
    completions = await asyncio.gather(*map(asyncio.wrap_future, futures))
    return answer(body, completions, model_id=served.model_id, fingerprint=served.fingerprint)


def _prepare(engine: EngineThread, body: CompletionBody, settings: SamplingSpec) -> Sequence[Any]:
    prompts = [Prompt(text=text) for text in body.prompts]
    return engine.prepare(requests_of(prompts, settings, condition=body.condition))


def _model(served: ServedModel) -> dict[str, Any]:
    return {"id": served.model_id, "object": "model", "created": served.created, "owned_by": "textgen"}


def _check_model(served: ServedModel, model_id: str) -> None:
    if model_id != served.model_id:
        message = f"there is no model {model_id!r}; this server has {served.model_id!r}"
        raise RefusedRequestError(message, status=404, param="model", code="model_not_found")


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedRequestError)
    return JSONResponse(error.body, status_code=error.status)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Converts the first validation error of pydantic to OpenAI's error format."""
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"] if part != "body"]
    if problem["type"] == "json_invalid":
        refusal = RefusedRequestError(f"the request body is not JSON: {problem['ctx']['error']}")
    elif not where:
        refusal = RefusedRequestError("the request body is not a JSON object; send one as application/json")
    elif where[0] == "prompt":
        refusal = RefusedRequestError(
            "'prompt' is neither a text nor a list of texts; token ids are not supported", param="prompt"
        )
    else:
        refusal = RefusedRequestError(f"'{where[0]}' is {problem['input']!r}: {problem['msg']}", param=where[0])
    return await _refused(request, refusal)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return await _refused(request, RefusedRequestError(message, status=error.status_code))


async def _failed(request: Request, error: Exception) -> JSONResponse:
    """Responds to an internal error; the traceback is in the server's log."""
    message = f"the server failed: {type(error).__name__}"
    return await _refused(request, RefusedRequestError(message, status=500, kind="server_error"))
