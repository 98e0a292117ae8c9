from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.served_text import EchoEngine
from textgen.serving.app import ServedModel, build_app
from textgen.serving.engine_thread import EngineThread
from textgen.serving.protocol import MAX_COMPLETIONS, MAX_PROMPT_CHARS, MAX_PROMPTS, MAX_TOKENS
from textgen.spec import SamplingSpec

DEFAULTS = SamplingSpec(temperature=0.6, top_k=9, top_p=0.8, max_new_chars=33, stop=("\n",), n=5, seed=4)


@pytest.fixture(scope="module")
def engine() -> EchoEngine:
    return EchoEngine()


@pytest.fixture(scope="module")
def thread(engine: EchoEngine) -> Iterator[EngineThread]:
    thread = EngineThread(engine, max_unfinished=200)
    yield thread
    thread.stop()


@pytest.fixture(scope="module")
def client(thread: EngineThread) -> Iterator[TestClient]:
    served = ServedModel(model_id="reviews", engine=thread, defaults=DEFAULTS, fingerprint="textgen-1a", created=12)
    with TestClient(build_app(served), raise_server_exceptions=False) as client:
        yield client


def complete(client: TestClient, **body: Any) -> Any:
    response = client.post("/v1/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_completion_has_openais_format(client: TestClient) -> None:
    answer = complete(client, model="reviews", prompt="ab", seed=7, user="someone")
    assert answer.pop("id").startswith("cmpl-")
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "object": "text_completion",
        "model": "reviews",
        "system_fingerprint": "textgen-1a",
        "choices": [{"index": 0, "text": "<ab:0>", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8},
        "seed": 7,
    }


def test_a_condition_applies_to_every_prompt(client: TestClient, engine: EchoEngine) -> None:
    engine.submitted.clear()
    complete(client, prompt=["ab", "c"], condition={"stars": 1, "category": "tea"})
    assert [request.condition for request in engine.submitted] == [{"stars": 1, "category": "tea"}] * 2
    complete(client, prompt="ab")
    assert engine.submitted[-1].condition == {}


def test_several_prompts_have_n_choices_each(client: TestClient) -> None:
    answer = complete(client, prompt=["ab", "c"], n=2, echo=True)
    assert [choice["text"] for choice in answer["choices"]] == ["ab<ab:0>", "ab<ab:1>", "c<c:0>", "c<c:1>"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 22, "total_tokens": 25}


def test_settings_of_the_request_override_the_checkpoints(client: TestClient, engine: EchoEngine) -> None:
    complete(client, prompt="a", max_tokens=None, temperature=None)
    left_out = engine.submitted[-1].settings
    assert left_out == SamplingSpec(
        temperature=0.6, top_k=9, top_p=0.8, max_new_chars=33, stop=("\n",), seed=left_out.seed
    )
    complete(client, max_tokens=3, temperature=0, top_k=2, top_p=0.5, stop="x", seed=2**53 - 1)
    given = SamplingSpec(temperature=0.0, top_k=2, top_p=0.5, max_new_chars=3, stop=("x",), seed=2**53 - 1)
    assert (engine.submitted[-1].prompt, engine.submitted[-1].settings) == ("", given)
    complete(client, prompt=None)
    assert engine.submitted[-1].prompt == ""
    complete(client, stop=["x", "yz"])
    assert engine.submitted[-1].settings.stop == ("x", "yz")
    complete(client, stop=[])
    assert engine.submitted[-1].settings.stop == ()


def test_a_random_seed_is_returned(client: TestClient) -> None:
    assert len({complete(client, prompt="a")["seed"] for _ in range(3)}) == 3


@pytest.mark.parametrize(("temperature", "reason"), [(0, "stop"), (1, "stop"), (2, "length")])
def test_finish_reasons_are_those_of_openai(client: TestClient, temperature: float, reason: str) -> None:
    assert complete(client, temperature=temperature)["choices"][0]["finish_reason"] == reason


def test_unknown_characters_are_returned(client: TestClient) -> None:
    assert complete(client, prompt=["Q", "a", "Q"])["unknown_characters"] == ["Q"]
    assert "unknown_characters" not in complete(client, prompt="a")


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"stream": True}, "stream", "streaming is not supported yet"),
        ({"logprobs": 3}, "logprobs", "not supported"),
        ({"best_of": 2}, "best_of", "not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
        ({"logit_bias": {"50256": -100}}, "logit_bias", "not supported"),
        ({"suffix": "end"}, "suffix", "not supported"),
        ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
        ({"temperature": 1e39}, "temperature", "less than or equal to 1000"),
        ({"temperature": "hot"}, "temperature", "hot"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"top_p": 1.1}, "top_p", "less than or equal to 1"),
        ({"top_k": 0}, "top_k", "greater than or equal to 1"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": MAX_COMPLETIONS + 1}, "n", str(MAX_COMPLETIONS)),
        ({"n": MAX_COMPLETIONS // 2 + 1, "prompt": ["a", "b"]}, "n", "too many"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": MAX_TOKENS + 1}, "max_tokens", str(MAX_TOKENS)),
        ({"seed": 1.5}, "seed", "1.5"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"seed": 2**53}, "seed", str(2**53 - 1)),
        ({"stop": list("abcde")}, "stop", "at most 4"),
        ({"stop": ["a", ""]}, "stop", "empty"),
        ({"prompt": []}, "prompt", f"1 to {MAX_PROMPTS}"),
        ({"prompt": ["a"] * (MAX_PROMPTS + 1)}, "prompt", f"1 to {MAX_PROMPTS}"),
        ({"prompt": "a" * (MAX_PROMPT_CHARS + 1)}, "prompt", str(MAX_PROMPT_CHARS)),
        ({"prompt": [1, 2]}, "prompt", "token ids are not supported"),
        ({"prompt": "\0"}, "prompt", "not in the vocabulary"),
        ({"prompt": "\0", "condition": {"stars": 1}}, "prompt", "not in the vocabulary"),
        ({"prompt": "a", "condition": {"mood": "good"}}, "condition", "no condition 'mood'"),
    ],
)
def test_invalid_requests_are_refused_in_openais_format(
    client: TestClient, body: dict[str, Any], param: str, said: str
) -> None:
    response = client.post("/v1/completions", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert said in error["message"]


def test_neutral_values_of_unsupported_fields_are_accepted(client: TestClient) -> None:
    complete(client, stream=False, best_of=1, logprobs=None, presence_penalty=0.0, logit_bias={}, suffix="", store=True)


@pytest.mark.parametrize("body", [b"{", b"[]", b"3", b"", b'{"prompt": "\\ud800"}'])
def test_a_body_that_is_not_a_json_object_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/completions", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


def test_models_are_listed(client: TestClient) -> None:
    model = {"id": "reviews", "object": "model", "created": 12, "owned_by": "textgen"}
    assert client.get("/v1/models").json() == {"object": "list", "data": [model]}
    assert client.get("/v1/models/reviews").json() == model
    for response in (client.get("/v1/models/gpt"), client.post("/v1/completions", json={"model": "gpt"})):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def test_other_paths_are_refused_in_openais_format(client: TestClient) -> None:
    assert client.get("/v1/nothing").json()["error"]["message"] == "GET /v1/nothing: Not Found"
    assert client.get("/v1/completions").status_code == 405


def test_a_busy_server_refuses_with_429(client: TestClient, engine: EchoEngine, thread: EngineThread) -> None:
    engine.gate.clear()
    from textgen.generation.stream import Request

    requests = thread.prepare([Request(prompt="", settings=SamplingSpec())] * 100)
    held = [thread.submit(requests) for _ in range(2)]
    response = client.post("/v1/completions", json={})
    engine.gate.set()
    assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert all(future.result(10) for futures in held for future in futures)


def test_an_internal_error_is_returned_without_details(client: TestClient, engine: EchoEngine) -> None:
    engine.fault = ValueError("secret")
    response = client.post("/v1/completions", json={})
    engine.fault = None
    assert (response.status_code, response.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in response.text
    complete(client, prompt="a")


def test_health_follows_the_engine(client: TestClient, engine: EchoEngine) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    engine.fault = ValueError("lost")
    for _ in range(1000):
        if client.get("/health").status_code == 503:
            break
        assert client.post("/v1/completions", json={}).status_code == 500
    engine.fault = None
    assert client.get("/health").status_code == 503
    complete(client, prompt="a")
    complete(client, prompt="a")  # Its call starts after that of the first one has ended.
    assert client.get("/health").json() == {"status": "ok"}
    ended = EngineThread(EchoEngine())
    ended.stop()
    served = ServedModel(model_id="m", engine=ended, defaults=DEFAULTS, fingerprint="f")
    with TestClient(build_app(served)) as other:
        assert other.get("/health").status_code == 503


def test_a_disconnected_client_frees_its_slot(client: TestClient, thread: EngineThread, engine: EchoEngine) -> None:
    """Calls the app directly and cancels the request, as a server does when the client disconnects."""

    async def leave() -> None:
        scope = {"type": "http", "method": "POST", "path": "/v1/completions", "query_string": b"", "headers": HEADERS}
        scope |= {"http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("test", 1)}
        sent = iter([{"type": "http.request", "body": b'{"prompt": "left", "n": 3}'}])

        async def receive() -> Any:
            return next(sent)

        async def send(_: Any) -> None:
            raise AssertionError("answered")

        request = asyncio.create_task(client.app(scope, receive, send))
        while not any(one.prompt == "left" for one in engine.submitted):
            await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    engine.gate.clear()
    asyncio.run(leave())
    assert engine.num_unfinished == 0
    engine.gate.set()
    complete(client, prompt="a")


HEADERS = [(b"content-type", b"application/json")]
