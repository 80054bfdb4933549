"""The oracle models are what they say: words looked up, tones heard, a table read."""

from __future__ import annotations

import doctest
import unicodedata
from itertools import product

import pytest
import torch

import modalxai as mx
from modalxai.errors import InputError
from modalxai.testing import check_encoder, check_fusion, oracle_models
from modalxai.testing.oracle_models import CueFusion, LexiconEncoder, ToneEncoder, tones, truth
from modalxai.types import Audio

SCORE = mx.labels("score", kind="dimensional")
MIXED = mx.labels("a", "b", "c") + SCORE


def test_the_example_holds() -> None:
    assert doctest.testmod(oracle_models).failed == 0


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_are_found_where_they_end(form: str) -> None:
    encoder = LexiconEncoder({"참": 2.0, "잘했다": 1.0, "good": -0.5})
    text = unicodedata.normalize(form, "참새 참, goodness 잘했다! (good)")
    features = encoder(encoder.collate([text, None, "참"]))
    found = [
        (text[: int(end)].split()[-1], value.item())
        for value, end in zip(features.values[0, :, 0], features.spans.end[0], strict=True)
        if value
    ]
    plain = [(unicodedata.normalize("NFC", word), value) for word, value in found]
    assert plain == [("참", 2.0), ("잘했다", 1.0), ("(good", -0.5)]
    assert features.values[1].eq(0).all()
    assert features.values[2].sum() == 2
    assert features.mask.any(1).tolist() == [True, False, True]


@pytest.mark.parametrize("how", ["mask", "empty"])
def test_a_removed_word_is_not_found(how: str) -> None:
    encoder = LexiconEncoder({"참": 2.0, "good": -0.5})
    inputs = encoder.collate(["good 참 day"])
    units = encoder.units(inputs, "word")
    for bits in product([False, True], repeat=3):
        left = encoder(encoder.remove(inputs, units, torch.tensor([bits]), how, 0))
        assert left.values.sum() == -0.5 * bits[0] + 2 * bits[1]


def test_tones_are_heard_by_the_second() -> None:
    encoder = ToneEncoder({200: 10.0, 700: -5.0}, segment_seconds=0.2)
    raw = tones(0.6, [(0.05, 0.15, 200), (0.25, 0.35, 700), (0.45, 0.5, 900)])
    features = encoder(encoder.collate([raw, None]))
    assert features.values[0, :, 0].tolist() == pytest.approx(
        [0.1 if 5 <= t < 15 else -0.05 if 25 <= t < 35 else 0 for t in range(60)]
    )
    assert features.values[1].eq(0).all()
    inputs = encoder.collate([raw])
    units = encoder.units(inputs, "segment")
    keep = torch.tensor([[True, False, True]])
    assert encoder(encoder.remove(inputs, units, keep, "silence", 0)).values.sum() == 1
    # The step: a tone counts in full, or not at all.
    for level, heard in ((0.08, 0), (0.12, 1), (0.9, 1)):
        quiet = Audio((tones(0.1, [(0, 0.1, 200)], hiss=0).waveform * level * 2), 16_000)
        assert encoder(encoder.collate([quiet])).values.sum().item() == pytest.approx(heard)


@pytest.mark.parametrize("cap", [False, True])
def test_the_table_is_read(cap: bool) -> None:
    dims = {"x": 1, "y": 1, "z": 1}
    table = torch.randn(8, 4)
    fusion = CueFusion(dims, MIXED, table, cap)
    for row in range(8):
        cues = {name: torch.tensor([[float(row >> j & 1)]]) for j, name in enumerate(dims)}
        torch.testing.assert_close(fusion.join(cues).scores[0], table[row], atol=1e-5, rtol=1e-5)
    twice = mx.Features(
        torch.ones(1, 2, 1), torch.ones(1, 2).bool(), mx.Spans(*torch.zeros(2, 1, 2), "index")
    )
    assert fusion.project("x", twice).item() == (1 if cap else 2)


