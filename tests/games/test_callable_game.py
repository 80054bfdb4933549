"""Any function of samples as a game: the same tables as the model's own, each coalition once."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import MIXED, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import GradCAM, ModalityAblation, ModalityShapley
from modalxai.errors import InputError, RemovalError, StaleGameError
from modalxai.games import CallableGame
from modalxai.model import EmotionModel
from modalxai.protocols import FactoredGame, Game, Selectable
from modalxai.types import Batch, Spans

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ONE = mx.labels("score", kind="dimensional")


class Counting:
    """A model as a black box, that answers samples without any modality, too, and counts."""

    def __init__(self, model: EmotionModel, form: Callable[[Tensor], Any] = lambda s: s) -> None:
        self.model, self.form = model.eval(), form
        self.calls: list[list[dict]] = []

    def __call__(self, samples: list[dict]) -> Any:
        assert not torch.is_grad_enabled()
        self.calls.append(samples)
        batch = Batch(
            {
                name: self.model.encoders[name].collate([sample.get(name) for sample in samples])
                for name in self.model.modalities
            }
        )
        return self.form(self.model(batch).scores)

    @property
    def rows(self) -> int:
        return sum(len(samples) for samples in self.calls)


def others(count: int, names: str = "ab", missing: bool = False) -> list[dict]:
    found = vector_samples(count, names, missing)
    return [{**sample, "id": f"donor {sample['id']}"} for sample in found]


def game_of(fn: Any, samples: Any, names: str = "ab", **settings: Any) -> CallableGame:
    settings = {"labels": MIXED, "modalities": tuple(names), **settings}
    return mx.CallableGame(fn, samples, **settings)


# The same tables


@pytest.mark.parametrize("fusion", ["shallow", "joint"])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("missing", [False, True])
def test_missing_is_absent(count: int, fusion: str, missing: bool) -> None:
    names = "abc"[:count]
    model, samples = vector_model(count, fusion), vector_samples(5, names, missing and count > 1)
    expected = mx.explain(model, samples, removal="absent")
    found = game_of(Counting(model), samples, names).explain()
    torch.testing.assert_close(found.draws, expected.draws, **CLOSE)
    assert torch.equal(found.present, expected.present)
    for method in ("shapley", "ablation", "sufficiency", "interactions"):
        one, other = getattr(found, method)(), getattr(expected, method)()
        torch.testing.assert_close(one.totals, other.totals, **CLOSE)
        torch.testing.assert_close(one.reference, other.reference, **CLOSE)
    assert found.provenance.removal == dict.fromkeys(names, "missing")
    for predict in (model.predict, lambda rows: model.predict(rows, batch_size=3).scores):
        again = game_of(predict, samples, names).explain()
        torch.testing.assert_close(again.draws, expected.draws, **CLOSE)


@pytest.mark.parametrize("removal", ["marginal", "marginal-independent"])
@pytest.mark.parametrize("draws", [2, "all"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_donors_of_raw_values_are_donors_of_features(removal: str, draws: Any, count: int) -> None:
    names = "abc"[:count]
    model, samples = vector_model(count, "joint"), vector_samples(3, names)
    donors = others(3, names, missing=count > 1)
    ask = {"removal": removal, "draws": draws, "background": donors, "seed": 4}
    expected = mx.explain(model, samples, **ask)
    found = game_of(model.predict, samples, names, **ask).explain()  # nothing is ever missing
    torch.testing.assert_close(found.draws, expected.draws, **CLOSE)
    torch.testing.assert_close(found.shapley().se, expected.shapley().se, **CLOSE)


def test_donors_do_not_lend_what_a_sample_never_had() -> None:
    model, samples, donors = vector_model(2), vector_samples(6, missing=True), others(5)
    ask = {"removal": "marginal", "draws": 3, "background": donors}
    expected = mx.explain(model, samples, **ask)
    found = game_of(model.predict, samples, **ask).explain()
    torch.testing.assert_close(found.draws, expected.draws, **CLOSE)
    assert (~found.present).any()
    assert found.shapley().totals.movedim(1, 2)[~found.present].eq(0).all()


def test_a_constant_and_an_edit_of_the_raw_value() -> None:
    model, samples = vector_model(2), vector_samples(3)
    expected = mx.explain(model, samples, removal="zero")
    removal = {"a": ("zero", torch.zeros_like), "b": ("zero", torch.zeros_like)}
    found = game_of(model.predict, samples, removal=removal).explain()
    torch.testing.assert_close(found.draws, expected.draws, **CLOSE)
    assert found.provenance.removal == {"a": "zero", "b": "zero"}
    constant = torch.ones(2, 4)
    found = game_of(model.predict, samples, removal=("ones", constant)).explain()
    for row in range(4):
        edited = [
            {
                **s,
                **{name: s[name] if row >> bit & 1 else constant for bit, name in enumerate("ab")},
            }
            for s in samples
        ]
        torch.testing.assert_close(found.scores[row], model.predict(edited).scores, **CLOSE)


@dataclass(frozen=True)
class Signs:
    """Two players in a row of vectors, its signs, and a third in long rows, half of their size."""

    rendered: list[tuple[bool, ...]] = field(default_factory=list, compare=False)

    def units(self, raw: Tensor) -> Spans:
        count = 3 if len(raw) > 3 else 2
        start = torch.arange(float(count))[None]
        return Spans(start, start + 1, "index", names=(("plus", "minus", "more")[:count],))

    def render(self, raw: Tensor, keep: Tensor) -> Tensor:
        assert keep.shape == (3 if len(raw) > 3 else 2,)
        self.rendered.append(tuple(keep.tolist()))
        more = 0.5 if len(keep) == 3 and not keep[2] else 1
        return more * (raw.relu() * keep[0] - (-raw).relu() * keep[1])


def grid(game: Any, names: str = "ab") -> Tensor:
    """Scores [R, 2**U, 2**U', B, K] of every coalition of two divided modalities."""
    keep = {}
    for place, name in enumerate(names):
        rows, count = game.players[name].start.shape
        bits = (torch.arange(2**count)[:, None] >> torch.arange(count) & 1).bool()
        shape = [1] * len(names) + [rows, count]
        shape[place] = len(bits)
        keep[name] = bits[:, None].expand(-1, rows, -1).reshape(shape)
    return game.value(keep)


@pytest.mark.parametrize("removal", ["missing", "marginal", "marginal-independent"])
def test_divided_games_are_the_models(removal: str) -> None:
    model, samples = vector_model(2, "joint"), vector_samples(5, missing=True)
    ask = {"background": others(4), "draws": 2} if removal != "missing" else {}
    theirs = model.game(samples, removal=removal.replace("missing", "absent"), **ask)
    expected = grid(theirs.divide({"a": Signs()}))
    fn = Counting(model) if removal == "missing" else model.predict
    game = game_of(fn, samples, removal=removal, **ask).divide({"a": Signs()})
    torch.testing.assert_close(grid(game), expected, **CLOSE)
    whole = theirs.divide({"a": Signs()}).players["a"]
    assert torch.equal(game.players["a"].start, whole.start)
    assert game.players["a"].names == whole.names


def test_words_and_segments_by_name() -> None:
    heard: list[tuple[Any, Any]] = []

    def fn(samples: list[dict]) -> list[list[float]]:
        heard.extend((s["text"], s["audio"]) for s in samples)
        words = [len(s["text"].split()) if s["text"] else 0 for s in samples]
        loud = [
            float((s["audio"].waveform.abs() > 0).sum()) / 1600 if s["audio"] else 0
            for s in samples
        ]
        return [[2.0 * w + second] for w, second in zip(words, loud, strict=True)]

    sample = {"id": "u1", "text": "what a day", "audio": mx.Audio(torch.ones(16_000) * 0.1, 16_000)}
    game = game_of(fn, sample, labels=ONE, modalities=("text", "audio"))
    game = game.divide({"text": "word", "audio": "segment"})
    assert game.players["text"].names == (("what", "a", "day"),)
    assert game.players["audio"].start.tolist() == [[0.0, 0.5]]
    found = grid(game, ["text", "audio"])[0, :, :, 0, 0]
    words = torch.tensor([bin(row).count("1") for row in range(8)])
    seconds = torch.tensor([0, 5.0, 5.0, 10])
    assert (found - 2 * words[:, None] - seconds).abs().max() < 0.2  # edges fade
    assert {text for text, _ in heard} >= {None, "what", "what day", "what a day"}


# Costs


def test_each_coalition_of_each_sample_is_scored_once() -> None:
    model, samples = vector_model(3), vector_samples(4, "abc")
    fn = Counting(model)
    game = game_of(fn, samples, "abc", batch_size=5)
    game.explain()
    assert fn.rows == 4 * 8
    assert all(len(call) <= 5 for call in fn.calls)
    game.explain()
    ModalityShapley().attribute(game)
    game.select([2, 0]).explain()
    game.divide({"a": Signs()}).explain()
    assert fn.rows == 4 * 8


def test_a_missing_modality_is_no_player_and_costs_nothing() -> None:
    model = vector_model(2)
    samples = vector_samples(3)
    samples[1]["a"] = None
    del samples[2]["b"]
    fn = Counting(model)
    found = game_of(fn, samples).explain()
    assert fn.rows == 4 + 2 + 2
    assert found.present.tolist() == [[True, True], [False, True], [True, False]]
    assert all("b" not in s for call in fn.calls for s in call if s["id"] == "u2")


def test_versions_are_rendered_once_and_grids_cost_their_product() -> None:
    model, samples, signs = vector_model(2), vector_samples(2), Signs()
    fn = Counting(model)
    game = game_of(fn, samples, batch_size=3).divide({"a": signs, "b": Signs()})
    grid(game)
    counts = [[len(s[name]) > 3 for name in "ab"] for s in samples]
    assert fn.rows == sum(2 ** (2 + a) * 2 ** (2 + b) for a, b in counts)
    assert len(signs.rendered) == sum(2 ** (2 + a) - 2 for a, _ in counts)
    grid(game.select([1]))
    grid(game.divide({"a": Signs()}))  # an equal division is the same division
    assert fn.rows == sum(2 ** (2 + a) * 2 ** (2 + b) for a, b in counts)


def test_coalitions_are_donor_by_donor() -> None:
    model, samples = vector_model(2), vector_samples(3)
    fn = Counting(model)
    game_of(fn, samples, removal="marginal", background=others(5), draws=4).explain()
    assert fn.rows == 3 * (1 + 4 * 3)


# Not the batch, not the order


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("removal", ["missing", "marginal"])
def test_the_batch_changes_nothing(batch_size: int, removal: str) -> None:
    model, samples = vector_model(2, "joint"), vector_samples(4, missing=True)
    ask = {"removal": removal, "background": others(6), "draws": 2} if removal != "missing" else {}
    whole = game_of(Counting(model), samples, **ask).explain()
    found = game_of(Counting(model), samples, batch_size=batch_size, **ask).explain()
    torch.testing.assert_close(found.draws, whole.draws, **CLOSE)
    for row, sample in enumerate(samples):
        alone = game_of(Counting(model), sample, **ask).explain()
        torch.testing.assert_close(alone.draws[:, :, 0], whole.draws[:, :, row], **CLOSE)
    turned = game_of(Counting(model), samples[::-1], **ask).explain()
    torch.testing.assert_close(turned.draws.flip(2), whole.draws, **CLOSE)


@given(st.data())
@settings(deadline=None)
def test_masks_broadcast(data: st.DataObject) -> None:
    """Any masks give what each coalition gives when asked for alone."""

    def fn(samples: list[dict]) -> list[list[float]]:
        return [[len(s["a"] or "") + 10.0 * len(s["b"] or "") + 100 * s["x"]] for s in samples]

    samples = [
        {"id": "p", "a": "one two three", "b": "four five", "x": 1},
        {"id": "q", "a": "six", "b": None, "x": 2},
    ]
    game = game_of(fn, samples, labels=ONE).divide({"a": "word"})
    sizes = {"a": data.draw(st.sampled_from([(), (2,), (1,), (3, 1), (1, 2)])), "b": ()}
    sizes["b"] = data.draw(st.sampled_from([(), (1,), (2,), (3, 2)]))
    keep = {
        name: torch.tensor(
            data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
        ).reshape(shape)
        for name, shape, size in (
            (name, (*sizes[name], *game.players[name].start.shape),
             int(np.prod((*sizes[name], *game.players[name].start.shape))))
            for name in "ab"
        )
    }  # fmt: skip
    found = game.value(keep)
    lead = np.broadcast_shapes(*sizes.values())
    assert found.shape == (1, *lead, 2, 1)
    for at in product(*(range(size) for size in lead)):
        full = {name: mask.expand(*lead, *mask.shape[-2:])[at] for name, mask in keep.items()}
        torch.testing.assert_close(game.value(full)[0], found[0][at])
        for row, sample in enumerate(samples):
            words = (sample["a"] or "").split()
            left = [w for w, bit in zip(words, full["a"][row].tolist(), strict=False) if bit]
            b = sample["b"] if full["b"][row, 0] else None
            expected = len(" ".join(left)) + 10 * len(b or "") + 100 * sample["x"]
            assert found[0][at][row, 0] == expected


def test_no_coalition_has_no_scores() -> None:
    game = game_of(lambda s: pytest.fail("asked"), vector_samples(2))
    keep = {name: torch.ones(0, 2, 1, dtype=torch.bool) for name in "ab"}
    assert game.value(keep).shape == (1, 0, 2, 5)


# Attributors, labels, reports


def test_attributors_and_tables_work() -> None:
    model, samples = vector_model(2, "joint"), vector_samples(4)
    game, theirs = game_of(Counting(model), samples), model.game(samples, removal="absent")
    assert isinstance(game, Selectable)
    assert not isinstance(game, FactoredGame)
    typed: Game = game
    for attributor in (ModalityShapley(), ModalityAblation("probability"), ModalityShapley("raw")):
        found = attributor.attribute(typed, ["joy", "tired"])
        expected = attributor.attribute(theirs, ["joy", "tired"])
        torch.testing.assert_close(found.totals, expected.totals, **CLOSE)
    table, other = game.explain(), mx.Explanation.of(theirs)
    pairs = table.interactions().pairs["a", "b"]
    torch.testing.assert_close(pairs, other.interactions().pairs["a", "b"], **CLOSE)
    torch.testing.assert_close(table.conflict().divergence, other.conflict().divergence, **CLOSE)
    with pytest.raises(InputError, match="encoder"):
        GradCAM().attribute(game)


def test_labels_and_columns_reach_the_report(tmp_path: Any) -> None:
    model = vector_model(2)
    samples = [
        {**sample, "labels": {name: 1}, "speaker": f"s{index % 2}"}
        for index, (sample, name) in enumerate(
            zip(vector_samples(6), ["anger", "joy", "fear"] * 2, strict=True)
        )
    ]
    expected = mx.explain(model, samples)
    table = game_of(Counting(model), samples).explain()
    assert torch.equal(table.targets.values, expected.targets.values)
    assert torch.equal(table.targets.mask, expected.targets.mask)
    assert table.columns == expected.columns == {"speaker": tuple(s["speaker"] for s in samples)}
    part = game_of(Counting(model), samples).select([4, 1])
    assert part.columns == {"speaker": ("s0", "s1")}
    assert torch.equal(part.targets.values, table.targets.values[[4, 1]])
    rows = mx.Report(table, truth="labels", by="predicted", cluster="speaker").shares()
    assert rows
    table.save(tmp_path)
    assert torch.equal(mx.Explanation.load(tmp_path).draws, table.draws)


# No trace


def test_nothing_of_the_users_is_changed() -> None:
    model, samples = vector_model(2), vector_samples(3)
    before = [{k: v.clone() if isinstance(v, Tensor) else v for k, v in s.items()} for s in samples]

    def rude(rows: list[dict]) -> Tensor:
        torch.rand(3), np.random.rand(3), random.random()
        scores = model.predict(rows).scores
        for row in rows:
            row.clear()
        return scores

    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    zero = ("zero", torch.zeros_like)
    game_of(rude, samples, removal=zero).divide({"a": Signs()}).explain()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]
    for sample, old in zip(samples, before, strict=True):
        assert sample.keys() == old.keys()
        assert all(
            torch.equal(sample[k], v) if isinstance(v, Tensor) else sample[k] == v
            for k, v in old.items()
        )


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(0.5)

    def forward(self, samples: list[dict]) -> Tensor:
        assert not self.training
        assert not self.dropout.training
        there = torch.tensor([[s["a"] is not None] for s in samples])
        return self.dropout(there * self.weight)

    def asked(self, samples: list[dict]) -> Tensor:
        return self(samples)


