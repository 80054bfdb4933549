"""A real HTTP server in a thread, which answers or fails as it is told, and counts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler"], None]


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """``script`` is played once, one reply per request; then ``always`` answers."""

    always: Reply
    script: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    scripted: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.scripted.lock:
            self.request_seen = Request(self.path, headers, body, time.monotonic())
            self.scripted.requests.append(self.request_seen)
            reply = self.scripted.script.pop(0) if self.scripted.script else self.scripted.always
        with suppress(BrokenPipeError, ConnectionResetError):  # the client may have given up
            reply(self)

    do_GET = do_POST  # noqa: N815 # a followed redirect would come as one

    def log_message(self, format: str, *args: object) -> None:
        pass

    def send(
        self, content: bytes, status: int = 200, promised: int | None = None, **headers: str
    ) -> None:
        self.send_response(status)
        headers.setdefault("Content-Type", "application/json")
        headers["Content-Length"] = str(len(content) if promised is None else promised)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


def says(answer: Any, status: int = 200, **headers: str) -> Reply:
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return lambda handler: handler.send(content, status, **headers)


def fails(status: int, message: str = "no", **headers: str) -> Reply:
    return says({"error": {"message": message}}, status, **headers)


def sleeps(seconds: float) -> Reply:
    return lambda handler: time.sleep(seconds)


def cuts(content: bytes) -> Reply:
    """Promises more than it sends, and hangs up."""

    def reply(handler: Handler) -> None:
        handler.send(content, promised=len(content) + 10)
        handler.close_connection = True

    return reply


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


def drips(content: bytes, pause: float) -> Reply:
    """One byte at a time: no single wait is long."""

    def reply(handler: Handler) -> None:
        handler.send(b"", promised=len(content))
        for byte in content:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(pause)

    return reply


@contextmanager
def serving(always: Reply) -> Iterator[Server]:
    server = Server(always)
    handler = type("Scripted", (Handler,), {"scripted": server})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listener.daemon_threads = True
    server.url = f"http://127.0.0.1:{listener.server_port}/v1"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
