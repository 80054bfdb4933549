"""Translators: a corpus in another language, over every text once.

`translate_corpus` adds the translations of a `Translator` as a column. Two come with modalxai, by
the names of their plugins: ``transformers`` runs a checkpoint, ``openai-compatible`` asks a chat
model, which sees the lines of the dialogue before and after the one it translates.
"""

from __future__ import annotations

from modalxai.datasets.translators.corpus import translate_corpus
from modalxai.datasets.translators.local import TransformersTranslator
from modalxai.datasets.translators.prompt import Prompt
from modalxai.datasets.translators.remote import EndpointTranslator
from modalxai.protocols import Line, Translator

modalxai_api = 1
"""See `modalxai.plugins.API`."""

__all__ = [
    "EndpointTranslator",
    "Line",
    "Prompt",
    "TransformersTranslator",
    "Translator",
    "translate_corpus",
]
