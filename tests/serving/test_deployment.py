from __future__ import annotations

import socket

import pytest

from textgen.errors import UserError
from textgen.serving import deployment


def test_a_port_that_is_taken_is_said_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port} cannot be listened on .*--port"):
            deployment.check_port("127.0.0.1", port)
    deployment.check_port("127.0.0.1", port)


def test_no_server_has_no_models() -> None:
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
def test_each_endpoint_has_a_path_of_its_own(name: str, taken: dict[str, str], path: str) -> None:
    assert deployment.path_of(name, taken=taken, app_name=f"textgen-{name}") == path


def test_a_name_that_is_no_path_is_refused_beside_another() -> None:
    with pytest.raises(UserError, match=r"'a b' cannot stand in a URL .* --name"):
        deployment.path_of("a b", taken={"textgen-other": "/"}, app_name="textgen-a b")