@pytest.mark.parametrize("method", ["itself", "method", "partial"])
def test_a_module_is_in_eval_mode_and_its_weights_are_watched(method: str) -> None:
    from functools import partial

    module = Module().train()
    module.dropout.eval()
    fn = {"itself": module, "method": module.asked, "partial": partial(module.asked)}[method]
    game = game_of(fn, vector_samples(2, "a"), "a", labels=ONE)
    scores = game.explain().scores
    assert scores.flatten().tolist() == [0, 0, 1, 1]
    assert not scores.requires_grad
    assert module.training
    assert not module.dropout.training
    assert module.weight.requires_grad
    with torch.no_grad():
        module.weight += 1
    with pytest.raises(StaleGameError, match="changed"):
        game.explain()


def test_what_the_function_raises_comes_through_and_leaves_no_trace() -> None:
    class Failing(Module):
        def forward(self, samples: list[dict]) -> Tensor:
            raise KeyError("mine")

    module = Failing().train()
    with pytest.raises(KeyError, match="mine"):
        game_of(module, vector_samples(2), labels=ONE).explain()
    assert module.dropout.training
    assert torch.is_grad_enabled()


# What a function may return


@pytest.mark.parametrize(
    "form",
    [
        lambda s: s.numpy(),
        lambda s: s.tolist(),
        list,
        lambda s: mx.Prediction(s, MIXED),
        lambda s: s.double(),
        lambda s: s.clone().requires_grad_(),
    ],
    ids=["array", "lists", "tensors", "prediction", "double", "gradient"],
)
def test_scores_in_any_form(form: Callable[[Tensor], Any]) -> None:
    model, samples = vector_model(2), vector_samples(3)
    expected = mx.explain(model, samples, removal="absent").draws
    found = game_of(Counting(model, form), samples).explain().draws
    torch.testing.assert_close(found.float(), expected, **CLOSE)
    assert not found.requires_grad


