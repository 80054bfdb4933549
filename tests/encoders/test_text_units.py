"""What every text encoder keeps: no neighbours, silent padding, honest spans, declared removal."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modalxai import masking
from modalxai.encoders import text_units
from modalxai.encoders.byte_text import ByteTextEncoder
from modalxai.encoders.text import DistilBertEncoder, TransformersTextEncoder
from modalxai.errors import InputError, RemovalError
from modalxai.protocols import Removable
from modalxai.types import Spans

KOREAN = "참 잘했다."
TEXTS = [
    KOREAN,
    "no",
    "  well\tdone,  정말 고마워요! that was kind of you — really 🙂🙂 " * 2,
    None,
]


def distilbert(attention: str) -> DistilBertEncoder:
    from transformers import DistilBertConfig

    return DistilBertEncoder(
        DistilBertConfig(
            vocab_size=300,
            dim=16,
            hidden_dim=32,
            n_layers=2,
            n_heads=2,
            attn_implementation=attention,
        )
    )


def roberta(attention: str) -> TransformersTextEncoder:
    from transformers import RobertaConfig

    return TransformersTextEncoder(
        RobertaConfig(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            attn_implementation=attention,
        )
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "byte-text": lambda: ByteTextEncoder(dim=16),
    "distilbert-sdpa": lambda: distilbert("sdpa"),
    "distilbert-eager": lambda: distilbert("eager"),
    "roberta-sdpa": lambda: roberta("sdpa"),
    "roberta-eager": lambda: roberta("eager"),
}


@functools.cache
def made(name: str) -> Any:
    torch.manual_seed(1)
    return MAKERS[name]().eval()


@pytest.fixture(params=MAKERS)
def encoder(request: pytest.FixtureRequest) -> Any:
    return made(request.param)


@pytest.fixture(params=["byte-text", "distilbert-sdpa"])
def remover(request: pytest.FixtureRequest) -> Any:
    """One encoder per vocabulary."""
    return made(request.param)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def close(left: Tensor, right: Tensor) -> None:
    assert (left - right).abs().max() <= 1e-5 * right.abs().max()


@torch.no_grad()
def test_a_text_alone_is_the_same_text_beside_longer_and_missing_ones(encoder: Any) -> None:
    together = encoder(encoder.collate(TEXTS))
    assert together.mask.sum(1)[2] > 4 * together.mask.sum(1)[0]
    for index, text in enumerate(TEXTS):
        alone = encoder(encoder.collate([text]))
        length = alone.mask.shape[1]
        assert torch.equal(alone.mask[0], together.mask[index, :length])
        assert not together.mask[index, length:].any()
        if text:
            close(together.values[index, :length], alone.values[0])


@torch.no_grad()
def test_more_padding_changes_nothing(encoder: Any) -> None:
    inputs = encoder.collate([KOREAN, None])
    longer = {key: masking.lengthen(value, 64) for key, value in inputs.items()}
    close(encoder(longer).values[:, : inputs["input_ids"].shape[1]], encoder(inputs).values)


@torch.no_grad()
def test_inputs_of_two_batches_join(encoder: Any) -> None:
    left, right = encoder.collate(TEXTS[:2]), encoder.collate(TEXTS[2:])
    joined = {key: masking.concatenate([left[key], right[key]]) for key in left}
    close(encoder(joined).values, encoder(encoder.collate(TEXTS)).values)


def test_padding_and_missing_texts_are_zero_and_give_no_gradient(encoder: Any) -> None:
    features = encoder(encoder.collate(TEXTS))
    assert features.values[~features.mask].abs().max() == 0
    assert not features.mask[3].any()
    weights = torch.randn_like(features.values) * ~features.mask[..., None]
    grads = torch.autograd.grad(
        (features.values * weights).sum(), list(encoder.parameters()), allow_unused=True
    )
    assert all(grad is None or grad.abs().max() == 0 for grad in grads)


def test_a_batch_of_missing_texts_is_finite(encoder: Any) -> None:
    features = encoder(encoder.collate([None, None]))
    assert features.values.isfinite().all()
    assert not features.mask.any()
    features.values.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())
    encoder.zero_grad()


def test_vectors_have_the_width_that_is_told(encoder: Any) -> None:
    assert encoder(encoder.collate([KOREAN])).values.shape[2] == encoder.dim


def test_every_token_names_its_korean_characters(remover: Any) -> None:
    inputs = remover.collate([KOREAN])
    content = inputs["attention_mask"][0] & ~inputs["special"][0]
    starts, ends = inputs["start"][0][content], inputs["end"][0][content]
    told = [KOREAN[a:b] for a, b in zip(starts, ends, strict=True)]
    assert told == [character for character in KOREAN for _ in character.encode()]


def test_special_tokens_are_real_vectors_without_an_extent(remover: Any) -> None:
    features = remover(remover.collate([KOREAN]))
    assert features.mask.all()
    assert not features.spans.mask[0, 0]
    assert features.spans.unit == "characters"


def test_words_are_what_split_gives(remover: Any) -> None:
    spans = remover.units(remover.collate(TEXTS), "word")
    for index, text in enumerate(TEXTS):
        told = spans.mask[index]
        pairs = zip(spans.start[index][told].long(), spans.end[index][told].long(), strict=True)
        assert [(text or "")[a:b] for a, b in pairs] == (text or "").split()


def test_the_smallest_units_are_the_characters_here(remover: Any) -> None:
    spans = remover.units(remover.collate(TEXTS), remover.kinds[1])
    for index, text in enumerate(TEXTS):
        told = spans.start[index][spans.mask[index]]
        assert told.tolist() == list(range(len(text or "")))


def oracle(
    inputs: dict[str, Tensor], row: int, spans: list[tuple[float, float]], how: str, mask_id: int
) -> list[int]:
    """Ids left of one text, from its tokens one by one and the characters that are removed."""
    gone, spared, specials = [], [], []
    for at in range(int(inputs["attention_mask"][row].sum())):
        a, b = int(inputs["start"][row, at]), int(inputs["end"][row, at])
        hit = any(left < b and right > a for left, right in spans if right > left)
        specials.append(bool(inputs["special"][row, at]))
        gone.append(hit and not specials[-1])
        if not specials[-1] and not hit and int(inputs["word"][row, at]) >= 0:
            spared.append(at)
    if any(gone) and not spared:
        gone = [not special for special in specials]
    ids = inputs["input_ids"][row, : len(gone)].tolist()
    if how == "mask":
        return [mask_id if lost else found for found, lost in zip(ids, gone, strict=True)]
    return [found for found, lost in zip(ids, gone, strict=True) if not lost]


alphabet = st.sampled_from("a참é🙂. \t")
texts = st.text(alphabet, min_size=1, max_size=12).filter(lambda text: text.strip())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_removal_is_the_slow_removal(data: st.DataObject) -> None:
    encoder = made(data.draw(st.sampled_from(["byte-text", "distilbert-sdpa"])))
    raws = data.draw(st.lists(st.none() | texts, min_size=1, max_size=3))
    how = data.draw(st.sampled_from(encoder.removals))
    kind = data.draw(st.sampled_from([*encoder.kinds, "own"]))
    inputs = encoder.collate(raws)
    if kind == "own":
        ends = data.draw(
            st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), min_size=1, max_size=3)
        )
        start = torch.tensor([[float(a) for a, _ in ends]] * len(raws))
        spans = Spans(start, start + torch.tensor([float(b) for _, b in ends]), "characters")
    else:
        spans = encoder.units(inputs, kind)
    flat = data.draw(
        st.lists(st.booleans(), min_size=spans.start.numel(), max_size=spans.start.numel())
    )
    keep = torch.tensor(flat).reshape(spans.start.shape)
    mask_id = 1 if isinstance(encoder, ByteTextEncoder) else 4
    left = encoder.remove(inputs, spans, keep, how, seed=0)
    for row in range(len(raws)):
        pairs = list(zip(spans.start[row].tolist(), spans.end[row].tolist(), strict=True))
        lost = [pair for pair, kept in zip(pairs, flat_row(keep, row), strict=True) if not kept]
        expected = oracle(inputs, row, lost, how, mask_id)
        mask = left["attention_mask"][row]
        assert left["input_ids"][row][mask].tolist() == expected
        assert mask.tolist() == [at < len(expected) for at in range(len(mask))]
        assert (left["input_ids"][row][~mask] == 0).all()


def flat_row(keep: Tensor, row: int) -> list[bool]:
    return [bool(value) for value in keep[row]]


@pytest.mark.parametrize("how", text_units.REMOVALS)
def test_keeping_everything_changes_nothing(remover: Any, how: str) -> None:
    inputs = remover.collate(TEXTS)
    for kind in remover.kinds:
        spans = remover.units(inputs, kind)
        assert same(remover.remove(inputs, spans, spans.mask | True, how, 0), inputs)
        # What is padding among the units may be called removed: it removes nothing.
        assert same(remover.remove(inputs, spans, spans.mask, how, 0), inputs)


@pytest.mark.parametrize("how", text_units.REMOVALS)
def test_removing_does_not_modify_its_input_and_twice_is_once(remover: Any, how: str) -> None:
    inputs = remover.collate(TEXTS)
    before = {key: value.clone() for key, value in inputs.items()}
    spans = remover.units(inputs, "word")
    keep = torch.zeros_like(spans.mask)
    keep[:, 1] = True
    once = remover.remove(inputs, spans, keep, how, 0)
    assert same(inputs, before)
    assert same(remover.remove(once, spans, keep, how, 0), once)


def test_all_words_removed_is_the_whole_text_removed(remover: Any) -> None:
    inputs = remover.collate(TEXTS)
    spans = remover.units(inputs, "word")
    whole = Spans(torch.zeros(4, 1), torch.full((4, 1), 500.0), "characters")
    nothing = torch.zeros(4, 1, dtype=torch.bool)
    for how in remover.removals:
        apart = remover.remove(inputs, spans, torch.zeros_like(spans.mask), how, 0)
        assert same(apart, remover.remove(inputs, whole, nothing, how, 0))
    specials = inputs["special"].sum(1)
    assert torch.equal(apart["attention_mask"].sum(1), specials)
    assert torch.equal(apart["special"], apart["attention_mask"])


def test_what_an_emptied_text_keeps_still_names_its_characters(remover: Any) -> None:
    inputs = remover.collate([KOREAN])
    spans = remover.units(inputs, "word")
    left = remover.remove(inputs, spans, torch.tensor([[False, True]]), "empty", 0)
    words = remover.units(left, "word")
    assert (words.start.tolist(), words.end.tolist()) == ([[2.0]], [[6.0]])


def test_a_word_removed_from_one_text_leaves_its_neighbours_alone(remover: Any) -> None:
    inputs = remover.collate(TEXTS)
    spans = remover.units(inputs, "word")
    keep = torch.ones_like(spans.mask)
    keep[0, 0] = False
    for how in remover.removals:
        left = remover.remove(inputs, spans, keep, how, 0)
        assert all(torch.equal(left[key][1:], inputs[key][1:]) for key in inputs)
        assert not torch.equal(left["input_ids"][0], inputs["input_ids"][0])


def test_an_emptied_text_is_encoded_like_one_that_never_had_the_word(remover: Any) -> None:
    inputs = remover.collate(["well done", None])
    spans = remover.units(inputs, "word")
    left = remover.remove(inputs, spans, torch.tensor([[True, False], [True, True]]), "empty", 0)
    with torch.no_grad():
        close(remover(left).values[:1, :6], remover(remover.collate(["well "])).values[:, :6])


def test_names_that_are_not_offered_are_refused(remover: Any) -> None:
    inputs = remover.collate([KOREAN])
    with pytest.raises(RemovalError, match="unknown unit") as caught:
        remover.units(inputs, "segment")
    assert "word" in caught.value.expected
    spans = remover.units(inputs, "word")
    with pytest.raises(RemovalError, match="unknown removal") as caught:
        remover.remove(inputs, spans, spans.mask, "silence", 0)
    assert "empty" in caught.value.expected


@pytest.mark.parametrize(
    ("keep", "complaint"),
    [
        (torch.ones(1, 2), "wrong type"),
        ([[True, False]], "wrong type"),
        (torch.ones(1, 3, dtype=torch.bool), "wrong shape"),
        (torch.ones(2, dtype=torch.bool), "wrong shape"),
        (torch.ones(2, 2, dtype=torch.bool), "wrong shape"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(remover: Any, keep: Any, complaint: str) -> None:
    inputs = remover.collate([KOREAN])
    spans = remover.units(inputs, "word")
    with pytest.raises(InputError, match=complaint):
        remover.remove(inputs, spans, keep, "mask", 0)


def test_spans_in_seconds_are_refused(remover: Any) -> None:
    inputs = remover.collate([KOREAN])
    spans = Spans(torch.zeros(1, 1), torch.ones(1, 1), "seconds")
    with pytest.raises(InputError, match="wrong unit"):
        remover.remove(inputs, spans, torch.ones(1, 1, dtype=torch.bool), "mask", 0)


@pytest.mark.parametrize("bad", ["", " \n\t", 3, b"bytes", "\ud800"])
def test_a_text_that_cannot_be_used_is_refused_with_its_row(remover: Any, bad: Any) -> None:
    with pytest.raises(InputError) as caught:
        remover.collate(["fine", None, bad])
    assert caught.value.index == 2
    if bad in ("", " \n\t"):
        assert "None" in caught.value.mend


def test_an_empty_batch_is_refused(remover: Any) -> None:
    with pytest.raises(InputError, match="empty batch"):
        remover.collate([])


def test_collate_travels_without_weights(remover: Any) -> None:
    packed = pickle.dumps(remover.collate)
    assert len(packed) < 20_000
    assert same(pickle.loads(packed)(TEXTS), remover.collate(TEXTS))


def test_it_is_removable(remover: Any) -> None:
    assert isinstance(remover, Removable)


def test_words_are_counted_as_split_counts_them() -> None:
    assert text_units.words(" a  b\tcc") == [-1, 0, -1, -1, 1, -1, 2, 2]


def test_the_space_that_a_tokenizer_counts_to_a_word_is_not_its_own() -> None:
    row = text_units.row("a bc", [7, 8], [(0, 1), (1, 4)], [False, False])
    assert row["start"].tolist() == [0, 2]
    assert row["end"].tolist() == [1, 4]
    assert row["word"].tolist() == [0, 1]


def test_words_that_share_a_token_are_one_unit() -> None:
    row = text_units.row("a b c", [7, 8, 9], [(0, 3), (2, 3), (4, 5)], [False] * 3)
    spans = text_units.units(text_units.pad_rows([row], 0), "word", ("word",))
    assert (spans.start.tolist(), spans.end.tolist()) == ([[0.0, 4.0]], [[3.0, 5.0]])
