"""One request at a time, repeated while there is hope.

The standard library is enough for a POST with a deadline, and no dependency brings an HTTP client
that every environment has: which one transformers installs has changed with its versions.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from modalxai.errors import AccessError, RequestError

PASSING = (408, 409, 425, 429)
"""Status codes, beside 5xx, after which the same request may be answered."""
LARGEST = 1 << 24
"""Bytes: no text of ours is longer."""
SHOWN = 300
"""Letters of a server's answer that a message repeats."""

sleep = time.sleep


class _PassingError(Exception):
    """A failure that may pass; ``after`` seconds, if the server says so."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


class _Stay(urllib.request.HTTPRedirectHandler):
    """No redirects: the key would travel along, and a POST would become a GET."""

    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


class Client:
    """Sends requests, of several threads too; see `Endpoint` for the settings.

    Parameters
    ----------
    timeout, retries, first_wait, longest_wait
        As in `Endpoint`.
    spacing
        Least seconds from one request to the next.
    """

    def __init__(
        self, timeout: float, retries: int, first_wait: float, longest_wait: float, spacing: float
    ) -> None:
        self.timeout = timeout
        self.retries = retries
        self.first_wait = first_wait
        self.longest_wait = longest_wait
        self.spacing = spacing
        self._due = 0.0
        self._lock = threading.Lock()
        self._opener = urllib.request.build_opener(_Stay)
        self._random = random.Random()  # its own: the caller's draws stay as they were

    def post(
        self, url: str, body: bytes, content_type: str, key: str | None, variable: str | None
    ) -> Any:
        """The answer, read as json; see `Endpoint.post`."""
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        failed = _PassingError("")
        for attempt in range(self.retries + 1):
            if attempt:
                sleep(self._pause(attempt, failed.after, url))
            self._keep_pace()
            request = urllib.request.Request(url, body, headers, method="POST")
            try:
                return self._once(request, url, key, variable)
            except _PassingError as passing:
                failed = passing
        raise RequestError(
            f"{url} does not answer",
            expected="an answer in json",
            got=f"{failed}, after {self.retries + 1} requests",
            mend="run it again later: what is in the cache is not asked again",
        )

    def _once(
        self, request: urllib.request.Request, url: str, key: str | None, variable: str | None
    ) -> Any:
        deadline = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                page = response.headers.get_content_type() == "text/html"
                content = _read(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                _refused(error, _error_body(error, deadline), url, key, variable)
        except (TimeoutError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise AccessError(
                    f"{url} cannot prove who it is",
                    expected="a certificate that this machine trusts",
                    got=str(reason.verify_message),
                    mend="correct the address, or install the certificate",
                ) from None
            if isinstance(reason, TimeoutError):
                raise _PassingError(f"no answer within {self.timeout:g} s") from None
            raise _PassingError(f"no connection ({_clean(repr(reason), key)})") from None
        try:
            return json.loads(content)
        except (UnicodeDecodeError, ValueError, RecursionError):
            if page or content.lstrip()[:1] == b"<":
                raise AccessError(
                    f"{url} answers with a web page",
                    expected="the address of an OpenAI-compatible interface",
                    got=_clean(content.decode("utf-8", "replace"), key),
                    mend="correct base_url; it often ends with /v1",
                ) from None
            raise _PassingError("broken json") from None

    def _pause(self, attempt: int, asked: float, url: str) -> float:
        if asked > self.longest_wait:
            raise RequestError(
                f"{url} asks for a long wait",
                expected=f"at most longest_wait={self.longest_wait:g} seconds",
                got=f"Retry-After: {asked:.0f} seconds",
                mend="run it again then, or raise longest_wait",
            )
        # The exponent is bounded, because 2.0**1024 is an error.
        wait = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt - 1, 64))
        return max(asked, wait * self._random.uniform(0.5, 1.0))

    def _keep_pace(self) -> None:
        # Each request takes its place in the row before it waits, however many threads ask.
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._due)
            self._due = begin + self.spacing
        if begin > now:
            sleep(begin - now)


def _read(response: Any, deadline: float) -> bytes:
    """The whole body. A socket's own timeout is per packet, and packets may come for ever."""
    parts, size = [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise _PassingError(f"an answer of more than {LARGEST} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    promised = response.headers.get("Content-Length", "")
    if promised.isdigit() and size < int(promised):
        raise _PassingError("an answer that was cut")
    return b"".join(parts)


def _error_body(error: Any, deadline: float) -> bytes:
    try:
        return _read(error.fp, deadline)
    except (_PassingError, http.client.HTTPException, OSError, AttributeError):
        return b""  # the status says enough


def _refused(
    error: urllib.error.HTTPError, body: bytes, url: str, key: str | None, variable: str | None
) -> NoReturn:
    status = error.code
    said, code = _message(body)
    got = _clean(f"status {status} {said}", key)
    if status in (401, 403) or code == "insufficient_quota":
        raise AccessError(
            f"{url} gives no access",
            expected="a valid key with credit"
            if variable is None
            else f"a valid key in {variable}",
            got=got,
            mend="name the variable that holds one: key_variable=..."
            if variable is None
            else f"correct {variable}, or name another variable: key_variable=...",
        ) from None
    if status in (404, 405, 410) or 300 <= status < 400:
        place = error.headers.get("Location", "") if status < 400 else ""
        raise AccessError(
            f"{url} is not there, or has no such model",
            expected="the address of an OpenAI-compatible interface, and a model that it serves",
            got=_clean(f"{got} {place}", key),
            mend="correct base_url (it often ends with /v1) or model",
        ) from None
    if status in PASSING or status >= 500:
        raise _PassingError(got, _retry_after(error.headers.get("Retry-After", ""))) from None
    raise RequestError(
        f"{url} refuses the request",
        expected="a sample and settings that the model takes",
        got=got,
        mend="leave the sample out, or correct what the server names",
    ) from None


def _message(body: bytes) -> tuple[str, str]:
    """What an error says, and its code: ``{"error": {"message": ..., "code": ...}}``."""
    try:
        found = json.loads(body)
        error = found.get("error", found)
        if isinstance(error, dict):
            return str(error.get("message", "")), str(error.get("code", ""))
        return str(error), ""
    except (UnicodeDecodeError, ValueError, AttributeError, RecursionError):
        return body.decode("utf-8", "replace"), ""


def _retry_after(value: str) -> float:
    """Seconds, from a number or a date; 0 for what is neither."""
    try:
        return max(0.0, float(value)) if value.strip() else 0.0
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _clean(text: str, key: str | None) -> str:
    """One short line, without the key, which some servers repeat."""
    if key:
        text = text.replace(key, "***")
    return " ".join(text.split())[:SHOWN]
