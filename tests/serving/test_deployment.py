from __future__ import annotations

import socket

import pytest

from textgen.errors import UserError
from textgen.serving import deployment


def test_a_taken_port_is_refused_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*--port"):
            deployment.check_port("127.0.0.1", port)
    deployment.check_port("127.0.0.1", port)


def test_without_a_server_there_are_no_models() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert deployment.models_at("127.0.0.1", free.getsockname()[1]) == []


@pytest.mark.parametrize(
    ("name", "taken", "path"),
    [
        ("small", {}, "/"),
        ("small", {"textgen-other": "/"}, "/small"),
        ("small", {"textgen-other": "/other"}, "/"),
        ("small", {"textgen-small": "/small", "textgen-other": "/"}, "/small"),
        ("a b", {"textgen-a b": "/", "textgen-other": "/other"}, "/"),
    ],
)
def test_each_endpoint_has_its_own_path(name: str, taken: dict[str, str], path: str) -> None:
    assert deployment.path_of(name, taken=taken, app_name=f"textgen-{name}") == path


def test_a_name_that_cannot_be_a_path_is_refused() -> None:
    with pytest.raises(UserError, match=r"'a b' cannot be part of a URL; choose a --name"):
        deployment.path_of("a b", taken={"textgen-other": "/"}, app_name="textgen-a b")
