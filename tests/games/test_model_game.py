"""`ModelGame` against a slow oracle that builds every coalition by hand, sample by sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import MIXED, speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai import masking
from modalxai.audio import seed_for
from modalxai.errors import InputError, RemovalError
from modalxai.games import Background
from modalxai.model import EmotionModel
from modalxai.types import Features, Spans

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


class Oracle:
    """Scores of one sample with some units removed: collated alone, encoded and fused anew."""

    def __init__(
        self, model: EmotionModel, samples: list[dict], removal: Any, level: str = "input",
        background: list[dict] | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.model, self.samples, self.level, self.seed = model.eval(), samples, level, seed
        self.removal = (
            dict.fromkeys(model.modalities, removal) if isinstance(removal, str) else removal
        )
        self.means = {}
        for name in model.modalities if background else ():
            means = []
            for sample in background:
                features = self._encode(name, model.collate([sample])[name])
                if features.mask.any():
                    means.append(features.values[features.mask].double().mean(0))
            self.means[name] = torch.stack(means).mean(0).float()

    def _encode(self, name: str, inputs: Any) -> Features:
        with torch.no_grad():
            return self.model.encoders[name](inputs)

    def features(
        self, row: int, name: str, keep: Tensor, units: Spans | None, draw: int
    ) -> Features:
        """``keep`` bool [U] of this sample; ``units`` its spans, [1, U], or the whole."""
        inputs = self.model.collate([self.samples[row]])[name]
        full = self._encode(name, inputs)
        if self.samples[row].get(name) is None or keep.all():
            return full
        how = self.removal[name]
        if self.level == "input" and how not in ("absent", "mean"):
            if units is None:
                unit = full.spans.unit
                units = Spans(torch.zeros(1, 1), torch.full((1, 1), 1e6), unit)
            seed = seed_for(f"{name}/{self.samples[row]['id']}", self.seed, draw)
            encoder = self.model.encoders[name]
            return self._encode(name, encoder.remove(inputs, units, keep[None], how, [seed]))
        values, mask = full.values.clone(), full.mask.clone()
        real = keep if units is None else keep[units.mask[0]]
        for t in range(mask.shape[1]):
            start, end = (edge[0, t].item() for edge in (full.spans.start, full.spans.end))
            gone = not real.any()
            for u in range(len(keep)):
                if units is not None and not keep[u] and end > start:
                    gone |= units.start[0, u].item() <= (start + end) / 2 < units.end[0, u].item()
            if mask[0, t] and gone and how == "mean":
                values[0, t] = self.means[name]
            elif gone:
                values[0, t], mask[0, t] = 0, False
        return replace(full, values=values, mask=mask)

    def value(
        self, row: int, keep: dict[str, Tensor], units: dict[str, Spans], draw: int = 0
    ) -> Tensor:
        """[K]; ``keep[m]`` bool [U], ``units[m]`` this sample's own spans [1, U]."""
        features = {
            name: self.features(row, name, keep[name], units.get(name), draw)
            for name in self.model.modalities
        }
        with torch.no_grad():
            return self.model.fusion(features).scores[0]


def check(game: Any, oracle: Oracle, keep: dict[str, Tensor], draws: int = 1) -> None:
    """Every cell of ``game.value(keep)``, masks [..., B, U], is the oracle's."""
    found = game.value(keep)
    lead = torch.broadcast_shapes(*(mask.shape[:-2] for mask in keep.values()))
    samples = len(game.sample_ids)
    assert found.shape == (draws, *lead, samples, len(MIXED))
    whole = {n: m.expand(*lead, *m.shape[-2:]).reshape(-1, *m.shape[-2:]) for n, m in keep.items()}
    flat = found.reshape(draws, -1, samples, len(MIXED))
    units = {name: spans for name, spans in game.players.items() if float(spans.end.max()) < 1e6}
    for draw in range(draws):
        for place in range(flat.shape[1]):
            for row in range(samples):
                own = {n: Spans(s.start[row : row + 1], s.end[row : row + 1], s.unit)
                       for n, s in units.items()}  # fmt: skip
                expected = oracle.value(
                    row, {n: m[place, row] for n, m in whole.items()}, own, draw
                )
                torch.testing.assert_close(flat[draw, place, row], expected, **CLOSE)


def all_modalities(game: Any) -> dict[str, Tensor]:
    count, samples = len(game.modalities), len(game.sample_ids)
    return {
        name: torch.tensor([[[bool(row >> bit & 1)]] for row in range(1 << count)]).expand(
            -1, samples, 1
        )
        for bit, name in enumerate(game.modalities)
    }


