"""The property table of attribution methods, row by row, on models whose every answer is known.

Words are looked up, tones are heard, a truth table joins them (`modalxai.testing.oracle_models`);
collate, removal, padding, alignment and the games are the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import modalxai as mx
from modalxai.attribution import (
    Explanation,
    FeatureDifference,
    IntegratedGradients,
    ModalityShapley,
    Owen,
    UnitShapley,
)
from modalxai.testing import UnitTableGame
from modalxai.testing.oracle_models import CueFusion, LexiconEncoder, ToneEncoder, tones, truth
from modalxai.types import Spans

LEXICON = {"잘했다": 1.0, "최악": -2.0, "good": 0.5, "naïve": 1.5, "😀": -0.75, "참": 2.0}
TRAPS = ("참새", "goodness", "day", "그리고", "ナイス", "9")
"""Words without a value, some of them with a valued one inside."""
TONES = {200: 25.0, 700: -12.5}
SEGMENT = 0.1
LABELS = (
    mx.labels("anger", "joy", "fear")
    + mx.labels("tired", kind="binary")
    + mx.labels("valence", kind="dimensional")
)
CLASSES = slice(0, 3)
PLAYERS = {"text": "word", "audio": "segment"}
METHODS = (Owen, UnitShapley)
TIGHT = 2e-5
PROPERTY = settings(deadline=None, max_examples=8)


@dataclass(frozen=True)
class Utterance:
    """A sample and the value of each of its words and segments."""

    sample: dict[str, Any]
    words: tuple[float, ...]
    segments: tuple[float, ...]

    @property
    def cues(self) -> dict[str, tuple[float, ...]]:
        return {"text": self.words, "audio": self.segments}


def utterance(words: Sequence[str], heard: Sequence[tuple[int, int]], name: str) -> Utterance:
    """``heard``: hertz (0 for none) and hundredths of a second of each segment's tone."""
    places = [
        (SEGMENT * at + 0.02, SEGMENT * at + 0.02 + length / 100, hertz)
        for at, (hertz, length) in enumerate(heard)
        if hertz
    ]
    values = tuple(TONES[hertz] * length / 100 if hertz else 0.0 for hertz, length in heard)
    known = tuple(LEXICON.get(word.strip(",.!"), 0.0) for word in words)
    clip = tones(SEGMENT * len(heard), places)
    return Utterance({"id": name, "text": " ".join(words), "audio": clip}, known, values)


@st.composite
def utterances(draw: st.DrawFn, least: int = 1, most: int = 3) -> Utterance:
    words = st.sampled_from([*LEXICON, *TRAPS])
    said = [
        draw(words) + draw(st.sampled_from(["", "", ",", "!"]))
        for _ in range(draw(st.integers(least, most)))
    ]
    heard = [
        (draw(st.sampled_from([0, 200, 700])), draw(st.integers(2, 6)))
        for _ in range(draw(st.integers(least, most)))
    ]
    return utterance(said, heard, f"u{draw(st.integers(0, 10**6))}")


tables = st.integers(0, 2**31).map(
    lambda seed: torch.randn(4, len(LABELS), generator=torch.Generator().manual_seed(seed))
)


def oracle(table: Tensor, cap: bool = False) -> mx.EmotionModel:
    encoders = {"text": LexiconEncoder(LEXICON), "audio": ToneEncoder(TONES, SEGMENT)}
    fusion = CueFusion(dict.fromkeys(encoders, 1), LABELS, table, cap)
    return mx.EmotionModel(encoders, fusion)


removals = st.sampled_from(
    [
        {"level": "input", "removal": {"text": "mask", "audio": "silence"}},
        {"level": "input", "removal": {"text": "empty", "audio": "silence"}},
        {"level": "features", "removal": "absent"},
    ]
)
MASKED = {"removal": {"text": "mask", "audio": "silence"}}


def near(scale: Tensor) -> float:
    return TIGHT * max(1.0, float(scale.abs().max()))


def flat(found: mx.Attribution, row: int = 0) -> Tensor:
    """Values [n, L] of the players of one sample, the text's first."""
    units = [found.units[name][row][:, found.mask[name][row]] for name in ("text", "audio")]
    return torch.cat(units, dim=1).T.double()


