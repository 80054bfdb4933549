"""The clients' one way to a server: what is sent, what is repeated, what is never told."""

from __future__ import annotations

import email.utils
import pickle
import random
import socket
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import endpoint_server as web

from modalxai.datasets import client
from modalxai.datasets.endpoint import OPENAI_KEY, Endpoint
from modalxai.errors import AccessError, InputError, RequestError

KEY = "sk-very-secret-0123456789"
GOOD = {"text": "네"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[web.Server]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv(OPENAI_KEY, raising=False)
    with web.serving(web.says(GOOD)) as found:
        yield found


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have slept."""
    found: list[float] = []
    monkeypatch.setattr(client, "sleep", found.append)
    return found


def ask(server: web.Server, **chosen: Any) -> Any:
    return Endpoint(base_url=server.url, **chosen).post("x", b"{}", "application/json")


# what passes


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(server: web.Server, waits: list[float], status: int) -> None:
    server.script = [web.fails(status), web.fails(status)]
    assert ask(server) == GOOD
    assert len(server.requests) == 3
    assert len(waits) == 2
    assert len({request.body for request in server.requests}) == 1


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (web.says(b'{"text": "n'), "broken json"),
        (web.says(b"\xff\xfe"), "broken json"),
        (web.says(b""), "broken json"),
        (web.says(b"[" * 100_000), "broken json"),
        (web.cuts(b'{"text": "na"}'), "cut"),
        (web.hangs_up, "no connection"),
        (web.sleeps(0.5), "no answer within"),
        (web.drips(b'{"text": "a long story that never ends"}', 0.04), "no answer within"),
        (web.fails(503, "busy"), "status 503 busy"),
        (web.says(b"<html>bad gateway</html>", 502, Content_Type="text/html"), "status 502"),
    ],
)
def test_every_failure_is_told_after_the_last_try(
    server: web.Server, waits: list[float], reply: web.Reply, told: str
) -> None:
    server.always = reply
    timeout = 0.25 if told.startswith("no answer") else 5.0
    with pytest.raises(RequestError, match="does not answer") as error:
        ask(server, retries=1, timeout=timeout)
    assert not isinstance(error.value, AccessError)
    assert told in error.value.got
    assert "2 requests" in error.value.got
    assert len(server.requests) == 2
    server.always, server.script = web.says(GOOD), [reply]
    assert ask(server, retries=1, timeout=timeout) == GOOD


def test_a_slow_answer_that_comes_in_time_is_taken(server: web.Server) -> None:
    server.always = web.drips(b'{"text": 1}', 0.01)
    assert ask(server, timeout=5, retries=0) == {"text": 1}


def test_the_timeout_holds_for_the_whole_answer(server: web.Server) -> None:
    server.always = web.drips(b" " * 200, 0.03)
    start = time.monotonic()
    with pytest.raises(RequestError):
        ask(server, timeout=0.2, retries=0)
    assert time.monotonic() - start < 2  # dripping takes 6


def test_nobody_there(waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RequestError, match="no connection"):
        raise_text(Endpoint(base_url=f"http://127.0.0.1:{port}", retries=2))
    assert len(waits) == 2


def raise_text(endpoint: Endpoint) -> None:
    """The whole message as the error, for `match`."""
    try:
        endpoint.post("x", b"", "text/plain")
    except RequestError as error:
        raise RequestError(str(error), expected="", got="", mend="") from None


def test_an_endless_answer_is_not_kept(
    server: web.Server, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LARGEST", 1000)
    server.always = web.says(b" " * 5000 + b"{}")
    with pytest.raises(RequestError) as error:
        ask(server, retries=0)
    assert "more than 1000 bytes" in error.value.got


# how long it waits


def test_waits_double_and_half_of_each_is_chance(server: web.Server, waits: list[float]) -> None:
    server.always = web.fails(500)
    with pytest.raises(RequestError):
        ask(server, retries=6, first_wait=1.0, longest_wait=8.0)
    for wait, whole in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert whole / 2 <= wait <= whole
    first = list(waits)
    waits.clear()
    with pytest.raises(RequestError):
        ask(server, retries=6, first_wait=1.0, longest_wait=8.0)
    assert waits != first


def test_the_callers_draws_stay_as_they_were(server: web.Server, waits: list[float]) -> None:
    server.script = [web.fails(500)] * 3
    state = random.getstate()
    ask(server)
    assert random.getstate() == state


def test_retry_after_is_honoured(server: web.Server, waits: list[float]) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.script = [
        web.fails(429, Retry_After="7"),
        web.fails(503, Retry_After=date),
        web.fails(429, Retry_After="soon"),
        web.fails(429, Retry_After="-5"),
        web.fails(429, Retry_After="0"),
    ]
    assert ask(server, first_wait=0.01) == GOOD
    assert waits[0] == 7
    assert 28 < waits[1] <= 30
    assert all(wait <= 0.16 for wait in waits[2:])


def test_retry_after_really_delays(server: web.Server) -> None:
    server.script = [web.fails(429, Retry_After="1")]
    ask(server, first_wait=0.0)
    first, second = (request.at for request in server.requests)
    assert second - first >= 0.99


def test_a_longer_wait_than_allowed_is_told_at_once(server: web.Server, waits: list[float]) -> None:
    server.always = web.fails(429, Retry_After="3600")
    with pytest.raises(RequestError, match="long wait") as error:
        ask(server)
    assert "3600" in error.value.got
    assert (len(server.requests), waits) == (1, [])


def test_requests_keep_their_pace(server: web.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    monkeypatch.setattr(client, "sleep", lambda seconds: begun.append(time.monotonic() + seconds))
    endpoint = Endpoint(base_url=server.url, requests_per_minute=6)
    start = time.monotonic()
    for _ in range(4):
        endpoint.post("x", b"", "text/plain")
    for number, moment in enumerate(begun, 1):
        assert 10 * number <= moment - start < 10 * number + 5
    assert len(begun) == 3


# what does not pass


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (web.fails(401, "bad key"), "gives no access"),
        (web.fails(403, "bad country"), "gives no access"),
        (web.fails(404, "no model m"), "no such model"),
        (web.fails(405), "is not there"),
        (web.says({"error": {"message": "", "code": "insufficient_quota"}}, 429), "no access"),
        (web.says(b"<!doctype html><p>Welcome"), "a web page"),
        (web.says(b"Sign in", Content_Type="text/html; charset=utf-8"), "a web page"),
    ],
)
def test_what_would_refuse_everybody_is_an_access_error(
    server: web.Server, waits: list[float], reply: web.Reply, told: str
) -> None:
    server.always = reply
    with pytest.raises(AccessError, match=told):
        ask(server)
    assert (len(server.requests), waits) == (1, [])


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_request_is_not_repeated(
    server: web.Server, waits: list[float], status: int
) -> None:
    server.always = web.fails(status, "too long")
    with pytest.raises(RequestError, match="refuses") as error:
        ask(server)
    assert not isinstance(error.value, AccessError)
    assert "too long" in error.value.got
    assert (len(server.requests), waits) == (1, [])


def test_error_bodies_of_every_form_are_told(server: web.Server) -> None:
    for body in (
        b'{"error": "plain"}',
        b'{"message": "plain"}',
        b"plain",
        b'{"error": {}}',
        b"[1]",
    ):
        server.always = web.says(body, 400)
        with pytest.raises(RequestError) as error:
            ask(server)
        assert "status 400" in error.value.got
        assert "plain" in error.value.got or b"plain" not in body


# the key


def test_the_key_is_sent_as_a_bearer(server: web.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    ask(server, key_variable="MY_KEY")
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].path == "/v1/x"


def test_openais_key_goes_to_no_other_server(
    server: web.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPENAI_KEY, KEY)
    ask(server)
    assert "authorization" not in server.requests[0].headers
    assert Endpoint().variable == OPENAI_KEY
    assert Endpoint(base_url="https://api.openai.com/v1/").variable == OPENAI_KEY


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_its_variable(
    server: web.Server, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(AccessError) as error:
        ask(server, key_variable="MY_KEY")
    assert "MY_KEY" in error.value.expected
    assert "export MY_KEY=" in error.value.mend
    assert server.requests == []


def test_a_redirect_is_not_followed(server: web.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with web.serving(web.says(GOOD)) as other:
        for status in (301, 302, 303, 307, 308):
            server.always = web.says(b"", status, Location=f"{other.url}/x")
            with pytest.raises(AccessError) as error:
                ask(server, key_variable="MY_KEY")
            assert other.url in error.value.got
        assert other.requests == []


@pytest.mark.parametrize("key", [KEY, "bad\nkey-secret", "비밀-secret", "two words-secret"])
def test_no_message_repr_or_pickle_tells_the_key(
    server: web.Server, waits: list[float], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    endpoint = Endpoint(base_url=server.url, key_variable="MY_KEY", retries=1, timeout=0.2)
    echo = f"your key {key} is bad".encode()
    for reply in (
        web.fails(401, f"Incorrect API key provided: {key}"),
        web.fails(500, key),
        web.fails(400, key),
        web.says(b"<html>" + echo),
        web.says(echo, 404),
        web.says(b"", 302, Location=f"http://127.0.0.1:1/{KEY}"),
        web.sleeps(0.4),
        web.hangs_up,
    ):
        server.always = reply
        with pytest.raises(RequestError) as error:
            endpoint.post("x", b"", "text/plain")
        told = "".join(traceback.format_exception(error.value))
        assert "secret" not in told + str(error.value) + repr(error.value.__dict__)
    assert "secret" not in repr(endpoint) + repr(vars(endpoint)) + repr(vars(endpoint._client))
    fresh = Endpoint(base_url=server.url, key_variable="MY_KEY")
    assert b"secret" not in pickle.dumps(fresh)
    assert pickle.loads(pickle.dumps(fresh)) == fresh


# settings


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "https://user:secret@host/v1",
        "https://secret@host/v1",
        "https://host/v1?key=secret",
        "https://host/v1#secret",
        "https://ho st/v1",
        "https://host/v1\n",
        "http://host:99999",
        "http://host:0",
        "http://[::1",
        None,
        3,
    ],
)
def test_an_address_that_cannot_be_used_is_not_repeated(address: Any) -> None:
    with pytest.raises(InputError, match="base_url") as error:
        Endpoint(base_url=address)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"retries": -1},
        {"retries": 1.5},
        {"first_wait": -1},
        {"first_wait": 9, "longest_wait": 1},
        {"requests_per_minute": 0},
        {"timeout": "60"},
        {"retries": True},
        {"key_variable": ""},
    ],
)
def test_settings_that_cannot_be_used(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{list(wrong)[-1]} cannot be"):
        Endpoint(**wrong)


@settings(max_examples=50, deadline=None)
@given(st.text() | st.floats().map(str))
def test_any_retry_after_is_a_wait(value: str) -> None:
    assert client._retry_after(value) >= 0