@pytest.mark.parametrize("cap", [False, True])
@pytest.mark.parametrize("kept", [("x", "y"), ("x", "y", "z")])
def test_the_truth_is_the_game_of_its_own_table(kept: tuple[str, ...], cap: bool) -> None:
    """Closed forms against the definition: mean gains over orders, from the fusion's own scores."""
    cues = {"x": [1.0, 0.0], "y": [1.0, 1.0], "z": [0.0, 1.0, 1.0]}
    cues = {name: cues[name] for name in kept}
    if not cap:
        cues["x"] = [-0.5, 2.0]
    fusion = CueFusion(dict.fromkeys(kept, 1), MIXED, torch.randn(2 ** len(kept), 4), cap)
    known = truth(fusion, cues)
    sizes = [len(one) for one in cues.values()]
    for row in range(2 ** sum(sizes)):
        at, left = 0, {}
        for name, values in cues.items():
            total = sum(v for j, v in enumerate(values) if row >> at + j & 1)
            left[name] = torch.tensor([[min(1.0, max(0.0, total)) if cap else float(total)]])
            at += len(values)
        torch.testing.assert_close(
            known.values[row].float(), fusion.join(left).scores[0], atol=1e-5, rtol=1e-4
        )
    game = known.game(dict(zip(kept, sizes, strict=True)))
    flat = mx.attribution.UnitShapley().attribute(game)
    owen = mx.attribution.Owen().attribute(game)
    for found, expected in ((flat, known.shapley()), (owen, known.owen(sizes))):
        values = torch.cat([found.units[name][0] for name in kept], dim=1).T
        torch.testing.assert_close(values.double(), expected, atol=1e-9, rtol=1e-9)
        whole = found.prediction - found.reference
        torch.testing.assert_close(expected.sum(0)[None], whole.double(), atol=1e-9, rtol=1e-9)


def test_they_conform() -> None:
    table = CueFusion({"text": 1, "audio": 1}, MIXED, torch.randn(4, 4))
    hears = ToneEncoder({200: 10.0, 700: -5.0}, segment_seconds=0.2)
    clips = [
        tones(0.3, [(0, 0.1, 200)]),
        tones(0.5, [(0.1, 0.2, 200), (0.4, 0.45, 700)]),
        tones(0.2, [(0, 0.2, 700)]),
    ]
    for report in (check_fusion(table), check_encoder(hears, clips)):
        assert not report.failures, str(report)
    reads = LexiconEncoder({"참": 2.0, "good": -0.5, "잘했다": 1.0})
    # The kit adds noise to the weights, which may deafen a ReLU that fires on exact matches only.
    deaf = {"every removal removes", "what is removed has no influence"}
    report = check_encoder(reads, ["참 good 새", "잘했다", "good good 참 새"])
    assert {str(one.name) for one in report.failures} <= deaf, str(report)


def test_what_cannot_be_is_refused() -> None:
    for words in ({}, {"two words": 1.0}, {"": 1.0}, {"a.": 1.0}):
        with pytest.raises(InputError, match="a lexicon that holds no words"):
            LexiconEncoder(words)
    for wrong in ({}, {250: 1.0}, {8000: 1.0}, {0: 1.0}):
        with pytest.raises(InputError, match="tones that frames"):
            ToneEncoder(wrong)
    with pytest.raises(InputError, match="truth table"):
        CueFusion({"x": 1, "y": 1}, SCORE, [0, 1, 2])
    with pytest.raises(InputError, match="truth table"):
        CueFusion({"x": 2}, SCORE, [0, 1])
    fusion = CueFusion({"x": 1, "y": 1}, SCORE, [0, 1, 1, 0], cap=True)
    for cues in ({"y": [1], "x": [1]}, {"x": [1]}, {"x": [0.5], "y": [1]}):
        with pytest.raises(InputError, match="cues that the fusion does not read"):
            truth(fusion, cues)
