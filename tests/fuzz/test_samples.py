"""Raw values wherever a sample or a setting goes in: a named error or the quarantine."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.fuzzing import ODD, Judge
from toys import speech_model, speech_samples

import modalxai as mx
from modalxai.errors import InputError

Judges = Callable[..., Judge]
GOOD = [dict(sample, labels={"anger": 1}) for sample in speech_samples(2)]
WAVE = GOOD[0]["audio"].waveform
NAN, INF = float("nan"), float("inf")


class Hostile:
    """Raises whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def sound(waveform: Any, rate: Any = 16_000, **more: Any) -> Any:
    return mx.Audio(waveform, rate, **more)


def holed(value: float, at: int = 100) -> torch.Tensor:
    spoilt = WAVE.clone()
    spoilt[at] = value
    return spoilt


AUDIO: dict[str, Any] = {
    "a bare tensor": WAVE,
    "a bare array": WAVE.numpy(),
    "a list": WAVE[:9].tolist(),
    "bytes": b"RIFF",
    "a number": 3,
    "a mapping": {"array": WAVE, "sampling_rate": 16_000},
    "a hostile object": Hostile(),
    "a path of nothing": "nowhere.wav",
    "a folder": "/",
    "a path with NUL": "a\0.wav",
    "an empty path": "",
    "a device": "/dev/null",
    "None inside": sound(None),
    "text inside": sound("abc"),
    "objects inside": sound(np.array([object()])),
    "a hostile waveform": sound(Hostile()),
    "no samples": sound(WAVE[:0]),
    "one sample": sound(WAVE[:1]),
    "ten samples": sound(WAVE[:10]),
    "NaN": sound(holed(NAN)),
    "infinite": sound(holed(INF)),
    "minus infinite": sound(holed(-INF)),
    "all NaN": sound(torch.full((3200,), NAN)),
    "not full scale": sound(WAVE * 32768),
    "huge": sound(holed(1e38)),
    "integers": sound((WAVE * 32767).to(torch.int16)),
    "bytes as samples": sound((WAVE * 100).to(torch.uint8)),
    "truth values": sound(WAVE > 0),
    "complex": sound(torch.fft.fft(WAVE)),
    "three axes": sound(WAVE.reshape(1, 1, -1)),
    "no axis": sound(WAVE[0]),
    "no channel": sound(WAVE[None][:0]),
    "two channels unchosen": sound(torch.stack([WAVE, WAVE])),
    "channels last": sound(torch.stack([WAVE, WAVE], -1)),
    "a channel too many": sound(torch.stack([WAVE, WAVE]), channel=2),
    "a negative channel": sound(torch.stack([WAVE, WAVE]), channel=-1),
    "a channel in words": sound(torch.stack([WAVE, WAVE]), channel="left"),
    "a channel that is True": sound(torch.stack([WAVE, WAVE]), channel=True),
    "strings": sound(np.array(["a", "b"])),
    "records": sound(np.zeros(9, [("a", "f4")])),
    "dates": sound(np.zeros(9, "datetime64[s]")),
    "sparse": sound(WAVE.to_sparse()),
    "on meta": sound(WAVE.to("meta")),
    "quantised": sound(torch.quantize_per_tensor(WAVE, 0.1, 0, torch.qint8)),
    "doubles beyond float32": sound(torch.full((3200,), 1e300, dtype=torch.float64)),
    **{
        f"a rate of {rate!r}": sound(WAVE, rate)
        for rate in (
            None,
            0,
            -16_000,
            1,
            999,
            44_099,
            16_000.0,
            "16000",
            True,
            NAN,
            INF,
            10**30,
            [16_000],
        )
    },
}
TEXT: dict[str, Any] = {
    "bytes": b"so",
    "a number": 3,
    "a list": ["so", "far"],
    "a mapping": {"text": "so"},
    "NaN": NAN,
    "a tensor": torch.ones(3),
    "a hostile object": Hostile(),
    "half a surrogate pair": "\ud800",
    "longer than it may be": "x" * 5000,
    "a truth value": True,
}
LABELS: dict[str, Any] = {
    "unknown": "disgust",
    "unknown in a mapping": {"disgust": 1},
    "a number": 3,
    "a list": ["anger"],
    "no sum of one": {"anger": 0.5},
    "a negative share": {"anger": 1.5, "joy": -0.5},
    "NaN": {"anger": NAN},
    "infinite": {"valence": INF},
    "words": {"valence": "high"},
    "nested": {"anger": {"joy": 1}},
    "a binary of 2": {"tired": 2},
    "a hostile object": Hostile(),
    "bytes": b"anger",
    "a bare dimension": "valence",
}
SAMPLES: dict[str, Any] = {
    "None": None,
    "a number": 3,
    "text": "so",
    "a list": [],
    "a pair": (WAVE, "so"),
    "nothing in it": {},
    "an id alone": {"id": "x"},
    "all missing": {"id": "x", "audio": None, "text": None},
    "another modality": {"id": "x", "text": "so", "video": WAVE},
    "a name in capitals": {"id": "x", "Audio": GOOD[0]["audio"]},
}


