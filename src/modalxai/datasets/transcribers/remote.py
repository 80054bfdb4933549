"""A recogniser behind an OpenAI-compatible server."""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from modalxai.datasets import chosen
from modalxai.datasets.endpoint import Endpoint
from modalxai.datasets.transcribers.hearing import listen
from modalxai.errors import ModalxaiError, RequestError
from modalxai.types import Audio

RATE = 16_000
"""Hertz: what speech recognisers hear, and a third of the bytes of 48 000."""


@dataclass(frozen=True, kw_only=True)
class EndpointTranscriber(Endpoint):
    """Asks ``/audio/transcriptions`` of an OpenAI-compatible server, one recording a request.

    Recordings are sent as 16-bit wav files, mono, at 16 kHz.

    Parameters
    ----------
    model
        Its name at the server, ``"whisper-1"``.
    language
        ISO code of what is spoken, ``"ko"``; ``None`` lets the server guess.
    prompt
        Words that the model may expect; ``None`` for none.
    base_url, key_variable, timeout, retries, first_wait, longest_wait
        See `modalxai.datasets.endpoint.Endpoint`.
    requests_per_minute, concurrency
        See `modalxai.datasets.endpoint.Endpoint`.

    Examples
    --------
    ::

        recogniser = mx.plugins.create(
            "transcribers", "openai-compatible", model="whisper-1", language="ko"
        )
        heard = mx.datasets.transcribe_corpus(recogniser, corpus, cache="heard/")
    """

    model: str
    language: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen.word("model", self.model)
        chosen.word("language", self.language, optional=True)
        chosen.word("prompt", self.prompt, optional=True)

    @property
    def name(self) -> str:
        """``"openai-compatible"``."""
        return "openai-compatible"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is asked of whom; no key and no timeout."""
        return {"base_url": self.base_url.rstrip("/"), **self._fields()}

    @property
    def batch_size(self) -> int:
        """One recording a request."""
        return 1

    def transcribe(self, audio: Sequence[Audio]) -> list[str]:
        """One text per recording; one request each.

        Raises
        ------
        AccessError, RequestError
            See `Endpoint.post`.
        InputError
            A recording that cannot be used, is silent or too short; nothing is sent then.
        """
        files = []
        for index, recording in enumerate(audio):
            try:
                files.append(wav(listen(recording, RATE)))
            except ModalxaiError as error:
                error.index = index
                raise
        return [self._ask(file) for file in files]

    def _ask(self, file: bytes) -> str:
        fields = {**self._fields(), "response_format": "json", "temperature": "0"}
        body, kind = form({name: str(value) for name, value in fields.items()}, file)
        answer = self.post("audio/transcriptions", body, kind)
        text = answer.get("text") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise RequestError(
                f"{self.base_url} answers with something else than a transcript",
                expected='json with a string under "text"',
                got=_shape(answer),
                mend="check that the address serves /audio/transcriptions",
            )
        return text.strip()

    def _fields(self) -> dict[str, Any]:
        fields = {"model": self.model, "language": self.language, "prompt": self.prompt}
        return {name: value for name, value in fields.items() if value is not None}


def wav(waveform: Tensor) -> bytes:
    """A waveform [S] at 16 kHz as a 16-bit wav file; scaled down where it would clip."""
    peak = max(1.0, float(waveform.abs().max()))
    samples = np.round(waveform.numpy() / peak * 32767).astype("<i2")
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return written.getvalue()


def form(fields: Mapping[str, str], file: bytes) -> tuple[bytes, str]:
    """A multipart form with one wav file, and its content type (RFC 7578)."""
    # From the content, so that the same question is the same request.
    boundary = hashlib.blake2b(file + repr(fields).encode(), digest_size=16).hexdigest()
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="audio.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    body = b"".join([*parts, head.encode(), file, f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def _shape(answer: object) -> str:
    return f"keys {sorted(answer)[:8]}" if isinstance(answer, dict) else type(answer).__name__
