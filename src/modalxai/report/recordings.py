"""Recordings and unit-level results that a page shows beside its numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modalxai.errors import InputError
from modalxai.types import Attribution, Audio
from modalxai.voice.world import mono

Recordings = Mapping[str, Audio | str | Path] | Iterable[Mapping[str, Any]]
"""By id; or samples, of which each has its recording as an `Audio`, or under ``"audio"``."""


def by_id(recordings: Recordings | None, ids: Sequence[str]) -> Mapping[str, Any]:
    """The recordings of samples ``ids``; of a mapping none is asked for before it is shown.

    Raises
    ------
    InputError
        Neither a mapping nor samples, or none of them belongs to a sample.
    """
    if recordings is None:
        return {}
    given: Mapping[Any, Any]
    if isinstance(recordings, dict):
        given = {name: raw for name, raw in recordings.items() if raw is not None}
    elif isinstance(recordings, Mapping):
        given = recordings
    else:
        given = {name: raw for name, raw in map(_named, recordings) if raw is not None}
    if set(given).isdisjoint(ids):
        raise _strange("recordings", ids, list(given))
    return given


def check_units(units: Mapping[str, Attribution] | None, ids: Sequence[str]) -> dict[str, Any]:
    """Results by title, known to be of this report's samples.

    Raises
    ------
    InputError
        Not a mapping of titles to results, or a result that holds none of the samples.
    """
    if units is None:
        return {}
    whole = isinstance(units, Mapping) and all(
        isinstance(title, str) and isinstance(one, Attribution) for title, one in units.items()
    )
    if not whole:
        raise InputError(
            "units that are no results by title",
            expected='{"words and moments": what Owen found}',
            got=type(units).__name__,
            mend="give each result a title for the page",
        )
    for title, one in units.items():
        if not set(one.sample_ids) & set(ids):
            raise _strange(f"units {title!r}", ids, list(one.sample_ids))
    return dict(units)


def playable(raw: Any) -> str:
    """A recording as the address of a FLAC file within the page: mono, 16 bit, its own rate.

    One whose peak lies above full scale is made quieter, so that nothing is clipped.

    Raises
    ------
    InputError
        A recording that cannot be used, see `modalxai.audio.prepare`.
    """
    import soundfile

    waveform, rate = mono(raw)
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    target = io.BytesIO()
    soundfile.write(target, (waveform / max(1.0, peak)).numpy(), rate, "PCM_16", format="FLAC")
    return "data:audio/flac;base64," + base64.b64encode(target.getvalue()).decode("ascii")


def _named(sample: Any) -> tuple[str, Any]:
    """A sample's id and its recording."""
    if not isinstance(sample, Mapping) or "id" not in sample:
        raise InputError(
            "recordings that belong to no sample",
            expected="{id: mx.Audio(...)}, or samples with an id",
            got=type(sample).__name__,
            mend="pass the samples that were explained",
        )
    heard = (value for value in sample.values() if isinstance(value, Audio))
    return sample["id"], next(heard, sample.get("audio"))


def _strange(what: str, ids: Sequence[str], got: Sequence[Any]) -> InputError:
    return InputError(
        f"{what} of none of the report's samples",
        expected=f"ids such as {list(ids[:3])}",
        got=f"ids such as {list(got[:3])}",
        mend="use the ids of the samples that were explained",
    )
