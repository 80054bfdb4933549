"""What other packages and servers say when they fail, without the user's keys."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress

SHOWN = 400
"""Letters of a foreign message that one of ours repeats."""
SHORTEST = 8
"""Letters: what is shorter is no key, and would be masked in every other word."""
_NAMES = re.compile("TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)


def told(error: BaseException, *secrets: str | None) -> str:
    """The kind of an error and what it says, in one line, `masked`."""
    return masked(f"{type(error).__name__}: {' '.join(str(error).split())}", *secrets)[:SHOWN]


def masked(text: str, *secrets: str | None) -> str:
    """A text with every known key as ``***``.

    Known are those given, the values of environment variables that are called tokens, keys,
    secrets or passwords, and the token that ``hf auth login`` stored.
    """
    for secret in _known(secrets):
        text = text.replace(secret, "***")
    return text


def cause(error: BaseException, *secrets: str | None) -> BaseException | None:
    """The error as a cause to raise from; ``None`` where its traceback would print a key."""
    printed = "".join(traceback.format_exception(error))
    return None if any(secret in printed for secret in _known(secrets)) else error


def _known(given: tuple[str | None, ...]) -> Iterator[str]:
    found = [*given, *(value for name, value in os.environ.items() if _NAMES.search(name))]
    hub = sys.modules.get("huggingface_hub")  # not imported: then nobody has read its token
    if hub is not None:
        with suppress(OSError, ValueError):
            found.append(hub.get_token())
    plain = {secret.strip() for secret in found if secret}
    # The longest first: one may be a part of another.
    yield from sorted((one for one in plain if len(one) >= SHORTEST), key=len, reverse=True)