def random_keep(game: Any, name: str, *lead: int) -> Tensor:
    draw = torch.Generator().manual_seed(11)
    keep = torch.rand(*lead, *game.players[name].start.shape, generator=draw) > 0.5
    flat = keep.reshape(-1, *keep.shape[-2:])
    flat[0], flat[-1] = True, False  # among them everything, and nothing
    return keep


@pytest.mark.parametrize("fusion", ["shallow", "late", "joint"])
@pytest.mark.parametrize("removal", ["absent", "mean", "zero", "noise"])
def test_coalitions_of_modalities(fusion: str, removal: str) -> None:
    model = vector_model(3, fusion)
    samples, others = vector_samples(5, "abc", missing=True), vector_samples(7, "abc", missing=True)
    draws = 2 if removal == "noise" else 1
    game = model.game(samples, removal=removal, background=others, draws=draws, seed=5)
    oracle = Oracle(model, samples, removal, background=others, seed=5)
    check(game, oracle, all_modalities(game), draws)


@pytest.mark.parametrize(
    "removal",
    [
        {"audio": "absent", "text": "absent"},
        {"audio": "mean", "text": "mean"},
        {"audio": "silence", "text": "mask"},
        {"audio": "noise", "text": "empty"},
        {"audio": "silence", "text": "absent"},
    ],
)
def test_coalitions_of_voice_and_words(removal: dict[str, str]) -> None:
    model, samples = speech_model(), speech_samples(4)
    samples[1]["text"], samples[2]["audio"] = None, None
    draws = 3 if "noise" in removal.values() else 1
    game = model.game(samples, removal=removal, background=samples, draws=draws)
    oracle = Oracle(model, samples, removal, background=samples)
    check(game, oracle, all_modalities(game), draws)


def test_coalitions_of_wav2vec2_with_its_learned_mask() -> None:
    pytest.importorskip("modalxai.encoders.wav2vec2")
    from transformers import Wav2Vec2Config

    from modalxai.encoders import Wav2Vec2Encoder

    config = Wav2Vec2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        conv_dim=(4, 4), conv_stride=(10, 16), conv_kernel=(10, 16), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = speech_model(audio=Wav2Vec2Encoder.from_config(config, segment_seconds=0.1))
    samples = speech_samples(3)
    for how in ("learned-mask", "silence", "noise"):
        removal = {"audio": how, "text": "mask"}
        game = model.game(samples, removal=removal, draws=2)
        check(game, Oracle(model, samples, removal), all_modalities(game), draws=2)
    divided = model.game(samples, removal={"audio": "learned-mask", "text": "mask"}).divide(
        {"audio": "segment"}
    )
    keep = {
        "audio": random_keep(divided, "audio", 4),
        "text": torch.ones(3, 1, dtype=torch.bool),
    }
    check(divided, Oracle(model, samples, {"audio": "learned-mask", "text": "mask"}), keep)


@pytest.mark.parametrize("removal", ["zero", "noise"])
@pytest.mark.parametrize("kind", ["item", "pair"])
def test_a_grid_of_units(removal: str, kind: str) -> None:
    model, samples = vector_model(2), vector_samples(5, missing=True)
    game = model.game(samples, removal=removal, seed=3).divide({"a": kind, "b": "item"})
    keep = {"a": random_keep(game, "a", 6, 1), "b": random_keep(game, "b", 1, 5)}
    check(game, Oracle(model, samples, removal, seed=3), keep)


def test_a_grid_of_words_and_segments() -> None:
    model, samples = speech_model(), speech_samples(4)
    samples[2]["text"] = None
    removal = {"audio": "silence", "text": "mask"}
    game = model.game(samples, removal=removal).divide({"text": "word", "audio": "segment"})
    assert game.players["text"].names[0] == ("so", "far")
    keep = {"text": random_keep(game, "text", 5, 1), "audio": random_keep(game, "audio", 1, 4)}
    check(game, Oracle(model, samples, removal), keep)


@pytest.mark.parametrize("removal", ["absent", "mean"])
@pytest.mark.parametrize("fusion", ["shallow", "joint"])
def test_a_grid_of_encoder_outputs(removal: str, fusion: str) -> None:
    model, samples = speech_model(fusion), speech_samples(4)
    samples[1]["audio"] = None
    game = model.game(samples, removal=removal, level="features", background=samples)
    assert game.level == "features"
    divided = game.divide({"text": "word", "audio": "frame"})
    keep = {
        "text": random_keep(divided, "text", 4, 1),
        "audio": random_keep(divided, "audio", 1, 5),
    }
    oracle = Oracle(model, samples, removal, "features", background=samples)
    check(divided, oracle, keep)
    check(game, oracle, all_modalities(game))