def test_low_precision_is_cast_up() -> None:
    model, samples = vector_model(2), vector_samples(3)
    for form in (Tensor.bfloat16, Tensor.half, lambda s: s.half().numpy()):
        assert game_of(Counting(model, form), samples).explain().draws.dtype == torch.float32


def test_probabilities_become_scores_that_no_scale_tells_apart() -> None:
    model, samples = vector_model(2, "joint"), vector_samples(4)

    def form(scores: Tensor) -> Tensor:
        return mx.Prediction(scores, MIXED).probabilities()

    expected = game_of(Counting(model), samples).explain()
    found = game_of(Counting(model, form), samples, outputs="probabilities").explain()
    for scale in ("clr", "contrast", "log-odds", "probability"):
        one, other = found.shapley(scale), expected.shapley(scale)
        torch.testing.assert_close(one.totals, other.totals, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="seems to return probabilities"):
        game_of(Counting(model, form), samples).explain()
    with pytest.raises(InputError, match="returned no probabilities"):
        game_of(Counting(model), samples, outputs="probabilities").explain()
    as_they_are = game_of(Counting(model, form), samples, outputs="logits").explain()
    torch.testing.assert_close(as_they_are.scores[-1], form(expected.scores[-1]), **CLOSE)


def test_scikit_learn_pipelines() -> None:
    """A joint model of scikit-learn, against its own logits written out."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    samples = [
        {"id": f"u{i}", "pitch": float(draw.normal()), "words": float(draw.normal())}
        for i in range(40)
    ]

    def features(rows: list[Mapping[str, Any]]) -> Any:
        return np.array([[row["pitch"], row["words"]] for row in rows])

    x = features(samples)
    y = (x.sum(1) + draw.normal(size=40) > 0).astype(int) + (x[:, 0] > 1)
    pipeline = linear_model.LogisticRegression().fit(x, y)
    names = mx.labels("calm", "angry", "furious")
    game = mx.CallableGame(
        lambda rows: pipeline.predict_proba(features(rows)),
        samples,
        labels=names,
        modalities=("pitch", "words"),
        removal=("mean", 0.0),
        outputs="probabilities",
    )
    found = game.explain().shapley()
    weights = torch.from_numpy(pipeline.coef_ - pipeline.coef_.mean(0))
    expected = torch.from_numpy(x)[:, None] * weights  # additive in clr, so no interaction
    torch.testing.assert_close(found.totals, expected, **CLOSE)


def refused(words: str, fn: Any, samples: Any = None, kind: type = InputError, **ask: Any) -> str:
    samples = vector_samples(2) if samples is None else samples
    with pytest.raises(kind, match=words) as caught:
        game_of(fn, samples, **ask).explain()
    assert caught.value.mend
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda n: torch.zeros(n), "wrong shape"),
        (lambda n: torch.zeros(n, 4), "wrong shape"),
        (lambda n: torch.zeros(n + 1, 5), "wrong shape"),
        (lambda n: [], "wrong shape"),
        (lambda n: [[0.0] * 5] * (n - 1) + [[0.0]], "no scores"),
        (lambda n: None, "no scores"),
        (lambda n: "anger", "no scores"),
        (lambda n: {"logits": 1}, "no scores"),
        (lambda n: torch.zeros(n, 5).bool(), "no scores"),
        (lambda n: torch.zeros(n, 5, dtype=torch.complex64), "no scores"),
        (lambda n: [torch.zeros(5)] * (n - 1) + [torch.zeros(4)], "no scores"),
        (lambda n: mx.Prediction(torch.zeros(n, 5), MIXED[::-1]), "other labels"),
    ],
)
def test_what_is_no_score_is_refused(answer: Callable[[int], Any], words: str) -> None:
    refused(words, lambda samples: answer(len(samples)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_are_named_by_sample(bad: float) -> None:
    def fn(samples: list[dict]) -> Tensor:
        scores = torch.zeros(len(samples), 5)
        for row, sample in enumerate(samples):
            if sample["id"] == "u1" and sample["a"] is None and sample["b"] is not None:
                scores[row, 2] = bad
        return scores

    for batch_size in (1, 3, 16):
        said = refused("not finite", fn, batch_size=batch_size)
        assert "sample 'u1 left with b'" in said


def test_a_probability_of_nothing_has_no_logit() -> None:
    def fn(samples: list[dict]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in samples]

    asked = {"labels": mx.labels("x", "y"), "outputs": "probabilities"}
    assert "probability of 0" in refused("not finite", fn, **asked)


def test_settings_that_cannot_be_are_refused() -> None:
    def fn(samples: list[dict]) -> Tensor:
        return torch.zeros(len(samples), 5)

    good = vector_samples(2)
    twice = [{**good[0]}, {**good[0]}]
    refused("share an id", fn, twice)
    refused("is no sample", fn, [good[0], "text"])
    refused("is no sample", fn, [good[0], 3])
    refused("asked about samples", fn, [])
    refused("asked about samples", fn, vector_model(2).collate(good))
    refused("cannot be read", fn, 3)
    refused("all modalities are missing", fn, [{"id": "x"}])
    refused("would never be removed", fn, [{**good[0], "extra": torch.zeros(3)}])
    refused("would never be removed", fn, good, modalities=("a",))
    refused("cannot be called", 3)
    for modalities in ((), "ab", ("a", "a"), ("a", "labels"), ("a", 3)):
        refused("modalities that cannot be", fn, modalities=modalities)
    refused("unknown modality 'c'", fn, removal={"c": "missing"})
    for removal in (3, "silence", "absent", ("missing", ""), ("absent", ""), ("", ""), (3, ""),
                    ("empty",), torch.zeros_like):  # fmt: skip
        refused("cannot be removed by", fn, removal=removal, kind=RemovalError)
    refused("needs other samples", fn, removal="marginal", kind=RemovalError)
    donors = others(3)
    refused("draws out of range", fn, draws=0)
    refused("draws out of range", fn, draws="all")
    refused("too few donors", fn, removal="marginal", background=donors, draws=4)
    ask = {"removal": "marginal", "draws": "all"}
    refused("in its own background", fn, background=good, **ask)
    halves = [{**donors[0], "a": None}, {**donors[1], "b": None}]
    refused("cannot lend", fn, background=halves, **ask)
    refused("a seed that is none", fn, seed=0.5)
    for size in (0, True, 2.0):
        refused("batch_size out of range", fn, batch_size=size)
    refused("unknown outputs", fn, outputs="softmax")
    refused("always certain", fn, labels=mx.labels("a", "b")[:1])
    unlabelled = [{**good[0], "labels": {"bliss": 1}}]
    refused("sample 'u0'.*bliss|sample 'u0'", fn, unlabelled)


def test_questions_that_cannot_be_are_refused() -> None:
    game = game_of(lambda s: torch.zeros(len(s), 5), vector_samples(2))
    good = torch.ones(2, 1, dtype=torch.bool)
    for keep, words in (
        ({"a": good}, "other modalities"),
        ({"a": good, "b": good, "c": good}, "other modalities"),
        ({"a": good, "b": good.float()}, "wrong type or shape"),
        ({"a": good, "b": good[:1]}, "wrong type or shape"),
        ({"a": good.expand(2, 2, 1), "b": good.expand(3, 2, 1)}, "do not broadcast"),
    ):
        with pytest.raises(InputError, match=words):
            game.value(keep)
    spans = Spans(torch.zeros(2, 1), torch.ones(2, 1), "index")
    for players, words in (
        ({"c": Signs()}, "unknown modality"),
        ({"a": "frame"}, "cannot remove"),
        ({"a": spans}, "cannot remove"),
        ({"a": "word"}, "sample 'u0', a: no text"),
    ):
        with pytest.raises(InputError, match=words):
            game.divide(players)


def test_backgrounds_are_told_apart() -> None:
    def settings(donors: list[dict]) -> str:
        game = game_of(lambda s: s, vector_samples(2), removal="marginal", background=donors)
        return game.settings["background"]

    donors = others(4)
    assert settings(donors) == settings(donors[::-1]) != settings(donors[:3])
    changed = [{**donors[0], "a": donors[0]["a"] + 1}, *donors[1:]]
    assert settings(changed) != settings(donors)
    speech = speech_samples(3)
    louder = [{**s, "audio": mx.Audio(s["audio"].waveform * 2, 16_000)} for s in speech]
    marks = {
        game_of(lambda s: s, speech_samples(1), modalities=("audio", "text"), removal="marginal",
                background=[{**s, "id": f"d{i}"} for i, s in enumerate(found)],
                ).settings["background"]
        for found in (speech, louder)
    }  # fmt: skip
    assert len(marks) == 2
