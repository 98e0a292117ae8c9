"""A proxy in front of an S3 server that causes faults on demand.

Requests are signed for the address that the client uses, which is in their `Host` header, so they are forwarded
unchanged.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

Fault = Literal["slow_down", "drop", "cut", "stall"]
"""503 without reading the request; no response; a truncated response body; no response until `FaultyS3.end`."""
Rule = Callable[[str, str], Fault | None]
"""Maps method and path of a request to a fault, or None."""

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


def none(method: str, path: str) -> None:
    """The rule of a server without faults."""


def first(*faults: Fault) -> Rule:
    """Returns a rule by which the first requests have these faults, and the others none."""
    waiting, lock = list(faults), threading.Lock()

    def rule(method: str, path: str) -> Fault | None:
        with lock:
            return waiting.pop(0) if waiting else None

    return rule


def sometimes(share: float, *faults: Fault, seed: int) -> Rule:
    """Returns a rule by which a share of all requests has one of these faults."""
    draw, lock = random.Random(seed), threading.Lock()

    def rule(method: str, path: str) -> Fault | None:
        with lock:
            return draw.choice(faults) if draw.random() < share else None

    return rule


class FaultyS3:
    """The proxy. `rule` determines the fault of each request, and `seen` counts the faults."""

    def __init__(self, upstream_port: int) -> None:
        self.rule: Rule = none
        self.seen: Counter[str] = Counter()
        self.ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self, upstream_port))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyS3:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def under(self, rule: Rule) -> Iterator[None]:
        """Applies a rule within the context."""
        self.rule = rule
        try:
            yield
        finally:
            self.rule = none


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Prints nothing about clients that have disconnected."""


def _handler(proxy: FaultyS3, upstream_port: int) -> type[http.server.BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"proxy": proxy, "upstream_port": upstream_port})


class _Handler(http.server.BaseHTTPRequestHandler):
    """Forwards requests to `upstream_port`, with the faults of `proxy`."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyS3
    upstream_port: int

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.rule(self.command, self.path)
        self.proxy.seen[fault or "sound"] += 1
        if fault == "stall":
            self.proxy.ended.wait()
        if fault in ("stall", "drop"):
            self.close_connection = True
        elif fault == "slow_down":
            self._send(503, [("Content-Type", "application/xml")], SLOW_DOWN)
        else:
            self._pass_on(body, is_cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - names of the base class

    def _pass_on(self, body: bytes, *, is_cut: bool) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=60)
        with contextlib.closing(upstream), contextlib.suppress(ConnectionError):  # Upstream may be restarting.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
            kept = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in ("content-length", "transfer-encoding", "connection")
            ]
            if self.command == "HEAD":
                kept.append(("Content-Length", answer.getheader("Content-Length") or "0"))
            self._send(answer.status, kept, content, num_bytes=len(content) // 2 if is_cut else None)
            return
        self.close_connection = True

    def _send(
        self, status: int, headers: list[tuple[str, str]], content: bytes, *, num_bytes: int | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content[:num_bytes])
        self.close_connection = num_bytes is not None

    def log_message(self, *_: object) -> None:
        """Prints nothing."""
