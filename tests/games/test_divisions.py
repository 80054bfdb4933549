"""Players inside the raw value, games of some samples, and questions too large for memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from toys import Rows, speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai.errors import InputError
from modalxai.pieces import in_pieces
from modalxai.types import Spans

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@dataclass(frozen=True)
class Signs:
    """Two players in a row of vectors: what is positive, and what is negative."""

    rendered: list[tuple[bool, ...]] = field(default_factory=list, compare=False)

    def units(self, raw: torch.Tensor) -> Spans:
        start = torch.arange(2.0)[None]
        return Spans(start, start + 1, "index", names=(("plus", "minus"),))

    def render(self, raw: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        assert keep.shape == (2,)
        self.rendered.append(tuple(keep.tolist()))
        return raw.clamp(min=None if keep[1] else 0, max=None if keep[0] else 0)


def grid(game: Any, players: tuple[str, ...] = ("a", "b")) -> torch.Tensor:
    """Scores [2**U, 2**U', B, K] of every coalition of two divided modalities."""
    keep, lead = {}, len(players)
    for place, name in enumerate(players):
        rows, count = game.players[name].start.shape
        bits = (torch.arange(2**count)[:, None] >> torch.arange(count) & 1).bool()
        shape = [1] * lead + [rows, count]
        shape[place] = len(bits)
        keep[name] = bits[:, None].expand(-1, rows, -1).reshape(shape)
    return game.value(keep)[0]


@pytest.mark.parametrize("removal", ["absent", "zero", "mean", "marginal"])
def test_versions_are_rendered_then_encoded(removal: str) -> None:
    model, samples = vector_model(2), vector_samples(3)
    donors = [{**sample, "id": f"d{sample['id']}"} for sample in vector_samples(4)]
    game = model.game(samples, removal=removal, background=donors)
    divided = game.divide({"a": Signs()})
    assert divided.players["a"].names == (("plus", "minus"),) * 3
    found = grid(divided)
    whole = mx.attribution.Explanation.of(game).draws[0]
    for b in (0, 1):
        # Both gone is the modality gone; nothing gone is the recording itself.
        torch.testing.assert_close(found[0, b], whole[b * 2], **CLOSE)
        torch.testing.assert_close(found[3, b], whole[b * 2 + 1], **CLOSE)
    model.eval()
    for row, sample in enumerate(samples):
        for place, edited in ((1, sample["a"].clamp(min=0)), (2, sample["a"].clamp(max=0))):
            with torch.no_grad():
                expected = model(model.collate([{**sample, "a": edited}])).scores[0]
            torch.testing.assert_close(found[place, 1, row], expected, **CLOSE)


def test_each_version_is_rendered_and_encoded_once_whatever_asks() -> None:
    model, samples, signs = vector_model(2), vector_samples(3), Signs()
    game = model.game(samples, removal="zero")
    with Rows(model) as rows:
        grid(game.divide({"a": signs}))
        first = dict(rows.encoded)
        grid(game.divide({"a": signs}))
        grid(game.divide({"a": Signs()}).select([1]))  # an equal division is the same division
        game.divide({"a": signs}).encode("a")
    assert len(signs.rendered) == 2 * 3
    assert rows.encoded == first
    assert first == {"a": 3 * 4, "b": 3 * 2}


def test_missing_values_have_no_players() -> None:
    model, samples = vector_model(2), vector_samples(5, missing=True)
    lacks = [row for row, sample in enumerate(samples) if sample["a"] is None]
    divided = model.game(samples, removal="zero").divide({"a": Signs()})
    assert divided.players["a"].mask.any(1).logical_not().nonzero().flatten().tolist() == lacks
    found = grid(divided)
    for row in lacks:
        assert (found[:, :, row] - found[:1, :, row]).abs().max() == 0


def test_a_division_of_texts_works_on_a_batch_too() -> None:
    model, samples = speech_model(), speech_samples(2)

    @dataclass(frozen=True)
    class Halves:
        def units(self, raw: str) -> Spans:
            return Spans(torch.tensor([[0.0, 3]]), torch.tensor([[3.0, 9]]), "characters")

        def render(self, raw: str, keep: torch.Tensor) -> str:
            return raw[:3] if keep[0] else raw[3:]

    removal = {"audio": "silence", "text": "empty"}
    game = model.game(model.collate(samples), removal=removal)
    found = game.divide({"text": Halves()})
    keep = {
        "audio": torch.ones(2, 1, dtype=torch.bool),
        "text": torch.tensor([[True, False]] * 2),
    }
    edited = [{**sample, "text": sample["text"][:3]} for sample in samples]
    torch.testing.assert_close(found.value(keep)[0], model.predict(edited).scores, **CLOSE)
    with pytest.raises(InputError, match="raw values"):
        game.divide({"audio": Halves()})


def test_a_division_must_be_hashable() -> None:
    @dataclass
    class Loose:
        def units(self, raw: Any) -> Any: ...
        def render(self, raw: Any, keep: Any) -> Any: ...

    game = vector_model(2).game(vector_samples(2), removal="zero")
    with pytest.raises(InputError, match="not hashable"):
        game.divide({"a": Loose()})


def test_what_cannot_be_rendered_is_named_by_sample() -> None:
    @dataclass(frozen=True)
    class Fails(Signs):
        def render(self, raw: Any, keep: Any) -> Any:
            raise InputError("too quiet", expected="a voice", got="none", mend="speak")

    game = vector_model(2).game(vector_samples(2), removal="zero").divide({"a": Fails()})
    with pytest.raises(InputError, match="sample 'u0', a: too quiet"):
        grid(game)


@pytest.mark.parametrize("removal", ["zero", "noise", "absent"])
def test_a_game_of_some_samples_is_their_own_game(removal: str) -> None:
    model, samples = vector_model(2), vector_samples(5, missing=True)
    level = "features" if removal == "absent" else "input"
    game = model.game(samples, removal=removal, level=level)
    divided = game.divide({"a": "item", "b": "pair"})
    whole = grid(divided)
    for row in range(5):
        one = divided.select([row])
        assert one.sample_ids == (f"u{row}",)
        alone = model.game([samples[row]], removal=removal, level=level)
        expected = alone.divide({"a": "item", "b": "pair"})
        assert one.players["a"].start.shape == expected.players["a"].start.shape
        torch.testing.assert_close(grid(one), grid(expected), **CLOSE)
        found, rest = grid(one), whole[:, :, row]
        torch.testing.assert_close(found[..., 0, :], rest[: len(found), : found.shape[1]], **CLOSE)
    some = divided.select([3, 1])
    assert some.sample_ids == ("u3", "u1")
    for name in "ab":
        spans, length = some.players[name], some.players[name].end.shape[1]
        torch.testing.assert_close(spans.end, divided.players[name].end[[3, 1], :length])
    found = grid(some)
    torch.testing.assert_close(found, whole[: len(found), : found.shape[1]][:, :, [3, 1]], **CLOSE)


def test_selecting_costs_no_encoding() -> None:
    model, samples = vector_model(2), vector_samples(4)
    divided = model.game(samples, removal="zero").divide({"a": "item", "b": "item"})
    with Rows(model) as rows:
        grid(divided)
        before = dict(rows.encoded)
        for row in range(4):
            grid(divided.select([row]))
    assert rows.encoded == before


@pytest.mark.parametrize("budget", [1, 300, 2000])
@pytest.mark.parametrize("removal", ["zero", "noise"])
def test_questions_too_large_for_memory_give_the_same(
    budget: int, removal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, samples = vector_model(2, "joint"), vector_samples(3)
    expected = grid(model.game(samples, removal=removal).divide({"a": "item", "b": "item"}))
    monkeypatch.setattr("modalxai.games.encodings.BANK_BYTES", budget)
    game = model.game(samples, removal=removal).divide({"a": "item", "b": "item"})
    torch.testing.assert_close(grid(game), expected, **CLOSE)
    bank = game._encodings["a"].source.bank
    assert len(bank) < 3 * 32


def test_pieces_are_halved_where_memory_ends() -> None:
    sizes = []

    def run(start: int, stop: int) -> list[int]:
        sizes.append(stop - start)
        if stop - start > 3:
            raise torch.OutOfMemoryError("too much")
        return list(range(start, stop))

    assert [row for part in in_pieces(10, 8, run) for row in part] == list(range(10))
    assert sizes == [8, 4, 2, 2, 2, 2, 2]

    def never(start: int, stop: int) -> None:
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        in_pieces(4, 4, never)


def test_an_encoder_and_a_fusion_without_memory_go_on_in_smaller_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, samples = vector_model(2, "joint"), vector_samples(6)
    expected = mx.explain(model, samples, removal="zero").draws

    def limited(call: Callable[..., Any], rows: Callable[[Any], int]) -> Callable[..., Any]:
        def run(given: Any) -> Any:
            if rows(given) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return call(given)

        return run

    encoder, fusion = model.encoders["a"], model.fusion
    monkeypatch.setattr(encoder, "forward", limited(encoder.forward, lambda x: len(x["values"])))
    monkeypatch.setattr(fusion, "forward", limited(fusion.forward, lambda f: len(f["a"].mask)))
    torch.testing.assert_close(mx.explain(model, samples, removal="zero").draws, expected, **CLOSE)
