"""Where an OpenAI-compatible server listens, and how patiently it is asked."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from modalxai.datasets import chosen
from modalxai.datasets.client import Client
from modalxai.errors import AccessError, InputError

OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
_MAKING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An OpenAI-compatible server.

    The key is read from the environment whenever a request is sent, and kept nowhere: it is in no
    attribute, file or message. A key goes to the server that it was named for and to no other: it
    follows no redirect, and OpenAI's own is not sent to another address.

    Parameters
    ----------
    base_url
        The address that the paths of the interface follow, ``"http://localhost:8000/v1"``.
    key_variable
        The environment variable that holds the key. ``None``: ``OPENAI_API_KEY`` at OpenAI's own
        address, no key at any other.
    timeout
        Seconds that an answer may take, from the request to its last byte.
    retries
        How often a request is repeated after a failure that may pass: no connection, a timeout, a
        cut or broken answer, status 408, 409, 425, 429 or 5xx.
    first_wait, longest_wait
        Seconds before the first repetition, and at most before any. The wait doubles each time,
        and a random half of it is left out, so that several processes do not come back together.
        A server that asks for more (``Retry-After``) gets it, up to ``longest_wait``.
    requests_per_minute
        Most requests of this process, spread evenly; ``None`` for no limit.
    concurrency
        Most requests at once. They keep `requests_per_minute` together, and answers are the same.

    Raises
    ------
    InputError
        An address or a setting that cannot be used.
    """

    base_url: str = OPENAI
    key_variable: str | None = None
    timeout: float = 60.0
    retries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 120.0
    requests_per_minute: float | None = None
    concurrency: int = 1

    def __post_init__(self) -> None:
        _check_address(self.base_url)
        chosen.word("key_variable", self.key_variable, optional=True)
        chosen.number("timeout", self.timeout, low=0.001)
        chosen.number("retries", self.retries, low=0, whole=True)
        chosen.number("first_wait", self.first_wait, low=0)
        chosen.number("longest_wait", self.longest_wait, low=self.first_wait)
        chosen.number("concurrency", self.concurrency, low=1, high=64, whole=True)
        if self.requests_per_minute is not None:
            chosen.number("requests_per_minute", self.requests_per_minute, low=0.001)

    @property
    def variable(self) -> str | None:
        """The environment variable in use, ``None`` if no key is sent."""
        if self.key_variable is None and self.base_url.rstrip("/") == OPENAI:
            return OPENAI_KEY
        return self.key_variable

    def post(self, path: str, body: bytes, content_type: str) -> Any:
        """What the server answers, read as json.

        Raises
        ------
        AccessError
            No key, or a server that would refuse every request alike.
        RequestError
            This request got no usable answer.
        """
        with _MAKING:  # one client for all threads, or each would keep its own pace
            client = self._client
        return client.post(
            f"{self.base_url.rstrip('/')}/{path}", body, content_type, self._key(), self.variable
        )

    def __getstate__(self) -> dict[str, Any]:
        # Copies in other processes open their own connections.
        return {name: value for name, value in self.__dict__.items() if name != "_client"}

    @cached_property
    def _client(self) -> Client:
        return Client(
            self.timeout,
            self.retries,
            self.first_wait,
            self.longest_wait,
            60.0 / self.requests_per_minute if self.requests_per_minute else 0.0,
        )

    def _key(self) -> str | None:
        if self.variable is None:
            return None
        key = os.environ.get(self.variable, "").strip()
        # Anything else cannot stand in a header, and http.client would quote it in its error.
        if not key or not all("!" <= letter <= "~" for letter in key):
            raise AccessError(
                f"no key for {self.base_url}",
                expected=f"the environment variable {self.variable}",
                got="letters that no key has" if key else "it is not set",
                mend=f"set it before starting Python: export {self.variable}=...; "
                "or name another with key_variable=...",
            )
        return key


def _check_address(address: str) -> None:
    # What was given is not repeated: it may hold a password.
    wrong = None
    try:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            wrong = "no http address"
        elif parts.username is not None or parts.password is not None:
            wrong = "an address with a user name or password"
        elif parts.query or parts.fragment or any(letter <= " " for letter in address):
            wrong = "an address with a query, a fragment or spaces"
        elif parts.port == 0:
            wrong = "port 0"
    except (ValueError, AttributeError, TypeError):
        wrong = "no address at all"
    if wrong is not None:
        raise InputError(
            "base_url cannot be used",
            expected='an address such as "http://localhost:8000/v1", without keys in it',
            got=wrong,
            mend="put the key into an environment variable, and name it: key_variable=...",
        )