@pytest.fixture(scope="module")
def model() -> mx.EmotionModel:
    torch.manual_seed(0)
    return speech_model().eval()


def bad_samples() -> dict[str, Any]:
    found = {f"sample: {what}": value for what, value in SAMPLES.items()}
    for key, values in (("audio", AUDIO), ("text", TEXT), ("labels", LABELS)):
        found |= {f"{key}: {what}": {**GOOD[0], key: value} for what, value in values.items()}
    return found


def test_samples_are_refused_by_name_and_alone(model: mx.EmotionModel, judge: Judges) -> None:
    with judge("samples", 85) as tries:
        for what, sample in bad_samples().items():
            tries(f"explain {what}", lambda: mx.explain(model, [GOOD[1], sample]))  # noqa: B023
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with judge("one sample for predict", 85) as tries:
        for what, sample in bad_samples().items():
            tries(f"predict {what}", lambda: model.predict([sample]))  # noqa: B023
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not model.training


def test_samples_go_to_the_quarantine(
    model: mx.EmotionModel, judge: Judges, tmp_path: Path
) -> None:
    bad = bad_samples()
    samples = []
    for what, sample in bad.items():
        samples.append({**sample, "id": what} if isinstance(sample, dict) else sample)
    run = mx.explain_corpus(model, [*samples, GOOD[0], GOOD[1]], tmp_path / "run", chunk=64)
    wanted = mx.explain(model, GOOD)
    found = run.explanation()
    assert found.sample_ids == wanted.sample_ids
    torch.testing.assert_close(found.draws, wanted.draws)
    blamed = {one.index: one for one in run.quarantine()}
    with judge("samples in a corpus run", 85) as tries:
        for index, what in enumerate(bad):

            def blame(index: int = index) -> Any:
                one = blamed[index]
                raise InputError(one.stage, expected=one.error, got=one.reason, mend="-")

            tries(what, blame)


def test_settings(model: mx.EmotionModel, judge: Judges) -> None:
    def explain(**settings: Any) -> Any:
        return mx.explain(model, GOOD, **settings)

    with judge("settings of explain", 120) as tries:
        for value in (
            *ODD,
            NAN,
            Hostile(),
            {"audio": "silence"},
            {"text": "mask", "x": "mask"},
            b"mask",
        ):
            name = (
                f"{type(value).__name__} {value!r:.30}"
                if not isinstance(value, Hostile)
                else "hostile"
            )
            for setting in ("removal", "level", "batch_size", "seed", "draws"):
                tries(
                    f"{setting} {name}",
                    lambda: explain(**{setting: value}),  # noqa: B023
                    lambda found, setting=setting, value=value: (
                        fits(setting, value) and finite(found)
                    ),
                )
    explanation = explain()
    with judge("questions to a result", 80) as tries:
        for value in ODD:
            for setting in ("scale", "labels", "against"):
                tries(
                    f"{setting} {value!r:.30}",
                    lambda: explanation.shapley(**{setting: value}),  # noqa: B023
                    lambda found, value=value: (
                        value is None and bool(found.totals.isfinite().all())
                    ),
                )
            tries(
                f"p {value!r:.30}",
                lambda: explanation.banzhaf(p=value),  # noqa: B023
                lambda found, value=value: 0 <= value <= 1 and bool(found.totals.isfinite().all()),
            )


def fits(setting: str, value: Any) -> bool:
    """Which of the odd values is none."""
    if setting == "removal":
        # What is left out is "absent", as the model was trained with modality dropout.
        named = isinstance(value, dict) and set(value.items()) <= {("audio", "silence")}
        return value is None or named
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and (setting == "seed" or value > 0)


def finite(found: mx.Explanation) -> bool:
    return bool(found.draws.isfinite().all())


def test_black_boxes(judge: Judges) -> None:
    labels = mx.labels("anger", "joy")
    answers: dict[str, Any] = {
        "None": None, "a number": 3.0, "text": "joy", "too few rows": torch.zeros(1, 2),
        "too many columns": torch.zeros(2, 3), "three axes": torch.zeros(2, 2, 1),
        "NaN": torch.full((2, 2), NAN), "infinite": torch.full((2, 2), INF),
        "words": [["a", "b"]] * 2,
        "ragged": [[1.0], [1.0, 2.0]], "complex": torch.zeros(2, 2, dtype=torch.complex64),
        "a mapping": {"anger": 1.0}, "empty": torch.zeros(0, 2),
        "on meta": torch.zeros(2, 2, device="meta"), "objects": np.full((2, 2), None),
    }  # fmt: skip
    with judge("answers of black boxes", 14) as tries:
        for what, answer in answers.items():

            def use(answer: Any = answer) -> Any:
                game = mx.CallableGame(
                    lambda samples: answer, GOOD, labels=labels, modalities=("audio", "text")
                )
                return mx.attribution.ModalityShapley().attribute(game)

            tries(what, use)
    assert math.isnan(NAN)
