"""Deploys a checkpoint as a Ray Serve application, and stops it, on behalf of a job."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray import serve

from textgen.errors import UserError
from textgen.model.checkpoint import find_checkpoint
from textgen.progress import Say
from textgen.spec import SamplingSpec
from textgen.waiting import Need, wait_for

if TYPE_CHECKING:
    from fastapi import FastAPI

APP_PREFIX = "textgen-"
"""Prefix of the name of an endpoint's application, before the model's id."""
PATH_NAME = re.compile(r"[A-Za-z0-9._-]+")
"""Names that need no escaping in a URL."""
DRAIN_SECONDS = 45
"""Maximum time for a replaced or stopped replica to finish its requests."""
HEALTH_SECONDS = 3
"""Interval of health checks: Ray Serve replaces a replica that fails three in a row."""
NUM_CPUS = 0.5
"""CPUs that a replica reserves: it is mostly idle, and must fit beside Serve's own actors on two cores."""
NUM_THREADS = 2
"""TensorFlow's threads in a replica; `generation.loop` explains why not fewer. Small models do not gain from more."""
MAX_ONGOING_REQUESTS = 256


class CompletionReplica:
    """A replica of the model: an engine in its own thread, behind the ASGI app."""

    def __init__(self, checkpoint_uri: str, model_id: str, defaults: SamplingSpec) -> None:
        """Loads the checkpoint and compiles the loop, so that no request waits for the compilation."""
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
        """Returns the app of this replica."""
        from textgen.serving.app import build_app

        return build_app(self._served)

    def check_health(self) -> None:
        """Raises an error if the replica must be replaced; Ray Serve calls this every few seconds."""
        if self._engine.fault is not None:
            raise RuntimeError(self._engine.fault)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint that this job has deployed."""

    url: str
    app_name: str
    deployed_at: float
    """Time of the deployment; a different time means that another job has replaced it since."""
    owns_serve: bool
    """Whether this job started Ray Serve."""


def start(
    *,
    checkpoint_uri: str,
    model_id: str,
    defaults: SamplingSpec,
    host: str,
    port: int,
    replace: bool = False,
    say: Say,
) -> Endpoint:
    """Deploys a checkpoint on the connected cluster, next to endpoints with other names, and waits until it answers.

    The first endpoint of a cluster answers at the root path, and each further one at a path with its name.

    Raises:
        UserError: the port is taken, Ray Serve runs on this cluster at another address, the name is taken and `replace`
            is False, or the cluster had no room for a replica within the limit of `waiting`.
    """
    was_running = is_running()
    if was_running:
        check_is_serve(host, port)
    else:
        check_port(host, port)
    app_name = APP_PREFIX + model_id
    apps = set(serve.status().applications) if was_running else set()
    if app_name in apps and not replace:
        raise UserError(
            f"an endpoint named {model_id} already runs on this cluster; choose another --name, or replace it with "
            "--replace"
        )
    prefix = path_of(model_id, taken=paths_at(host, port) if was_running else {}, app_name=app_name)
    if app_name not in apps:  # A replacement uses the resources of the old endpoint.
        wait_for(Need(what="the endpoint", resources={"CPU": NUM_CPUS}), say=say)
    if not was_running:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    try:
        _deploy(app_name, prefix, checkpoint_uri=checkpoint_uri, model_id=model_id, defaults=defaults)
        url = f"http://{host}:{port}{prefix.rstrip('/')}"
        if model_id not in models_at(host, port, prefix):
            raise RuntimeError(f"Ray Serve has deployed {model_id}, but {url} does not serve it")
    except BaseException:
        if not was_running:
            serve.shutdown()
        elif app_name not in apps and app_name in serve.status().applications:
            serve.delete(app_name)
        raise
    deployed_at = serve.status().applications[app_name].last_deployed_time_s
    return Endpoint(url=url, app_name=app_name, deployed_at=deployed_at, owns_serve=not was_running)


def _deploy(app_name: str, prefix: str, *, checkpoint_uri: str, model_id: str, defaults: SamplingSpec) -> None:
    deployment: Any = serve.deployment(serve.ingress()(CompletionReplica))
    options = deployment.options(
        name="completions",
        num_replicas=1,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_ONGOING_REQUESTS,
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=HEALTH_SECONDS,
        ray_actor_options={"num_cpus": NUM_CPUS},
    )
    serve.run(options.bind(checkpoint_uri, model_id, defaults), name=app_name, route_prefix=prefix)


def path_of(model_id: str, *, taken: dict[str, str], app_name: str) -> str:
    """Returns the path of an endpoint: its current path if it is replaced, else `/` if free, else one with its name.

    Args:
        model_id: the endpoint's name.
        taken: the paths of the cluster's applications, by name of the application.
        app_name: the name of the endpoint's application.

    Raises:
        UserError: the name cannot be part of a URL.
    """
    own = taken.get(app_name)
    if own is not None:
        return own
    if "/" not in taken.values():
        return "/"
    if not PATH_NAME.fullmatch(model_id):
        raise UserError(
            f"another endpoint uses the root path, and {model_id!r} cannot be part of a URL; choose a --name of "
            "letters, digits, dots, hyphens and underscores"
        )
    return f"/{model_id}"


def is_running() -> bool:
    """Returns whether the cluster runs Ray Serve."""
    return bool(serve.status().proxies)


def stop(endpoint: Endpoint) -> bool:
    """Stops an endpoint that this job has deployed, and Ray Serve if this job started it and nothing else uses it.

    Returns False if another job has replaced or stopped the endpoint.
    """
    apps = serve.status().applications
    app = apps.get(endpoint.app_name)
    is_ours = app is not None and app.last_deployed_time_s == endpoint.deployed_at
    if is_ours:
        serve.delete(endpoint.app_name)
    if endpoint.owns_serve and not serve.status().applications:
        serve.shutdown()
    return is_ours


def models_at(host: str, port: int, prefix: str = "/") -> list[str]:
    """Returns the ids of the models served at a path, or an empty list if no such server answers."""
    try:
        _, answer = _get(host, port, f"{prefix.rstrip('/')}/v1/models")
        return [model["id"] for model in json.loads(answer)["data"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []


def paths_at(host: str, port: int) -> dict[str, str]:
    """Returns the paths of Ray Serve's applications at an address, by name."""
    _, answer = _get(host, port, "/-/routes")
    return {name: path for path, name in json.loads(answer).items()}


def check_is_serve(host: str, port: int) -> None:
    """Checks that the Ray Serve of this cluster answers at an address.

    Raises:
        UserError: it does not answer there.
    """
    try:
        status, _ = _get(host, port, "/-/healthz")
    except (OSError, http.client.HTTPException):
        status = 0
    if status not in (200, 503):  # Serve returns 503 without applications.
        raise UserError(
            f"Ray Serve already runs on this cluster, but does not answer at http://{host}:{port}; use the --host and "
            "--port that it was started with, or stop it first with `serve shutdown`"
        )


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Returns the status and body of a response."""
    connection = http.client.HTTPConnection(host if host != "0.0.0.0" else "127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def check_port(host: str, port: int) -> None:
    """Checks that a server can listen on an address.

    Raises:
        UserError: the address is taken, or does not belong to this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from None
