"""Recognisers: speech to text, over a whole corpus, once.

`transcribe_corpus` adds what a `Transcriber` hears as a column. Three come with modalxai, by the
names of their plugins: ``transformers`` runs a checkpoint, ``openai-compatible`` asks a server,
``simulated`` corrupts the true transcript at a rate of your choice.
"""

from __future__ import annotations

from modalxai.datasets.transcribers.corpus import Transcribed, transcribe_corpus
from modalxai.datasets.transcribers.corruption import Corruption
from modalxai.datasets.transcribers.local import TransformersTranscriber
from modalxai.datasets.transcribers.remote import EndpointTranscriber
from modalxai.datasets.transcribers.simulated import SimulatedTranscriber
from modalxai.protocols import Transcriber

modalxai_api = 1
"""See `modalxai.plugins.API`."""

__all__ = [
    "Corruption",
    "EndpointTranscriber",
    "SimulatedTranscriber",
    "Transcribed",
    "Transcriber",
    "TransformersTranscriber",
    "transcribe_corpus",
]