def test_spans_of_ones_own() -> None:
    model, samples = vector_model(2), vector_samples(4)
    # Overlapping, out of order, beyond the end, one without extent, one from centre to centre.
    start = torch.tensor([[2.0, 0, 1, 1, 0.5]]).repeat(4, 1)
    end = torch.tensor([[9.0, 2, 3, 1, 1.5]]).repeat(4, 1)
    spans = Spans(start, end, "index")
    for removal, level in (("zero", "input"), ("absent", "features")):
        game = model.game(samples, removal=removal, level=level).divide({"a": spans})
        keep = {
            "a": random_keep(game, "a", 9),
            "b": torch.ones(4, 1, dtype=torch.bool),
        }
        keep["a"][-2] = torch.tensor([True, True, True, True, False])
        check(game, Oracle(model, samples, removal, level), keep)


def test_divided_and_whole_modalities_mix_and_masks_broadcast() -> None:
    model, samples = vector_model(3), vector_samples(3, "abc")
    game = model.game(samples, removal={"a": "zero", "b": "absent", "c": "noise"}, draws=2)
    game = game.divide({"a": "item"})
    oracle = Oracle(model, samples, {"a": "zero", "b": "absent", "c": "noise"})
    keep = {
        "a": random_keep(game, "a", 3, 1, 1),
        "b": random_keep(game, "b", 2, 1),  # fewer leading axes: aligned from the right
        "c": random_keep(game, "c", 2),
    }
    check(game, oracle, keep, draws=2)
    one = {name: mask.reshape(-1, *mask.shape[-2:])[0] for name, mask in keep.items()}
    assert game.value(one).shape == (2, 3, len(MIXED))


def test_removing_all_units_is_removing_the_modality() -> None:
    model, samples = speech_model(), speech_samples(3)
    for removal, level in (
        ({"audio": "silence", "text": "mask"}, "input"),
        ({"audio": "noise", "text": "empty"}, "input"),
        ("absent", "features"),
    ):
        game = model.game(samples, removal=removal, level=level)
        divided = game.divide({"text": "word", "audio": "segment"})
        whole, parts = mx.Explanation.of(game), mx.Explanation.of(divided)
        torch.testing.assert_close(parts.draws, whole.draws, **CLOSE)


def test_dividing_leaves_the_undivided_game_as_it_was() -> None:
    model, samples = vector_model(2), vector_samples(3)
    game = model.game(samples, removal="zero")
    before = game.value(all_modalities(game))
    divided = game.divide({"a": "item"})
    divided.value({"a": random_keep(divided, "a", 4), "b": torch.ones(3, 1).bool()})
    assert game.players["a"].start.shape == (3, 1)
    assert torch.equal(game.value(all_modalities(game)), before)
    again = divided.divide({"a": "pair"})
    assert again.players["a"].start.shape[1] < divided.players["a"].start.shape[1]


def test_padding_players_and_players_of_missing_modalities_change_nothing() -> None:
    model, samples = vector_model(2), vector_samples(5, missing=True)
    game = model.game(samples, removal="zero").divide({"a": "item", "b": "item"})
    keep = {name: random_keep(game, name, 6) for name in "ab"}
    real = {name: game.players[name].mask for name in "ab"}
    assert not all(mask.all() for mask in real.values())
    other = {name: mask ^ ~real[name] for name, mask in keep.items()}
    torch.testing.assert_close(game.value(keep), game.value(other), rtol=0, atol=0)
    assert (real["a"].any(1) == game.present[:, 0]).all()


@pytest.mark.parametrize("removal", ["absent", "zero", "noise"])
def test_a_row_does_not_depend_on_its_neighbours_or_its_place(removal: str) -> None:
    model, samples = vector_model(3), vector_samples(6, "abc", missing=True)
    whole = mx.explain(model, samples, removal=removal, seed=9).draws
    for row, sample in enumerate(samples):
        alone = mx.explain(model, sample, removal=removal, seed=9).draws
        torch.testing.assert_close(alone[:, :, 0], whole[:, :, row], **CLOSE)
    order = [4, 1, 5, 0, 2, 3]
    shuffled = mx.explain(model, [samples[i] for i in order], removal=removal, seed=9).draws
    torch.testing.assert_close(shuffled, whole[:, :, order], **CLOSE)


