"""An S3 server that misbehaves on demand: a proxy before a sound one.

Requests are signed for the address that the client knows, which travels in their `Host`, and so pass unchanged.
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
"""503 without a look at the request; no answer; an answer that ends amid its body; none until `FaultyS3.end`."""
Rule = Callable[[str, str], Fault | None]
"""Method and path of a request -> what befalls it."""

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


def none(method: str, path: str) -> None:
    """The rule of a sound server."""


def first(*faults: Fault) -> Rule:
    """The rule that the first requests meet these faults, and no other."""
    waiting, lock = list(faults), threading.Lock()

    def rule(method: str, path: str) -> Fault | None:
        with lock:
            return waiting.pop(0) if waiting else None

    return rule


def sometimes(share: float, *faults: Fault, seed: int) -> Rule:
    """The rule that a share of all requests meets one of these faults."""
    draw, lock = random.Random(seed), threading.Lock()

    def rule(method: str, path: str) -> Fault | None:
        with lock:
            return draw.choice(faults) if draw.random() < share else None

    return rule


class FaultyS3:
    """The proxy: `rule` says what happens to each request, `seen` counts what did."""

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
        """Lets a rule hold within the context."""
        self.rule = rule
        try:
            yield
        finally:
            self.rule = none


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Keeps the terminal clear of clients that went away."""


def _handler(proxy: FaultyS3, upstream_port: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.rule(self.command, self.path)
            proxy.seen[fault or "sound"] += 1
            if fault == "stall":
                proxy.ended.wait()
            if fault in ("stall", "drop"):
                self.close_connection = True
            elif fault == "slow_down":
                self._send(503, [("Content-Type", "application/xml")], SLOW_DOWN)
            else:
                self._pass_on(body, is_cut=fault == "cut")

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - names of the base class

        def _pass_on(self, body: bytes, *, is_cut: bool) -> None:
            upstream = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=60)
            with contextlib.closing(upstream), contextlib.suppress(ConnectionError):  # Where upstream is restarted.
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
            """Keeps the terminal clear."""

    return Handler
