from __future__ import annotations

import copy
import multiprocessing
import random
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from toys import VectorEncoder, speech_model, speech_samples

from modalxai import masking
from modalxai.encoders import (
    ByteTextEncoder,
    MelCnnEncoder,
    TransformersTextEncoder,
    Wav2Vec2Encoder,
)
from modalxai.errors import CheckpointError, InputError
from modalxai.model import EmotionModel
from modalxai.protocols import Encoder, Removable, Staged
from modalxai.training import CachedEncoder, EmotionLoss, Objective
from modalxai.training.fingerprint import fingerprint
from modalxai.types import Features, Spans

SMALL = {"dim": 8, "mels": 8, "channels": 8, "layers": 2, "strides": (2, 2), "heads": 2}


def tiny_wav2vec2() -> Wav2Vec2Encoder:
    from transformers import Wav2Vec2Config

    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(10, 3),
        conv_stride=(5, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    return Wav2Vec2Encoder(config, trainable="none")


def tiny_roberta() -> TransformersTextEncoder:
    """Its pad id is 1 in the tokenizer too, like KoBERT's: padding is not zero."""
    from transformers import RobertaConfig

    from modalxai.encoders.byte_tokenizer import byte_tokenizer

    tokenizer = byte_tokenizer()
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(1)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        pad_token_id=1,
    )
    return TransformersTextEncoder(config, tokenizer, trainable="none")


ENCODERS = {
    "mel-cnn": lambda: MelCnnEncoder(**SMALL, trainable="none"),
    "byte-text": lambda: ByteTextEncoder(dim=8, layers=1, heads=2).requires_grad_(False),
    "wav2vec2": tiny_wav2vec2,
    "roberta": tiny_roberta,
}
TEXTS = ("byte-text", "roberta")


def raws(name: str, count: int = 5, missing: bool = True) -> list:
    found = [sample["text" if name in TEXTS else "audio"] for sample in speech_samples(count, 0.1)]
    if missing:
        found[1] = None
    return found


class Forwards:
    """Rows that an encoder has been given."""

    def __init__(self, encoder: nn.Module) -> None:
        self.rows = 0
        encoder.register_forward_pre_hook(self._count)

    def _count(self, _module: nn.Module, args: tuple) -> None:
        self.rows += len(next(iter(args[0].values())))


def same(one: Features, other: Features) -> None:
    """Bit for bit, padding of the spans aside."""
    assert torch.equal(one.values, other.values)
    assert torch.equal(one.mask, other.mask)
    assert one.spans.unit == other.spans.unit
    real = one.spans.mask | one.mask
    for edge in ("start", "end"):
        assert torch.equal(getattr(one.spans, edge)[real], getattr(other.spans, edge)[real])


@pytest.mark.parametrize("name", ENCODERS)
def test_the_second_time_nothing_is_encoded_and_every_bit_is_the_same(name, tmp_path):
    encoder = ENCODERS[name]().eval()
    inputs = encoder.collate(raws(name))
    expected = encoder(inputs)
    cached = CachedEncoder(encoder, tmp_path)
    count = Forwards(encoder)
    first, second = cached(inputs), cached(inputs)
    assert count.rows == 5
    same(first, expected)
    same(second, expected)


@pytest.mark.parametrize("name", ENCODERS)
def test_epochs_after_the_first_make_no_forward_however_they_are_shuffled(name, tmp_path):
    encoder = ENCODERS[name]()
    cached = CachedEncoder(encoder, tmp_path).train()
    count = Forwards(encoder)
    data = raws(name)
    for epoch in range(4):
        order = list(range(len(data)))
        random.Random(epoch).shuffle(order)
        # Other batches each time: other neighbours, other padding.
        for start in range(0, len(order), 2):
            cached(cached.collate([data[index] for index in order[start : start + 2]]))
        assert count.rows == len(data)


@pytest.mark.parametrize("name", ENCODERS)
def test_rows_meet_other_neighbours_unchanged(name, tmp_path):
    encoder = ENCODERS[name]()
    cached = CachedEncoder(encoder, tmp_path)
    data = raws(name, missing=False)
    alone = [cached(cached.collate([raw])) for raw in data]
    together = cached(cached.collate(data[::-1]))
    for row, one in enumerate(reversed(alone)):
        length = one.mask.shape[1]
        assert torch.equal(together.values[row, :length], one.values[0])
        assert torch.equal(together.mask[row, :length], one.mask[0])
        assert not together.mask[row, length:].any()
        assert not together.values[row, length:].any()