def test_voice_and_words_do_not_depend_on_their_neighbours() -> None:
    model, samples = speech_model(), speech_samples(5)
    samples[3]["audio"] = None
    for removal in ("absent", {"audio": "noise", "text": "mask"}):
        whole = mx.explain(model, samples, removal=removal).draws
        for row, sample in enumerate(samples):
            alone = mx.explain(model, sample, removal=removal).draws
            torch.testing.assert_close(alone[:, :, 0], whole[:, :, row], **CLOSE)


def test_the_order_of_modalities_permutes_the_table() -> None:
    model, samples = vector_model(2, "joint"), vector_samples(4)
    other = EmotionModel({"b": model.encoders["b"], "a": model.encoders["a"]}, model.fusion)
    other.fusion.dims = {"b": 4, "a": 3}
    one = mx.explain(model, samples, removal="noise")
    two = mx.explain(other, samples, removal="noise")
    torch.testing.assert_close(two.draws[:, [0, 2, 1, 3]], one.draws, **CLOSE)
    torch.testing.assert_close(two.shapley().totals.flip(-1), one.shapley().totals, **CLOSE)


def test_the_last_row_is_the_prediction() -> None:
    model, samples = speech_model(), speech_samples(3)
    found = mx.explain(model, samples)
    torch.testing.assert_close(found.scores[-1], model.predict(samples).scores, **CLOSE)


def test_draws_differ_and_seeds_repeat() -> None:
    model, samples = vector_model(2), vector_samples(3)
    one = mx.explain(model, samples, removal="noise", draws=4, seed=1).draws
    assert one.shape[0] == 4
    assert not torch.allclose(one[0, 0], one[1, 0])
    assert torch.equal(one[0, -1], one[1, -1])
    assert torch.equal(one, mx.explain(model, samples, removal="noise", draws=4, seed=1).draws)
    assert torch.equal(one[:2], mx.explain(model, samples, removal="noise", draws=2, seed=1).draws)
    other = mx.explain(model, samples, removal="noise", draws=4, seed=2).draws
    assert not torch.allclose(one[0, 0], other[0, 0])


def test_a_constant_removal_gives_the_same_in_every_draw() -> None:
    model, samples = vector_model(2), vector_samples(3)
    found = mx.explain(model, samples, removal="zero", draws=3)
    assert found.draws.shape[0] == 3
    assert torch.equal(found.draws[0], found.draws[2])
    assert mx.explain(model, samples, removal="absent", draws=3).draws.shape[0] == 1


def test_small_chunks_of_the_fusion_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = vector_model(2), vector_samples(5)
    expected = mx.explain(model, samples).draws
    monkeypatch.setattr("modalxai.games.grids.JOIN_BYTES", 100)
    torch.testing.assert_close(mx.explain(model, samples).draws, expected, **CLOSE)


def test_small_chunks_of_the_encoder_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = vector_model(2), vector_samples(3)
    game = model.game(samples, removal="noise").divide({"a": "item"})
    keep = {"a": random_keep(game, "a", 12), "b": torch.ones(3, 1).bool()}
    expected = game.value(keep)
    monkeypatch.setattr("modalxai.games.source.ENCODE_ROWS", 1)
    game = model.game(samples, removal="noise").divide({"a": "item"})
    torch.testing.assert_close(game.value(keep), expected, **CLOSE)


def test_asking_in_pieces_or_twice_gives_the_same() -> None:
    model, samples = vector_model(2), vector_samples(4)
    game = model.game(samples, removal="zero").divide({"a": "item", "b": "item"})
    keep = {"a": random_keep(game, "a", 5, 1), "b": random_keep(game, "b", 1, 4)}
    whole = game.value(keep)
    assert torch.equal(game.value(keep), whole)
    for v in range(5):
        piece = game.value({"a": keep["a"][v, 0], "b": keep["b"][0]})
        torch.testing.assert_close(piece, whole[:, v], **CLOSE)


def test_encode_with_a_mask_is_the_removed_input_encoded() -> None:
    model, samples = vector_model(2), vector_samples(4, missing=True)
    for removal, level in (
        ("zero", "input"),
        ("noise", "input"),
        ("absent", "features"),
        ("mean", "features"),
    ):
        game = model.game(samples, removal=removal, level=level, background=samples)
        game = game.divide({"a": "item"})
        oracle = Oracle(model, samples, removal, level, background=samples)
        keep = random_keep(game, "a", 3)[1]
        found = game.encode("a", keep)
        for row in range(4):
            spans = game.players["a"]
            own = Spans(spans.start[row : row + 1], spans.end[row : row + 1], spans.unit)
            expected = oracle.features(row, "a", keep[row], own, 0)
            length = expected.mask.shape[1]
            torch.testing.assert_close(found.values[row, :length], expected.values[0], **CLOSE)
            assert torch.equal(found.mask[row, :length], expected.mask[0])
            assert not found.mask[row, length:].any()
        for keep in random_keep(game, "a", 3):  # the last removes everything
            found = game.encode("a", keep)
            assert (found.values[~found.mask] == 0).all()


