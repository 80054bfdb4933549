"""Whatever is wrong with the data or the question: an error that names it and the mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toys import MIXED, speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import GradCAM, ModalityShapley
from modalxai.errors import InputError, ModalxaiError, RemovalError
from modalxai.games import Background
from modalxai.types import Audio, Spans

RATE = 16_000


def refused(kind: type[ModalxaiError], words: str, call: Callable[[], object]) -> ModalxaiError:
    with pytest.raises(kind, match=words) as caught:
        call()
    error = caught.value
    assert error.expected
    assert error.got
    assert error.mend
    return error


BAD_AUDIO: dict[str, tuple[Any, str]] = {
    "NaN": (Audio(torch.full((4000,), float("nan")), RATE), "NaN or infinite"),
    "infinite": (Audio(torch.full((4000,), float("inf")), RATE), "NaN or infinite"),
    "empty": (Audio(torch.zeros(0), RATE), "empty"),
    "too short": (Audio(torch.zeros(30), RATE), "shorter than one frame"),
    "integers": (Audio(torch.ones(4000, dtype=torch.int16), RATE), "integer samples"),
    "integers as floats": (Audio(torch.full((4000,), 9000.0), RATE), "far from full scale"),
    "stereo": (Audio(torch.zeros(2, 4000), RATE), "channel"),
    "no rate": (Audio(torch.zeros(4000)), "sample rate"),
    "no Audio": (torch.zeros(4000), "sample rate"),
    "a number": (3.5, "sample rate"),
}


@pytest.mark.parametrize("what", BAD_AUDIO)
def test_bad_audio_names_its_sample(what: str) -> None:
    model, samples = speech_model(), speech_samples(3)
    samples[1]["audio"], words = BAD_AUDIO[what]
    for call in (
        lambda: model.collate(samples),
        lambda: mx.explain(model, samples),
        lambda: model.predict(samples),
        lambda: model.game(samples),
        lambda: Background.of(model, samples),
    ):
        error = refused(InputError, words, call)
        assert "'u1', audio" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "blank"), ("  \n", "blank"), (3, "wrong type"), (float("nan"), "wrong type")],
)
def test_bad_text_names_its_sample(text: Any, words: str) -> None:
    model, samples = speech_model(), speech_samples(3)
    samples[2]["text"] = text
    error = refused(InputError, words, lambda: mx.explain(model, samples))
    assert "'u2', text" in str(error)


def sample(**changes: Any) -> dict:
    return {**vector_samples(1)[0], **changes}


BAD_SAMPLES: dict[str, tuple[Any, str]] = {
    "nothing": ([], "nothing to collate"),
    "one sample": (sample(), "nothing to collate"),
    "no mapping": ([sample(), 3], "sample 1 is no sample"),
    "all missing": ([sample(a=None, b=None)], "'u0': all modalities are missing"),
    "no key at all": ([{"id": "u0", "labels": {}}], "'u0': all modalities are missing"),
    "unknown modality": ([sample(c=torch.zeros(2, 4))], "'u0': unknown modality 'c'"),
    "unknown modality, numpy": ([sample(c=np.zeros(4))], "'u0': unknown modality 'c'"),
    "duplicated ids": ([sample(), sample()], "share an id"),
    "ids that differ in type only": ([sample(id=1), sample(id="1")], "share an id"),
    "labels of no kind": ([sample(labels=3)], "'u0': labels of the wrong type"),
    "unknown label": ([sample(labels={"sorrow": 1})], "'u0': unknown label 'sorrow'"),
    "unknown class": ([sample(labels="sorrow")], "'u0': unknown label 'sorrow'"),
    "shares below 1": ([sample(labels={"joy": 0.5})], "'u0': class shares"),
    "shares above 1": ([sample(labels={"joy": 1, "fear": 1})], "'u0': class shares"),
    "negative shares": ([sample(labels={"joy": 2, "fear": -1})], "'u0': class shares"),
    "a binary label beyond 1": ([sample(labels={"tired": 1.5})], "'u0': a binary label"),
    "a value that is NaN": ([sample(labels={"valence": float("nan")})], "'u0': label 'valence'"),
    "a value that is no number": ([sample(labels={"valence": "high"})], "'u0': label 'valence'"),
}


@pytest.mark.parametrize("what", BAD_SAMPLES)
def test_bad_samples_are_named(what: str) -> None:
    samples, words = BAD_SAMPLES[what]
    refused(InputError, re.escape(words), lambda: vector_model(2).collate(samples))


def test_a_binary_label_left_out_beside_others_is_refused() -> None:
    found = mx.labels("tired", "loud", kind="binary")
    model = vector_model(2, "late", found)
    error = refused(
        InputError, "without a value", lambda: model.collate([sample(labels={"tired": 1})])
    )
    assert "'loud'" in str(error)
    model.collate([sample(labels={"tired": 1, "loud": None})])


def test_good_labels_are_read() -> None:
    model = vector_model(2)
    rows: list[Any] = [
        None,
        "joy",
        {"anger": 0.25, "fear": 0.75},
        {"tired": True, "valence": torch.tensor(-3.0)},
        {"anger": None, "valence": np.float32(2)},
    ]
    batch = model.collate([sample(id=i, labels=labels) for i, labels in enumerate(rows)])
    values, mask = batch.targets
    assert values.tolist() == [
        [0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0.25, 0, 0.75, 0, 0], [0, 0, 0, 1, -3], [0, 0, 0, 0, 2]
    ]  # fmt: skip
    assert mask.int().tolist() == [
        [0, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]
    ]  # fmt: skip


def test_one_id_in_two_batches_is_refused_before_the_work_is_done() -> None:
    model, samples = vector_model(2), vector_samples(4)
    seen = []

    def stream():
        for rows in (samples[:2], samples[1:3], samples[3:]):
            seen.append(rows)
            yield model.collate(rows)

    error = refused(InputError, "share an id", lambda: mx.explain(model, stream()))
    assert "'u1'" in str(error)
    assert len(seen) == 2


BAD_QUESTIONS: dict[str, tuple[type[ModalxaiError], str, dict[str, Any]]] = {
    "unknown removal": (RemovalError, "'mask'", {"removal": "mask"}),
    "unknown removal of one": (RemovalError, "'mask'", {"removal": {"a": "mask"}}),
    "unknown modality": (InputError, "unknown modality 'c'", {"removal": {"c": "zero"}}),
    "unknown level": (InputError, "unknown level", {"level": "output"}),
    "an input's removal at the features": (
        RemovalError, "'zero'", {"removal": "zero", "level": "features"}),
    "mean of nobody": (RemovalError, "needs other samples", {"removal": "mean"}),
    "no draws": (InputError, "draws", {"draws": 0}),
    "half a draw": (InputError, "draws", {"draws": 1.5}),
    "true draws": (InputError, "draws", {"draws": True}),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_QUESTIONS)
def test_bad_questions_are_named(what: str) -> None:
    kind, words, settings = BAD_QUESTIONS[what]
    model, samples = vector_model(2), vector_samples(3)
    for ask in (mx.explain, type(model).game):
        error = refused(kind, re.escape(words), lambda ask=ask: ask(model, samples, **settings))
        if kind is RemovalError and "needs" not in words:
            assert "'absent', 'mean'" in error.expected


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_a_batch_size_that_is_none_is_refused(size: Any) -> None:
    model, samples = vector_model(2), vector_samples(3)
    refused(InputError, "batch_size", lambda: mx.explain(model, samples, batch_size=size))


@pytest.mark.parametrize("data", [None, 3, 2.5])
def test_data_that_is_none_is_refused(data: Any) -> None:
    refused(InputError, "cannot be read", lambda: mx.explain(vector_model(2), data))


def test_an_empty_corpus_is_refused() -> None:
    refused(InputError, "nothing to explain", lambda: mx.explain(vector_model(2), []))
    refused(InputError, "nothing to explain", lambda: mx.explain(vector_model(2), iter(())))


def test_only_emotion_models_are_explained() -> None:
    refused(InputError, "EmotionModel", lambda: mx.explain(nn.Linear(2, 2), vector_samples(2)))


def test_a_batch_without_a_modality_or_ids_is_refused() -> None:
    model = vector_model(2)
    batch = model.collate(vector_samples(3))
    for key in ("a", "ids"):
        part = mx.Batch({name: value for name, value in batch.items() if name != key})
        for ask in (mx.explain, type(model).game):
            refused(InputError, f"without.*'{key}'", lambda ask=ask, part=part: ask(model, part))


def test_a_background_without_a_modality_is_refused() -> None:
    model, samples = vector_model(2), vector_samples(3)
    others = [{**sample, "b": None} for sample in samples]
    refused(
        InputError,
        "background without",
        lambda: mx.explain(model, samples, removal="mean", background=others),
    )


BAD_MASKS: dict[str, Callable[[dict], dict]] = {
    "one too few": lambda keep: {"a": keep["a"]},
    "one too many": lambda keep: {**keep, "c": keep["a"]},
    "integers": lambda keep: {**keep, "a": keep["a"].int()},
    "floats": lambda keep: {**keep, "a": keep["a"].float()},
    "a list": lambda keep: {**keep, "a": keep["a"].tolist()},
    "too few samples": lambda keep: {**keep, "a": keep["a"][:2]},
    "too many units": lambda keep: {**keep, "a": torch.ones(3, 9).bool()},
    "one axis": lambda keep: {**keep, "a": keep["a"][:, 0]},
    "leading axes that clash": lambda keep: {
        "a": keep["a"].expand(2, 3, -1),
        "b": keep["b"].expand(4, 3, -1),
    },
}


@pytest.mark.parametrize("what", BAD_MASKS)
@pytest.mark.parametrize("divided", [False, True])
def test_bad_masks_are_refused(what: str, divided: bool) -> None:
    game = vector_model(2).game(vector_samples(3), removal="zero")
    game = game.divide({"a": "item"}) if divided else game
    keep = {name: torch.ones_like(s.start, dtype=torch.bool) for name, s in game.players.items()}
    assert game.value(keep).shape == (1, 3, len(MIXED))
    refused(InputError, "mask|coalition", lambda: game.value(BAD_MASKS[what](keep)))
    if "axes" not in what and what not in ("one too few", "one too many"):
        wrong = BAD_MASKS[what](keep)["a"]
        refused(InputError, "mask", lambda: game.encode("a", wrong))


def test_encode_takes_one_mask_at_a_time() -> None:
    game = vector_model(2).game(vector_samples(3), removal="zero")
    refused(InputError, "mask", lambda: game.encode("a", torch.ones(2, 3, 1).bool()))


@pytest.mark.parametrize("verb", ["encode", "reference"])
def test_an_unknown_modality_is_named(verb: str) -> None:
    game = vector_model(2).game(vector_samples(3))
    refused(InputError, "unknown modality 'video'", lambda: getattr(game, verb)("video"))


def test_bad_players_are_refused() -> None:
    model, samples = vector_model(2), vector_samples(3)
    game = model.game(samples, removal="zero")
    refused(InputError, "unknown modality 'video'", lambda: game.divide({"video": "item"}))
    refused(RemovalError, "unknown kind", lambda: game.divide({"a": "word"}))
    refused(InputError, "that are none", lambda: game.divide({"a": 3}))
    refused(InputError, "that are none", lambda: game.divide({"a": None}))
    edge = torch.zeros(3, 2)
    refused(InputError, "do not fit", lambda: game.divide({"a": Spans(edge, edge + 1, "seconds")}))
    refused(
        InputError, "do not fit", lambda: game.divide({"a": Spans(edge[:2], edge[:2] + 1, "index")})
    )
    whole = model.game(samples, removal="absent")
    refused(RemovalError, "as a whole", lambda: whole.divide({"a": "item"}))


def test_unknown_labels_are_refused() -> None:
    game = vector_model(2).game(vector_samples(3))
    for method in (ModalityShapley(), GradCAM()):
        refused(InputError, "unknown label", lambda m=method: m.attribute(game, ["sorrow"]))
        refused(InputError, "no label", lambda m=method: m.attribute(game, []))


@pytest.mark.parametrize("scale", ["logit", "", "CLR"])
def test_unknown_scales_are_refused(scale: Any) -> None:
    game = vector_model(2).game(vector_samples(3))
    for method in (ModalityShapley, GradCAM):
        refused(InputError, "unknown scale", lambda m=method: m(scale).attribute(game))


@pytest.mark.parametrize("where", ["encoder", "fusion"])
def test_a_model_that_returns_nan_gives_an_error_and_never_a_number(where: str) -> None:
    model, samples = vector_model(2), vector_samples(3)
    if where == "fusion":
        # Infinite for one coalition only: where a is absent.
        with torch.no_grad():
            model.fusion.missing["a"].fill_(float("inf"))
        error = refused(InputError, "not finite", lambda: mx.explain(model, samples))
        assert "'u0'" in str(error)
        return
    samples[2]["b"] = samples[2]["b"] * float("nan")
    for call in (
        lambda: mx.explain(model, samples),
        lambda: GradCAM().attribute(model.game(samples)),
    ):
        assert "'u2'" in str(refused(InputError, "not finite", call))


class Misshapen(nn.Module):
    """Breaks what its encoder returns."""

    def __init__(self, inner: nn.Module, wrong: Callable[[Any], Any]) -> None:
        super().__init__()
        self.inner, self.dim, self.collate, self.wrong = inner, inner.dim, inner.collate, wrong

    def forward(self, inputs: Any) -> Any:
        features = self.inner(inputs)
        return type(features)(*self.wrong(features), features.spans)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f: (f.values[..., :2], f.mask),
        lambda f: (f.values.mean(1), f.mask),
        lambda f: (f.values, f.mask[:, :0]),
        lambda f: (f.values, f.mask.float()),
    ],
)
def test_an_encoder_that_breaks_its_promise_is_named(wrong: Callable[[Any], Any]) -> None:
    model = vector_model(2)
    encoders = {"a": model.encoders["a"], "b": Misshapen(model.encoders["b"], wrong)}
    broken = mx.EmotionModel(encoders, model.fusion)
    refused(InputError, "encoder of 'b'", lambda: mx.explain(broken, vector_samples(2)))