def test_a_batch_that_holds_one_input_twice_encodes_it_once(tmp_path):
    encoder = ENCODERS["byte-text"]()
    cached, count = CachedEncoder(encoder, tmp_path), Forwards(encoder)
    found = cached(cached.collate(["참 잘했다", "no", "참 잘했다"]))
    assert count.rows == 2
    assert torch.equal(found.values[0], found.values[2])


def test_another_process_reads_what_one_has_written(tmp_path):
    ENCODERS["wav2vec2"]().save_pretrained(tmp_path / "encoder")
    encoder = Wav2Vec2Encoder.from_pretrained(tmp_path / "encoder")
    inputs = encoder.collate(raws("wav2vec2"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        # Both at once, into one folder.
        job = pool.map_async(_encode, [(str(tmp_path), inputs)] * 2)
        values, again = job.get(timeout=120)
    assert torch.equal(values, again)
    count = Forwards(encoder)
    found = CachedEncoder(encoder, tmp_path / "cache")(inputs)
    assert count.rows == 0
    assert torch.equal(found.values, values)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) == 5
    assert all(path.suffix == ".safetensors" for path in files)


def _encode(job):
    torch.set_num_threads(1)
    folder, inputs = Path(job[0]), job[1]
    encoder = Wav2Vec2Encoder.from_pretrained(folder / "encoder")
    return CachedEncoder(encoder, folder / "cache")(inputs).values


def _step(encoder):
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.5)


def _behind_autograd(encoder):
    next(encoder.parameters()).data.mul_(1.5)


def _replaced(encoder):
    encoder.load_state_dict({k: v + 0.1 for k, v in encoder.state_dict().items()})


def _assigned(encoder):
    state = {k: v + 0.1 for k, v in encoder.state_dict().items()}
    encoder.load_state_dict(state, assign=True)
    encoder.requires_grad_(False)


def _buffer(encoder):
    encoder.filters.mul_(1.1)


def _setting(encoder):
    encoder.deltas = not encoder.deltas
    encoder.deltas = "no"  # truthy: the same features, but nobody can know


def _adapter(encoder):
    layer = encoder.blocks[0]
    for name, child in layer.named_children():
        if isinstance(child, nn.Linear):
            setattr(layer, name, nn.Sequential(child, _Adapter(child.out_features)))
            return
        for inner, grandchild in child.named_children():
            if isinstance(grandchild, nn.Linear):
                adapted = nn.Sequential(grandchild, _Adapter(grandchild.out_features))
                setattr(child, inner, adapted)
                return
    raise LookupError("no linear layer")


class _Adapter(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.full((width,), 0.5), requires_grad=False)

    def forward(self, values):
        return values + self.up


def _dtype(encoder):
    encoder.double()


@pytest.mark.parametrize(
    "change", [_step, _behind_autograd, _replaced, _assigned, _buffer, _setting, _adapter]
)
def test_changed_encoders_encode_again_and_give_their_own_features(change, tmp_path):
    encoder = ENCODERS["mel-cnn"]()
    cached = CachedEncoder(encoder, tmp_path)
    inputs = cached.collate(raws("mel-cnn"))
    cached(inputs)
    state = fingerprint(encoder)
    change(encoder)
    count = Forwards(encoder)
    found = cached(inputs)
    assert fingerprint(encoder) != state
    assert count.rows == 5
    assert torch.equal(found.values, encoder.eval()(inputs).values)


def test_weights_that_come_back_find_what_was_written_for_them(tmp_path):
    encoder = ENCODERS["mel-cnn"]()
    cached, count = CachedEncoder(encoder, tmp_path), Forwards(encoder)
    inputs = cached.collate(raws("mel-cnn"))
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    expected = cached(inputs)
    _step(encoder)
    cached(inputs)
    encoder.load_state_dict(before)
    same(cached(inputs), expected)
    assert count.rows == 10


def test_copies_hooks_modes_and_folders_do_not_change_the_fingerprint(tmp_path):
    encoder = ENCODERS["wav2vec2"]()
    state = fingerprint(encoder)
    encoder.register_forward_hook(lambda *_: None)
    assert fingerprint(encoder) == state
    assert fingerprint(copy.deepcopy(encoder).train()) == state
    encoder.save_pretrained(tmp_path)
    assert fingerprint(Wav2Vec2Encoder.from_pretrained(tmp_path)) == state