@PROPERTY
@given(utterances(), tables, removals)
def test_words_and_seconds_get_what_the_table_gives_them(
    one: Utterance, table: Tensor, how: dict[str, Any]
) -> None:
    model = oracle(table)
    game = model.game([one.sample], **how)
    known = truth(model.fusion, one.cues)
    sizes = [len(one.words), len(one.segments)]
    for method, expected in ((Owen, known.owen(sizes)), (UnitShapley, known.shapley())):
        found = method(PLAYERS, pairs=True).attribute(game)
        assert (flat(found) - expected).abs().max() < near(expected)
        assert found.spans["text"].names[0] == tuple(one.sample["text"].split())
        for i, j in ((i, j) for i in range(sizes[0]) for j in range(sizes[1])):
            pair = found.pairs["text", "audio"][0, :, i, j].double()
            both = known.interaction(i, sizes[0] + j)
            assert (pair - both).abs().max() < near(both)
    modal = ModalityShapley().attribute(game).totals[0].double()
    expected = torch.stack([part.sum(0) for part in known.shapley().split(sizes)], dim=1)
    assert (modal - expected).abs().max() < near(expected)


@PROPERTY
@given(utterances(2, 3), st.sampled_from([(0, 1, 1, 1), (0, 0, 0, 1), (0, 1, 1, 0)]))
def test_anyone_will_do(one: Utterance, rule: tuple[int, ...]) -> None:
    """OR, AND and XOR of "any such word" and "any such tone": where Owen and Shapley differ."""
    words = tuple(float(value > 0) for value in one.words)
    segments = tuple(float(value > 0) for value in one.segments)
    table = torch.tensor(rule).float()[:, None] * torch.tensor([1.0, -1, 0.5, 2, 3])
    model = oracle(table, cap=True)
    model.encoders["text"].worth.weight.data.gt_(0)
    model.encoders["audio"].worth.weight.data.gt_(0)
    known = truth(model.fusion, {"text": words, "audio": segments})
    game = model.game([one.sample], **MASKED)
    expected = known.owen([len(words), len(segments)])
    assert (flat(Owen(PLAYERS).attribute(game)) - expected).abs().max() < near(expected)
    assert (flat(UnitShapley(PLAYERS).attribute(game)) - known.shapley()).abs().max() < TIGHT * 10


@pytest.mark.parametrize("scale", ["clr", "contrast", "log-odds", "probability", "raw"])
@PROPERTY
@given(one=utterances(), table=tables)
def test_1_efficiency_and_12_owen_sums(scale: Any, one: Utterance, table: Tensor) -> None:
    game = oracle(table).game([one.sample], **MASKED)
    modal = Explanation.of(game).shapley(scale)
    for method in METHODS:
        found = method(PLAYERS, scale=scale).attribute(game)
        size = near(found.prediction)
        assert found.residual().abs().max() < size
        assert found.unit_gap().abs().max() < size
        assert (found.prediction - modal.prediction).abs().max() < size
        assert (found.reference - modal.reference).abs().max() < size
        if method is Owen:
            assert (found.totals - modal.totals).abs().max() < size


@PROPERTY
@given(utterances(), tables, removals)
def test_2_what_the_model_ignores_gets_exactly_0(
    one: Utterance, table: Tensor, how: dict[str, Any]
) -> None:
    game = oracle(table).game([one.sample], **how)
    deaf = oracle(table[[0, 1, 0, 1]]).game([one.sample], **how)
    idle = torch.tensor([*one.words, *one.segments]) == 0
    for method in METHODS:
        assert flat(method(PLAYERS).attribute(game))[idle].eq(0).all()
        assert method(PLAYERS).attribute(deaf).units["audio"].eq(0).all()
        assert method(PLAYERS).attribute(deaf).totals[..., 1].eq(0).all()
    for modal in (ModalityShapley(), mx.attribution.ModalityAblation()):
        assert modal.attribute(deaf).totals[..., 1].eq(0).all()


@PROPERTY
@given(st.sampled_from(list(LEXICON)), st.sampled_from(TRAPS), tables)
def test_3_equals_get_the_same(word: str, other: str, table: Tensor) -> None:
    one = utterance([word, other, word], [(200, 3), (0, 2), (200, 3)], "twins")
    game = oracle(table).game([one.sample], **MASKED)
    for method in METHODS:
        values = flat(method(PLAYERS).attribute(game))
        for first, second in ((0, 2), (3, 5)):
            assert (values[first] - values[second]).abs().max() < near(values)