def test_fuse_is_the_model_in_eval_and_lets_gradients_through() -> None:
    model, samples = vector_model(2, dropout=0.9), vector_samples(3)
    model.train()
    game = model.game(samples)
    features = {name: game.encode(name) for name in "ab"}
    leaf = features["a"].values.clone().requires_grad_()
    scores = game.fuse(features | {"a": replace(features["a"], values=leaf)}).scores
    torch.testing.assert_close(scores.detach(), model.predict(samples).scores, **CLOSE)
    scores.sum().backward()
    assert leaf.grad.abs().sum() > 0
    with torch.no_grad():
        assert not game.fuse(features).scores.requires_grad


def test_settings_say_how_the_game_was_made() -> None:
    model, samples = vector_model(2), vector_samples(3)
    others = vector_samples(5)
    game = model.game(samples, removal={"a": "mean"}, background=others, seed=4)
    assert game.settings["removal"] == {"a": "mean", "b": "absent"}
    assert game.settings["seed"] == 4
    digest = game.settings["background"]
    assert digest == Background.of(model, others).digest
    assert digest != Background.of(model, others[:3]).digest
    assert model.game(samples, background=others).settings["background"] == digest
    assert model.game(samples).settings["background"] is None
    assert model.game(samples).settings["versions"]["torch"] == torch.__version__
    provenance = mx.Explanation.of(game).shapley().provenance
    assert provenance.background == digest
    assert (provenance.level, provenance.scale) == ("input", "clr")


def test_the_background_is_a_mean_of_means_over_those_who_have_it() -> None:
    model, others = vector_model(2), vector_samples(7, missing=True)
    found = Background.of(model, others, batch_size=2)
    for name in "ab":
        rows = []
        for sample in others:
            if sample[name] is not None:
                features = model.eval().encoders[name](model.collate([sample])[name])
                rows.append(masking.mean(features.values, features.mask)[0])
        expected = torch.stack(rows).double().mean(0).detach()
        torch.testing.assert_close(found.means[name], expected, **CLOSE)
    assert Background.of(model, found) is found
    # The same samples however they are batched and ordered; others are another background.
    assert Background.of(model, others[::-1], batch_size=16).digest == found.digest
    assert Background.of(model, others[1:]).digest != found.digest
    louder = [{**others[0], "b": torch.ones(2, 4)}, *others[1:]]
    assert Background.of(model, louder).digest != found.digest


def test_without_modality_dropout_the_removal_must_be_named() -> None:
    model, samples = vector_model(2, dropout=0.0), vector_samples(3)
    with pytest.raises(RemovalError, match=r"no removal .*'a'"):
        model.game(samples)
    with pytest.raises(RemovalError, match=r"no removal .*'b'"):
        model.game(samples, removal={"a": "absent"})
    assert model.game(samples, removal="absent").settings["removal"]["b"] == "absent"


def test_an_encoder_that_removes_nothing_offers_the_outer_removals_only() -> None:
    model, samples = vector_model(2), vector_samples(3)

    class Plain(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner, self.dim, self.collate = inner, inner.dim, inner.collate

        def forward(self, inputs: dict[str, Tensor]) -> Features:
            return self.inner(inputs)

    plain = EmotionModel({n: Plain(e) for n, e in model.encoders.items()}, model.fusion)
    torch.testing.assert_close(
        mx.explain(plain, samples).draws, mx.explain(model, samples).draws, **CLOSE
    )
    with pytest.raises(RemovalError, match="'zero'"):
        plain.game(samples, removal="zero")
    game = plain.game(samples, level="features", removal="absent")
    with pytest.raises(InputError, match="knows no units"):
        game.divide({"a": "item"})
    spans = model.game(samples, removal="zero").divide({"a": "item"}).players["a"]
    divided = game.divide({"a": spans})
    keep = {"a": random_keep(divided, "a", 4), "b": torch.ones(3, 1).bool()}
    check(divided, Oracle(plain, samples, "absent", "features"), keep)