def test_other_precision_is_another_row(tmp_path):
    encoder = ENCODERS["byte-text"]()
    cached, count = CachedEncoder(encoder, tmp_path), Forwards(encoder)
    inputs = cached.collate(raws("byte-text"))
    plain = cached(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        low = cached(inputs)
        assert torch.equal(low.values, cached(inputs).values)
    assert count.rows == 10
    assert not torch.equal(low.values.float(), plain.values.float())
    encoder.double()
    assert cached(inputs).values.dtype == torch.float64
    assert count.rows == 15


def test_any_change_of_an_input_is_another_row(tmp_path):
    encoder = ENCODERS["wav2vec2"]()
    cached, count = CachedEncoder(encoder, tmp_path), Forwards(encoder)
    inputs = cached.collate(raws("wav2vec2", missing=False)[:1])
    cached(inputs)
    silent_end = inputs["waveform"].clone()
    silent_end[0, -400:] = 0
    blank = inputs["blank"].clone()
    blank[0, 0] = True
    # Trailing zeros are content here, and the length says so.
    for change in ({"waveform": silent_end}, {"blank": blank}):
        before = count.rows
        changed = {**inputs, **change}
        assert torch.equal(cached(changed).values, encoder(changed).values)
        assert count.rows == before + 2  # the cache's and ours
    shorter = {**inputs, "waveform": silent_end, "length": inputs["length"] - 400}
    assert torch.equal(cached(shorter).values[:, :1], encoder(shorter).values[:, :1])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "swap", "text", "other"])
def test_a_damaged_file_is_named_and_encoded_again(damage, tmp_path):
    encoder = ENCODERS["mel-cnn"]()
    cached, count = CachedEncoder(encoder, tmp_path), Forwards(encoder)
    # Each alone, since the last bits of a row may differ with what shares its batch.
    first, inputs = (cached.collate([raw]) for raw in raws("mel-cnn", 2, missing=False))
    cached(first)
    (other,) = tmp_path.rglob("*.safetensors")
    expected = cached(inputs)
    (one,) = set(tmp_path.rglob("*.safetensors")) - {other}
    content = one.read_bytes()
    if damage == "swap":
        one.write_bytes(other.read_bytes())
    elif damage == "other":
        from safetensors.torch import save_file

        save_file({"values": torch.zeros(2, 8)}, one)
    else:
        middle = len(content) - 30
        one.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "empty": b"",
                "text": b"not a tensor at all",
            }[damage]
        )
    with pytest.warns(UserWarning, match=one.name):
        same(cached(inputs), expected)
    assert count.rows == 3
    assert len(one.read_bytes()) == len(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(cached(inputs), expected)


def test_encoders_that_learn_are_refused_before_and_after(tmp_path):
    with pytest.raises(InputError, match="learns"):
        CachedEncoder(MelCnnEncoder(**SMALL), tmp_path)
    encoder = ENCODERS["mel-cnn"]()
    cached = CachedEncoder(encoder, tmp_path)
    inputs = cached.collate(raws("mel-cnn"))
    cached(inputs)
    encoder.norm.requires_grad_(True)
    with pytest.raises(InputError, match=r"norm\.weight"):
        cached(inputs)


def test_an_input_that_wants_a_gradient_is_refused(tmp_path):
    cached = CachedEncoder(ENCODERS["mel-cnn"](), tmp_path)
    inputs = cached.collate(raws("mel-cnn"))
    with pytest.raises(InputError, match=r"cached\.encoder"):
        cached({**inputs, "waveform": inputs["waveform"].requires_grad_()})


def test_nothing_is_drawn_in_training_mode(tmp_path):
    encoder = ByteTextEncoder(dim=8, layers=1, heads=2, dropout=0.5).requires_grad_(False)
    expected = encoder.eval()(encoder.collate(raws("byte-text"))).values
    cached = CachedEncoder(encoder, tmp_path).train()
    encoder.train()
    assert torch.equal(cached(cached.collate(raws("byte-text"))).values, expected)


def test_without_write_the_folder_is_only_read(tmp_path):
    encoder = ENCODERS["byte-text"]()
    cached, count = CachedEncoder(encoder, tmp_path, write=False), Forwards(encoder)
    for _ in range(2):
        cached(cached.collate(raws("byte-text")))
    assert count.rows == 10
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ENCODERS)
def test_it_offers_what_the_wrapped_encoder_offers_and_no_more(name, tmp_path):
    encoder = ENCODERS[name]()
    cached = CachedEncoder(encoder, tmp_path)
    assert isinstance(cached, Removable) == isinstance(encoder, Removable)
    assert isinstance(cached, Staged) == isinstance(encoder, Staged)
    assert (cached.dim, cached.removals, cached.kinds) == (
        encoder.dim,
        encoder.removals,
        encoder.kinds,
    )
    assert cached.collate is encoder.collate or cached.collate == encoder.collate
    copied = copy.deepcopy(cached)
    assert copied.units.__self__ is copied.encoder