@PROPERTY
@given(utterances(), tables, tables, st.floats(-2, 2), st.floats(-2, 2))
def test_4_linearity(one: Utterance, first: Tensor, second: Tensor, a: float, b: float) -> None:
    for method in METHODS:
        values = [
            flat(method(PLAYERS).attribute(oracle(table).game([one.sample], **MASKED)))
            for table in (first, second, a * first + b * second)
        ]
        gap = values[2] - (a * values[0] + b * values[1])
        assert gap.abs().max() < 5 * near(torch.cat(values))


def shifted(table: Tensor) -> Tensor:
    """h(x) added to the logits of all classes: the same probabilities."""
    moved = table.clone()
    moved[:, CLASSES] += torch.tensor([1.0, -2.0, 3.0, 5.0])[:, None]
    return moved


@pytest.mark.parametrize("scale", ["clr", "contrast", "log-odds", "probability"])
@PROPERTY
@given(one=utterances(), table=tables)
def test_5_a_shift_of_all_logits_changes_nothing(scale: Any, one: Utterance, table: Tensor) -> None:
    games = [oracle(t).game([one.sample], **MASKED) for t in (table, shifted(table))]
    for method in METHODS:
        before, after = (flat(method(PLAYERS, scale=scale).attribute(game)) for game in games)
        assert (before - after).abs().max() < 10 * near(before)
    gradients = [FeatureDifference(scale=scale), IntegratedGradients(scale=scale)]
    for gradient in gradients:
        before, after = (flat(gradient.attribute(game)) for game in games)
        assert (before - after).abs().max() < 10 * near(before)


@pytest.mark.parametrize("method", METHODS)
def test_5_raw_logits_fail_it(method: Any) -> None:
    one = utterance(["참", "day"], [(200, 4), (0, 2)], "u")
    table = torch.randn(4, len(LABELS), generator=torch.Generator().manual_seed(0))
    games = [oracle(t).game([one.sample], **MASKED) for t in (table, shifted(table))]
    before, after = (flat(method(PLAYERS, scale="raw").attribute(game)) for game in games)
    assert (before - after)[:, CLASSES].abs().max() > 1


@pytest.mark.parametrize("scale", ["clr", "probability"])
@PROPERTY
@given(one=utterances(), table=tables)
def test_6_classes_sum_to_0(scale: Any, one: Utterance, table: Tensor) -> None:
    game = oracle(table).game([one.sample], **MASKED)
    gradients = (FeatureDifference(scale=scale), IntegratedGradients(scale=scale))
    for method in (*(each(PLAYERS, scale=scale) for each in METHODS), *gradients):
        values = flat(method.attribute(game))
        assert values[:, CLASSES].sum(1).abs().max() < near(values)


@PROPERTY
@given(utterances(), tables)
def test_8_the_order_of_the_modalities_means_nothing(one: Utterance, table: Tensor) -> None:
    model = oracle(table)
    names = ("audio", "text")
    fusion = CueFusion(dict.fromkeys(names, 1), LABELS, table[[0, 2, 1, 3]])
    turned = mx.EmotionModel({name: model.encoders[name] for name in names}, fusion)
    for method in METHODS:
        here, there = (
            method(PLAYERS).attribute(m.game([one.sample], **MASKED)) for m in (model, turned)
        )
        assert there.modalities == names
        assert (flat(here) - flat(there)).abs().max() < near(flat(here))
        assert (here.totals - there.totals.flip(-1)).abs().max() < near(here.totals)


@PROPERTY
@given(st.lists(utterances(), min_size=2, max_size=3, unique_by=lambda u: u.sample["id"]), tables)
def test_9_batches_and_10_padding(batch: list[Utterance], table: Tensor) -> None:
    model = oracle(table)
    # Longer than all of them, so that everybody else is padded in every axis.
    long = utterance(["참", *["day"] * 4], [(0, 2)] * 5, "long")
    order = [*reversed(batch), long]
    for method in METHODS:
        ask = method(PLAYERS)
        together = ask.attribute(model.game([one.sample for one in order], **MASKED))
        assert together.sample_ids == tuple(one.sample["id"] for one in order)
        for row, one in enumerate(order):
            alone = ask.attribute(model.game([one.sample], **MASKED))
            assert (flat(together, row) - flat(alone)).abs().max() < near(flat(alone))
            for name in PLAYERS:
                padding = ~together.mask[name][row]
                assert together.units[name][row][:, padding].eq(0).all()


