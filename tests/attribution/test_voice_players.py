"""Content or tone, and the prosodic features, on functions whose ear is known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from toys import Rows, speech_model

import modalxai as mx
from modalxai.attribution import ContentTone, Prosody, content, tone
from modalxai.datasets.tonebench import phones
from modalxai.datasets.tonebench.synthesis import SAMPLE_RATE, speak
from modalxai.datasets.tonebench.voices import Speaker, Tone
from modalxai.errors import InputError
from modalxai.voice import ContentToneDivision, ProsodyDivision, Reference, analyse

pytest.importorskip("pyworld")

SCORE = mx.labels("score", kind="dimensional")
REMOVAL = {"audio": "silence", "text": "mask"}


def voice(seed: int = 3, seconds: float = 1.2) -> mx.Audio:
    words = [phones.sounds(phones.spell(word)) for word in "오늘 기분이 좋다".split()]
    moved = Tone(slope=6, swing=2.5, cycles=1.5, swell=6)
    made = speak(words, moved, Speaker.numbered(0), np.random.default_rng(seed), seconds)
    return mx.Audio(made.waveform, SAMPLE_RATE)


def samples(count: int = 2) -> list[dict[str, Any]]:
    return [{"id": f"u{i}", "audio": voice(i), "text": "참 잘했다."} for i in range(count)]


def pitch_spread(raw: mx.Audio) -> float:
    """Standard deviation of the pitch in semitones."""
    found = analyse(raw)
    return float((12 * np.log2(found.pitch[found.voiced])).std())


def ear(listen: Any) -> Any:
    """A function of samples that hears one thing in the voice, and nothing without one."""
    return lambda given: [[0.0 if s["audio"] is None else listen(s["audio"])] for s in given]


def game_of(fn: Any, given: list[dict[str, Any]]) -> mx.CallableGame:
    return mx.CallableGame(fn, given, labels=SCORE, modalities=("text", "audio"))


def test_an_ear_for_pitch_alone_gives_pitch_alone() -> None:
    given = samples(1)
    found = Prosody().attribute(game_of(ear(pitch_spread), given))
    assert found.spans["audio"].names == (ProsodyDivision.names,)
    values = dict(zip(ProsodyDivision.names, found.units["audio"][0, 0].tolist(), strict=True))
    whole = pitch_spread(given[0]["audio"])
    assert abs(values["pitch range"] - whole) < 0.2 * whole
    # The tracker hears some movement in a flat voice, which is the words'.
    assert all(abs(values[name]) < 0.3 * whole for name in values if name != "pitch range")
    assert values["pitch level"] == values["rate"] == 0  # idle without a reference
    assert found.residual().abs().max() < 1e-5
    assert found.unit_gap()[..., 1].abs().max() < 1e-5
    assert found.totals[..., 0].eq(0).all()  # the text is no player


def test_its_curve_is_the_dose_and_its_slope_the_spread() -> None:
    given = samples(1)
    found = Prosody().effects(game_of(ear(pitch_spread), given))
    whole = pitch_spread(given[0]["audio"])
    at = found.players.index("pitch range")
    expected = (torch.tensor(found.doses) - 1) * whole
    assert (found.curve[0, 0, at] - expected).abs().max() < 0.2 * whole
    assert abs(float(found.slope[0, 0, at]) - whole) < 0.2 * whole
    assert bool(found.believable[0, 0, at])
    torch.testing.assert_close(found.effect, -found.curve[..., 0])
    idle = [found.players.index(name) for name in ("pitch level", "rate")]
    assert found.curve[..., idle, :].eq(0).all()


def test_a_reference_makes_the_level_a_player() -> None:
    given = samples(1)

    def level(raw: mx.Audio) -> float:
        found = analyse(raw)
        return float(12 * np.log2(found.pitch[found.voiced]).mean())

    low = ProsodyDivision(reference=Reference(pitch=100.0))
    found = Prosody(division=low).attribute(game_of(ear(level), given))
    values = dict(zip(ProsodyDivision.names, found.units["audio"][0, 0].tolist(), strict=True))
    expected = level(given[0]["audio"]) - 12 * np.log2(100.0)
    assert abs(values["pitch level"] - expected) < 0.1 * abs(expected) + 0.2
    assert abs(values["pitch range"]) < 0.1 * abs(expected)


def test_prosody_is_its_definition_on_a_model() -> None:
    model, given = speech_model(), samples(2)
    given[1]["audio"] = None
    division = ProsodyDivision(reference=Reference(pitch=120.0))
    game = model.game(given, removal=REMOVAL)
    found = Prosody(division=division, scale="raw").attribute(game)
    assert found.units["audio"][1].eq(0).all()
    torch.testing.assert_close(found.prediction, model.predict(given).scores)

    def score(prosodic: tuple[int, ...], recording: bool = False) -> torch.Tensor:
        keep = torch.tensor([True, recording, *map(bool, prosodic)])
        raw = division.render(given[0]["audio"], keep)
        return model.predict([{**given[0], "audio": raw}]).scores[0]

    flat, placebo = score((0, 0, 0, 0)), score((1, 1, 1, 1))
    units = found.units["audio"][0]
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(units[:, 1], score((1, 1, 1, 1), True) - placebo, **close)
    torch.testing.assert_close(units[:, 2:].sum(-1), placebo - flat, **close)
    shapley = torch.zeros_like(units[:, 2:])
    for place in range(4):
        for others in product((0, 1), repeat=3):
            size = sum(others)
            weight = [1 / 4, 1 / 12, 1 / 12, 1 / 4][size]
            gain = score((*others[:place], 1, *others[place:]))
            gain = gain - score((*others[:place], 0, *others[place:]))
            shapley[:, place] += weight * gain
    torch.testing.assert_close(units[:, 2:], shapley, **close)


def test_each_version_is_encoded_once_and_no_text_is() -> None:
    model, given = speech_model(), samples(2)
    game = model.game(given, removal=REMOVAL)
    with Rows(model) as rows:
        Prosody().attribute(game)
        # The original, and four versions: two players are idle without a reference. And one
        # silence, since the clips are equally long.
        assert rows.encoded == {"audio": 2 * 5 + 1, "text": 2}
        Prosody().effects(game, doses=(0.5,))
        # Of the new dose two versions; those of dose 0 are known.
        assert rows.encoded == {"audio": 2 * 5 + 1 + 2 * 2, "text": 2}


def test_checks_say_whether_the_edits_worked() -> None:
    given = samples(1)
    checks = Prosody().checks([*given, {"id": "none", "audio": None}])
    assert list(checks) == ["u0"]
    assert checks["u0"]["pitch range"]["pitch range"].passed


def test_content_and_tone_of_a_model_that_hears_one_of_them() -> None:
    given = samples(1)

    def reads(given: list[dict[str, Any]]) -> list[list[float]]:
        return [[3.0 * (s["text"] is not None)] for s in given]

    found = ContentTone().attribute(game_of(reads, given))
    assert float(content(found)) == 3
    assert float(tone(found)) == 0
    found = ContentTone().attribute(game_of(ear(pitch_spread), given))
    whole = pitch_spread(given[0]["audio"])
    assert abs(float(tone(found)) - whole) < 0.2 * whole
    assert abs(float(content(found))) < 0.2 * whole
    assert found.residual().abs().max() < 1e-5


def test_content_and_tone_are_the_three_player_game() -> None:
    model, given = speech_model(), samples(1)
    division = ContentToneDivision()
    game = model.game(given, removal=REMOVAL)
    found = ContentTone(scale="raw").attribute(game)
    silent = model.encoder("audio").removals
    assert "silence" in silent
    whole = mx.Explanation.of(game).draws[0, :, 0]  # audio is bit 0, text bit 1
    table = {}
    for words, prosody in ((True, False), (False, True)):
        raw = division.render(given[0]["audio"], torch.tensor([words, prosody]))
        edited = model.game([{**given[0], "audio": raw}], removal=REMOVAL)
        scores = mx.Explanation.of(edited).draws[0, :, 0]
        table[0, words, prosody], table[1, words, prosody] = scores[1], scores[3]
    table[0, False, False], table[1, False, False] = whole[0], whole[2]
    table[0, True, True], table[1, True, True] = whole[1], whole[3]
    order = {"text": 0, "words": 1, "prosody": 2}
    expected = {}
    for name, place in order.items():
        total = torch.zeros_like(whole[0])
        for others in product((False, True), repeat=2):
            weight = [1 / 3, 1 / 6, 1 / 3][sum(others)]
            on = [*others[:place], True, *others[place:]]
            off = [*others[:place], False, *others[place:]]
            gain = table[int(on[0]), on[1], on[2]] - table[int(off[0]), off[1], off[2]]
            total += weight * gain
        expected[name] = total
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(found.units["audio"][0, :, 0], expected["words"], **close)
    torch.testing.assert_close(tone(found)[0], expected["prosody"], **close)
    torch.testing.assert_close(content(found)[0], expected["words"] + expected["text"], **close)

    def pair(text_prosody: bool) -> torch.Tensor:
        """Interaction of the prosody with the transcript, or with the spoken words."""
        total = torch.zeros_like(whole[0])
        for other in (False, True):

            def at(first: bool, prosody: bool, other: bool = other) -> torch.Tensor:
                return table[
                    (int(first), other, prosody) if text_prosody else (int(other), first, prosody)
                ]

            total += (at(True, True) - at(True, False) - at(False, True) + at(False, False)) / 2
        return total

    assert list(found.pairs) == [("audio", "audio"), ("audio", "text")]
    torch.testing.assert_close(found.pairs["audio", "text"][0, :, 1, 0], pair(True), **close)
    torch.testing.assert_close(found.pairs["audio", "audio"][0, :, 0, 1], pair(False), **close)


def test_content_and_tone_cost_two_voices_and_no_text() -> None:
    model, given = speech_model(), samples(2)
    with Rows(model) as rows:
        ContentTone().attribute(model.game(given, removal=REMOVAL))
    # The voice and two renderings; silence and the masked text are shared by both samples.
    assert rows.encoded == {"audio": 2 * 3 + 1, "text": 2 + 1}


def test_what_cannot_be_divided_is_said() -> None:
    model, given = speech_model(), samples(1)
    for method in (ContentTone(audio="voice"), Prosody(audio="voice")):
        with pytest.raises(InputError, match="no modality 'voice'"):
            method.attribute(model.game(given, removal=REMOVAL))
    for method in (ContentTone(), Prosody()):
        with pytest.raises(InputError, match="raw values"):
            method.attribute(model.game(model.collate(given), removal=REMOVAL))


def test_donors_give_prosody_and_content_their_errors() -> None:
    given, donors = samples(1), [{**one, "id": f"d{one['id']}"} for one in samples(3)]

    def loudness(given: list[dict[str, Any]]) -> list[list[float]]:
        return [[float(torch.as_tensor(s["audio"].waveform).square().mean())] for s in given]

    def game(draws: Any) -> mx.CallableGame:
        return mx.CallableGame(
            loudness,
            given,
            labels=SCORE,
            modalities=("text", "audio"),
            removal="marginal",
            background=donors,
            draws=draws,
        )

    every, some = game("all"), game(3)
    whole = mx.Explanation.of(some).draws[:, :, 0, 0]  # [R, 4]
    expected = float((whole[:, 3] - whole[:, 1]).std() / 3**0.5)  # audio is bit 1
    assert expected > 0
    for method in (Prosody(), ContentTone()):
        found, exact = method.attribute(some), method.attribute(every)
        assert abs(float(found.se[0, 0, 1]) - expected) < 1e-4 * expected
        assert (found.unit_se["audio"] > 0).any()
        torch.testing.assert_close(found.units["audio"], exact.units["audio"])
        assert exact.se.eq(0).all()
        assert exact.unit_se["audio"].eq(0).all()
        assert found.provenance.params["draws"] == 3
        assert exact.provenance.params["draws"] == "all"
    effects = Prosody().effects(every, doses=(0.5,))
    assert effects.provenance.params["draws"] == "all"
