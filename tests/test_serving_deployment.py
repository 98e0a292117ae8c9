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
