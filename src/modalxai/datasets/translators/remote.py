"""A chat model behind an OpenAI-compatible server, as a translator that reads the dialogue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modalxai.datasets import chosen
from modalxai.datasets.endpoint import Endpoint
from modalxai.datasets.translators.prompt import PROMPT, Prompt
from modalxai.errors import InputError, RequestError
from modalxai.protocols import Line


@dataclass(frozen=True, kw_only=True)
class EndpointTranslator(Endpoint):
    """Asks ``/chat/completions`` of an OpenAI-compatible server, one line a request.

    The model sees the lines of the dialogue around the one that it translates: who is addressed,
    what a pronoun that Korean leaves out would be, and whether a compliment is meant.

    Parameters
    ----------
    model
        Its name at the server.
    source, target
        Languages, as the prompt names them: ``"Korean"``, ``"English"``.
    before, after
        How many lines of context it sees.
    prompt
        What it is told, see `Prompt`.
    temperature
        0 for the likeliest answer; ``None`` leaves it to models that take none.
    base_url, key_variable, timeout, retries, first_wait, longest_wait
        See `modalxai.datasets.endpoint.Endpoint`.
    requests_per_minute, concurrency
        See `modalxai.datasets.endpoint.Endpoint`.

    Raises
    ------
    InputError
        A setting that cannot be used.

    Examples
    --------
    ::

        translator = mx.plugins.create(
            "translators", "openai-compatible",
            model="gpt-4o-mini", source="Korean", target="English",
        )
        corpus = mx.datasets.translate_corpus(translator, corpus, cache="translated/")
    """

    model: str
    source: str
    target: str
    before: int = 3
    after: int = 3
    prompt: Prompt = PROMPT
    temperature: float | None = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen.word("model", self.model)
        chosen.word("source", self.source)
        chosen.word("target", self.target)
        chosen.number("before", self.before, low=0, whole=True)
        chosen.number("after", self.after, low=0, whole=True)
        if self.temperature is not None:
            chosen.number("temperature", self.temperature, low=0)
        if not isinstance(self.prompt, Prompt):
            raise InputError(
                "prompt is no prompt",
                expected="modalxai.datasets.translators.Prompt(system=..., user=...)",
                got=type(self.prompt).__name__,
                mend="wrap the templates in a Prompt, or leave it out",
            )

    @property
    def name(self) -> str:
        """``"openai-compatible"``."""
        return "openai-compatible"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is asked of whom; no key and no timeout."""
        names = ("model", "source", "target", "before", "after", "temperature")
        return {
            "base_url": self.base_url.rstrip("/"),
            **{name: getattr(self, name) for name in names},
            "prompt": asdict(self.prompt),
        }

    @property
    def batch_size(self) -> int:
        """One line a request."""
        return 1

    @property
    def context(self) -> tuple[int, int]:
        """``before, after``."""
        return self.before, self.after

    def translate(self, lines: Sequence[Line]) -> list[str]:
        """One translation per line; one request each.

        Raises
        ------
        AccessError, RequestError
            See `Endpoint.post`; also an answer that is empty, cut or no chat.
        """
        return [self._ask(line) for line in lines]

    def _ask(self, line: Line) -> str:
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": self.prompt.messages(line, self.source, self.target),
        }
        if self.temperature is not None:
            asked["temperature"] = self.temperature
        body = json.dumps(asked, ensure_ascii=False).encode()
        answer = self.post("chat/completions", body, "application/json")
        try:
            choice = answer["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._unusable(f"an answer of another form: {_shape(answer)}") from None
        if not isinstance(text, str) or not text.strip():
            raise self._unusable("no text")
        if reason not in (None, "stop"):
            raise self._unusable(f"a text that ended early, by {str(reason)[:40]!r}")
        return text.strip()

    def _unusable(self, got: str) -> RequestError:
        return RequestError(
            f"{self.base_url} gave no translation",
            expected='choices[0].message.content, with finish_reason "stop"',
            got=got,
            mend="check the model and the prompt; run it again for the samples that failed",
        )


def _shape(answer: object) -> str:
    return f"keys {sorted(answer)[:8]}" if isinstance(answer, dict) else type(answer).__name__