@PROPERTY
@given(utterances(), tables)
def test_11_float32_agrees_with_float64(one: Utterance, table: Tensor) -> None:
    for method in METHODS:
        narrow, wide = (
            flat(method(PLAYERS).attribute(model.game([one.sample], **MASKED)))
            for model in (oracle(table), oracle(table).double())
        )
        assert (narrow - wide).abs().max() < near(wide)


@PROPERTY
@given(utterances(), tables)
def test_14_integrated_gradients_of_a_bilinear_fusion_are_shapley(
    one: Utterance, table: Tensor
) -> None:
    model = oracle(table)
    game = model.game([one.sample], **MASKED)
    known = truth(model.fusion, one.cues).shapley()
    found = IntegratedGradients().attribute(game)
    assert found.residual().abs().max() < near(found.prediction)
    assert (by_word(found, game) - known).abs().max() < near(known)


@PROPERTY
@given(utterances(), tables)
def test_15_an_additive_fusion_leaves_no_choice(one: Utterance, table: Tensor) -> None:
    table = table.clone()
    table[3] = table[1] + table[2] - table[0]
    model = oracle(table)
    game = model.game([one.sample], **MASKED)
    explanation = Explanation.of(game)
    shapley = explanation.shapley().totals
    size = near(shapley)
    for same in (explanation.ablation(), explanation.sufficiency()):
        assert (same.totals - shapley).abs().max() < size
    (pair,) = explanation.interactions().pairs.values()
    assert pair.abs().max() < size
    known = truth(model.fusion, one.cues).shapley()
    for method in (FeatureDifference(), IntegratedGradients()):
        assert (by_word(method.attribute(game), game) - known).abs().max() < near(known)


def by_word(found: mx.Attribution, game: mx.ModelGame) -> Tensor:
    """Values of vectors summed over the words and segments they lie in, [n, L]."""
    rows = []
    for name, spans in game.divide(PLAYERS).players.items():
        middle = (found.spans[name].start[0] + found.spans[name].end[0]) / 2
        for start, end in zip(spans.start[0], spans.end[0], strict=True):
            inside = (middle >= start) & (middle < end) & found.mask[name][0]
            rows.append(found.units[name][0][:, inside].sum(1))
    return torch.stack(rows).double()