def test_a_plain_encoder_stays_one(tmp_path):
    class Plain(nn.Module):
        dim = 3

        def __init__(self) -> None:
            super().__init__()
            self.inner = VectorEncoder(4, 3).requires_grad_(False)
            self.collate = self.inner.collate

        def forward(self, inputs):
            return self.inner(inputs)

    cached: Encoder = CachedEncoder(Plain(), tmp_path)
    assert not isinstance(cached, Removable)
    assert not isinstance(cached, Staged)
    found = cached(cached.collate([torch.randn(3, 4), None]))
    assert found.mask.sum(1).tolist() == [3, 0]


def test_names_tiles_holes_and_low_precision_survive_the_disk(tmp_path):
    class Rich(nn.Module):
        dim = 2

        def __init__(self) -> None:
            super().__init__()
            self.collate = VectorEncoder(2, 2).collate

        def forward(self, inputs):
            mask = inputs["mask"].clone()
            mask[:, 0] = False  # a hole at the front
            values = masking.blank(inputs["values"].bfloat16(), mask)
            start = torch.arange(mask.shape[1]).expand(mask.shape).float() * mask
            spans = Spans(start, start + mask, "index", start * 10, start * 20, self.names)
            return Features(values, mask, spans)

    encoder = Rich()
    encoder.names = (("참", "a"), ("b",))
    cached = CachedEncoder(encoder, tmp_path)
    inputs = encoder.collate([torch.randn(3, 2), torch.randn(2, 2)])
    expected = encoder(inputs)
    for _ in range(2):
        found = cached(inputs)
        same(found, expected)
        assert found.values.dtype == torch.bfloat16
        assert found.spans.names == encoder.names
        assert torch.equal(found.spans.low, expected.spans.low)
        assert torch.equal(found.spans.high, expected.spans.high)


def model(folder: Path) -> EmotionModel:
    plain = speech_model()
    encoders = {
        name: CachedEncoder(encoder.requires_grad_(False), folder)
        for name, encoder in plain.encoders.items()
    }
    return EmotionModel(encoders, plain.fusion, 0.1)


def test_a_model_over_cached_encoders_trains_and_predicts_as_without(tmp_path):
    fast = model(tmp_path)
    plain = EmotionModel(
        {name: copy.deepcopy(one.encoder) for name, one in fast.encoders.items()},
        copy.deepcopy(fast.fusion),
        0.1,
    )
    samples = [s | {"labels": {"joy": 1, "tired": 0, "valence": 0.5}} for s in speech_samples(4)]
    counts = [Forwards(one.encoder) for one in fast.encoders.values()]
    results = []
    for made in (fast, plain):
        torch.manual_seed(1)
        step = Objective(made, EmotionLoss(made.labels)).train()
        optimizer = torch.optim.SGD(made.fusion.parameters(), lr=0.001)
        for batch in [*DataLoader(samples, 2, collate_fn=made.collate)] * 3:
            optimizer.zero_grad()
            step(**batch)["loss"].backward()
            optimizer.step()
        results.append(made.predict(samples).scores)
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
    assert [count.rows for count in counts] == [4, 4]


def test_a_model_over_cached_encoders_is_explained_as_without(tmp_path):
    from modalxai import explain

    fast = model(tmp_path)
    plain = EmotionModel({n: one.encoder for n, one in fast.encoders.items()}, fast.fusion, 0.1)
    for removal in ({"audio": "silence", "text": "mask"}, "absent"):
        torch.testing.assert_close(
            explain(fast, speech_samples(3), removal=removal).scores,
            explain(plain, speech_samples(3), removal=removal).scores,
            rtol=1e-5,
            atol=1e-5,
        )


def test_it_saves_the_wrapped_encoder_and_says_how_to_load_it(tmp_path):
    encoder = ENCODERS["mel-cnn"]()
    CachedEncoder(encoder, tmp_path / "cache").save_pretrained(tmp_path / "saved")
    again = MelCnnEncoder.from_pretrained(tmp_path / "saved")
    assert fingerprint(again) == fingerprint(encoder)
    with pytest.raises(CheckpointError, match="holds no cache"):
        CachedEncoder.from_pretrained(tmp_path / "saved")


def test_it_lives_in_a_compiled_model(tmp_path):
    fast = model(tmp_path).eval()
    batch = fast.collate(speech_samples(2))
    compiled = torch.compile(fast, backend="eager")
    torch.testing.assert_close(compiled(batch).scores, fast(batch).scores)


def test_a_model_over_cached_encoders_saves_as_the_model_it_wraps(tmp_path):
    fast = model(tmp_path / "cache")
    fast.save_pretrained(tmp_path / "saved")
    again = EmotionModel.from_pretrained(tmp_path / "saved")
    assert not isinstance(again.encoders["audio"], CachedEncoder)
    samples = speech_samples(3)
    torch.testing.assert_close(again.predict(samples).scores, fast.predict(samples).scores)
