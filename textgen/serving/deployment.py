"""A checkpoint as a Ray Serve application, and its life from a job's side."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

from ray import serve

from textgen.errors import UserError
from textgen.model.checkpoint import find_checkpoint
from textgen.spec import SamplingSpec

if TYPE_CHECKING:
    from fastapi import FastAPI

APP_NAME = "textgen"
NUM_CPUS = 0.5
"""What a replica reserves: it is idle most of the time, and must fit beside Serve's own actors on two cores."""
NUM_THREADS = 2
"""TensorFlow's threads in a replica; see `generation.loop` for why no fewer. Small models gain nothing by more."""
MAX_ONGOING_REQUESTS = 256


class CompletionReplica:
    """One copy of the model: an engine in a thread, behind the ASGI app."""

    def __init__(self, checkpoint_uri: str, model_id: str, defaults: SamplingSpec) -> None:
        """Loads the checkpoint and compiles the loop, so that no request waits for it."""
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(NUM_THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        from textgen.generation.completions import Prompt, engine_of, requests_of
        from textgen.serving.app import ServedModel
        from textgen.serving.engine_thread import EngineThread

        checkpoint = find_checkpoint(checkpoint_uri)
        engine = engine_of(checkpoint)
        engine.generate(requests_of([Prompt(text="")], SamplingSpec(max_new_chars=1)))
        self._engine = EngineThread(engine)
        self._served = ServedModel(
            model_id=model_id,
            engine=self._engine,
            defaults=defaults,
            fingerprint=f"textgen-{checkpoint.hashes['weights.npz'][:12]}",
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Returns the app that answers for this replica."""
        from textgen.serving.app import build_app

        return build_app(self._served)

    def check_health(self) -> None:
        """Raises where the replica must be replaced; Ray Serve calls it every few seconds."""
        if not self._engine.is_alive:
            raise RuntimeError("the engine's thread has ended")


def start(*, checkpoint_uri: str, model_id: str, defaults: SamplingSpec, host: str, port: int) -> str:
    """Deploys a checkpoint on the connected cluster and returns the endpoint's URL once it answers.

    An application of ours that is already there is replaced; where the address is wrong, it stays.

    Raises:
        UserError: the port is taken, or Ray Serve runs on this cluster under another address.
    """
    url = f"http://{host}:{port}"
    if is_running():
        check_is_serve(host, port)
    else:
        check_port(host, port)
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    deployment: Any = serve.deployment(serve.ingress()(CompletionReplica))
    options = deployment.options(
        name="completions",
        num_replicas=1,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_ONGOING_REQUESTS,
        graceful_shutdown_timeout_s=2,
        ray_actor_options={"num_cpus": NUM_CPUS},
    )
    serve.run(options.bind(checkpoint_uri, model_id, defaults), name=APP_NAME, route_prefix="/")
    if model_id not in models_at(host, port):
        raise RuntimeError(f"Ray Serve has deployed {model_id}, and {url} does not answer with it")
    return url


def is_running() -> bool:
    """Says whether the cluster runs Ray Serve."""
    return bool(serve.status().proxies)


def stop(*, whole: bool) -> None:
    """Takes the application down; `whole` ends Ray Serve itself."""
    if whole:
        serve.shutdown()
    else:
        serve.delete(APP_NAME)


def models_at(host: str, port: int) -> list[str]:
    """Returns the ids of the models that a server answers with; none where no such server answers."""
    try:
        _, answer = _get(host, port, "/v1/models")
        return [model["id"] for model in json.loads(answer)["data"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []


def check_is_serve(host: str, port: int) -> None:
    """Makes sure that Ray Serve, which runs on this cluster, answers at an address.

    Raises:
        UserError: it does not.
    """
    try:
        status, _ = _get(host, port, "/-/healthz")
    except (OSError, http.client.HTTPException):
        status = 0
    if status not in (200, 503):  # 503 is Serve's before it has an application.
        raise UserError(
            f"Ray Serve already runs on this cluster, but does not answer at http://{host}:{port}; name the host and "
            "port that it was started with, or end it first (`serve shutdown`)"
        )


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Returns status and body of a server's answer."""
    connection = http.client.HTTPConnection(host if host != "0.0.0.0" else "127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def check_port(host: str, port: int) -> None:
    """Refuses an address that cannot be listened on.

    Raises:
        UserError: it is taken, or not this machine's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port") from None