@pytest.mark.parametrize("method", METHODS)
@PROPERTY
@given(seed=st.integers(0, 999))
def test_16_only_the_odd_part_of_a_game_counts(method: Any, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(32, 1, 2, generator=draw).double()
    extra = torch.randn(32, 1, 2, generator=draw).double()
    even = extra + extra.flip(0)  # the same for a coalition and its complement
    score = mx.labels("x", "y", kind="dimensional")
    one, two = (UnitTableGame(v, score, {"text": 2, "audio": 3}) for v in (values, values + even))
    gap = flat(method().attribute(one)) - flat(method().attribute(two))
    assert gap.abs().max() < 1e-9


@PROPERTY
@given(utterances(), tables, st.permutations(range(3)))
def test_17_the_order_of_the_labels_means_nothing(
    one: Utterance, table: Tensor, order: list[int]
) -> None:
    columns = [*order, 3, 4]
    model = oracle(table)
    labels = [LABELS[column] for column in columns]
    fusion = CueFusion({"text": 1, "audio": 1}, labels, table[:, columns])
    turned = mx.EmotionModel(dict(model.encoders.items()), fusion)
    for method in METHODS:
        here, there = (
            flat(method(PLAYERS).attribute(m.game([one.sample], **MASKED))) for m in (model, turned)
        )
        assert (here[:, columns] - there).abs().max() < near(here)


@PROPERTY
@given(utterances(), tables, st.sampled_from(TRAPS))
def test_18_another_idle_player_changes_nobody(one: Utterance, table: Tensor, word: str) -> None:
    model = oracle(table)
    longer = {**one.sample, "text": one.sample["text"] + " " + word}
    segments = model.game([one.sample], **MASKED).divide(PLAYERS).players["audio"]
    # Each segment is cut where its tone is over.
    cut = segments.end - 0.015
    halves = Spans(
        torch.stack([segments.start, cut], -1).flatten(1),
        torch.stack([cut, segments.end], -1).flatten(1),
        "seconds",
    )
    for method in METHODS:
        before = flat(method(PLAYERS).attribute(model.game([one.sample], **MASKED)))
        found = method({"text": "word", "audio": halves}).attribute(model.game([longer], **MASKED))
        after = flat(found)
        words = len(one.words)
        assert after[words].eq(0).all()
        assert after[words + 2 :: 2].eq(0).all()
        kept = torch.cat([after[:words], after[words + 1 :: 2]])
        assert (before - kept).abs().max() < near(before)


@PROPERTY
@given(utterances(1, 2), tables, st.integers(1, 2))
def test_19_a_later_voice_has_a_later_map(one: Utterance, table: Tensor, steps: int) -> None:
    model = oracle(table)
    heard = one.sample["audio"]
    silent = tones(SEGMENT * steps, []).waveform
    later = {**one.sample, "audio": mx.Audio(torch.cat([silent, heard.waveform]), 16_000)}
    for method in (*(each(PLAYERS) for each in METHODS), FeatureDifference()):
        first, second = (method.attribute(model.game([s], **MASKED)) for s in (one.sample, later))
        shift = second.units["audio"].shape[-1] - first.units["audio"].shape[-1]
        assert shift == (steps if "audio" in getattr(method, "players", {}) else 10 * steps)
        assert second.units["audio"][..., :shift].eq(0).all()
        gap = second.units["audio"][..., shift:] - first.units["audio"]
        assert gap.abs().max() < near(first.units["audio"])


@pytest.mark.parametrize("method", METHODS)
def test_21_the_same_to_the_bit_and_no_trace(method: Any) -> None:
    one = utterance(["참", "day", "good"], [(200, 4), (0, 2)], "u")
    model = oracle(torch.randn(4, len(LABELS)))
    model.train()
    model.encoders["audio"].eval()
    modes = [module.training for module in model.modules()]
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = torch.get_rng_state()
    for budget in (2048, 16):
        first, second = (
            method(PLAYERS, budget=budget).attribute(model.game([one.sample], **MASKED))
            for _ in range(2)
        )
        for name in PLAYERS:
            assert torch.equal(first.units[name], second.units[name])
        assert torch.equal(first.totals, second.totals)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("method", METHODS)
def test_sampled_estimates_are_efficient_and_within_five_errors(method: Any) -> None:
    """High orders on purpose: any such word, and any such tone, by a random truth table."""
    names = list(LEXICON)
    outside, checked = 0, 0
    for seed in range(2):
        draw = torch.Generator().manual_seed(seed)
        model = oracle(torch.randn(4, len(LABELS), generator=draw), cap=True)
        model.encoders["text"].worth.weight.data.abs_().clamp_(min=1)
        model.encoders["audio"].worth.weight.data.fill_(1)
        said = [
            names[int(i)] if i < 3 else "day" for i in torch.randint(0, 6, (6,), generator=draw)
        ]
        heard = [(200 if on else 0, 5) for on in torch.randint(0, 2, (6,), generator=draw)]
        one = utterance(said, heard, f"s{seed}")
        game = model.game([one.sample], **MASKED)
        expected = flat(method(PLAYERS).attribute(game))  # all coalitions, shown right above
        found = method(PLAYERS, budget=60, seed=seed).attribute(game)
        assert found.residual().abs().max() < 1e-4
        assert found.unit_gap().abs().max() < 1e-4
        values = flat(found)
        errors = flat(replace(found, units=found.unit_se))
        assert errors.gt(0).any()
        outside += int(((values - expected).abs() > 5 * errors + 1e-4).sum())
        checked += values.numel()
        again = method(PLAYERS, budget=60, seed=seed).attribute(game)
        assert torch.equal(flat(again), values)
        other = method(PLAYERS, budget=60, seed=seed + 100).attribute(game)
        assert not torch.equal(flat(other), values)
    assert checked == 2 * 12 * len(LABELS)
    assert outside == 0
