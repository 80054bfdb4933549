"""Forced alignment: against every path there is, against torchaudio, and on letters that beep."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.toys import speech_model
from torch import Tensor, nn

import modalxai as mx
from modalxai.alignment import WHOLE, WordAligner
from modalxai.audio import torchaudio
from modalxai.ctc import best_path
from modalxai.errors import CheckpointError, InputError
from modalxai.types import Audio

RATE = 16_000
STRIDE = 320


def collapse(labels: tuple[int, ...], blank: int) -> list[int]:
    """What CTC reads from one label per frame."""
    found: list[int] = []
    before = blank
    for label in labels:
        if label not in (before, blank):
            found.append(label)
        before = label
    return found


def slow_best(chances: Tensor, targets: list[int], blank: int) -> float:
    """The likeliest of all labellings that read as the targets."""
    frames, columns = chances.shape
    best = -math.inf
    for labels in product(range(columns), repeat=frames):
        if collapse(labels, blank) == targets:
            best = max(best, sum(float(chances[t, label]) for t, label in enumerate(labels)))
    return best


def score(chances: Tensor, targets: list[int], blank: int, path: list[int | None]) -> float:
    labels = [blank if place is None else targets[place] for place in path]
    assert collapse(tuple(labels), blank) == targets
    return sum(float(chances[t, label]) for t, label in enumerate(labels))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.lists(st.integers(1, 2), min_size=0, max_size=4), st.integers(0, 999))
def test_the_path_is_the_best_of_all(frames: int, targets: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    chances = torch.randn(frames, 3, generator=draw).double().mul(2).log_softmax(1)
    best = slow_best(chances, targets, 0)
    path = best_path(chances, targets, 0)
    if path is None:
        assert best == -math.inf
        return
    assert len(path) == frames
    assert score(chances, targets, 0, path) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_torchaudio_finds_paths_as_good(seed: int) -> None:
    functional = torchaudio().functional
    if not hasattr(functional, "forced_align"):
        pytest.skip("this torchaudio aligns no more")
    draw = torch.Generator().manual_seed(seed)
    chances = torch.randn(60, 9, generator=draw).mul(3).log_softmax(1)
    targets = torch.randint(1, 9, (20,), generator=draw)
    labels, scores = functional.forced_align(chances[None], targets[None].int(), blank=0)
    path = best_path(chances, targets.tolist(), 0)
    assert path is not None
    mine = score(chances.double(), targets.tolist(), 0, path)
    assert mine == pytest.approx(float(scores.double().sum()), rel=1e-6)
    assert [0 if p is None else int(targets[p]) for p in path] == labels[0].tolist()


class Beeps(nn.Module):
    """A recogniser that hears letters as tones: column k is 1000 + 200 k hertz, 0 is the blank."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(conv_kernel=(STRIDE,), conv_stride=(STRIDE,))
        phase = 2 * math.pi * torch.arange(STRIDE) / RATE
        hertz = [1000 + 200 * k for k in range(1, columns)]
        waves = [torch.stack([(phase * h).cos(), (phase * h).sin()]) for h in hertz]
        self.waves = nn.Parameter(torch.cat(waves)[:, None] * 2 / STRIDE)

    def forward(self, waveform: Tensor) -> Any:
        heard = torch.conv1d(waveform[:, None], self.waves, stride=STRIDE)
        power = torch.unflatten(heard, 1, (-1, 2)).square().sum(2).transpose(1, 2)
        blank = torch.full_like(power[..., :1], 0.02)
        return SimpleNamespace(logits=200 * torch.cat([blank, power], 2))


def beep(frames: list[int]) -> Audio:
    """A recording whose frame t sounds like column ``frames[t]``."""
    phase = 2 * math.pi * torch.arange(STRIDE) / RATE
    parts = [0.5 * (phase * (1000 + 200 * k)).sin() * (k > 0) for k in frames]
    return Audio(torch.cat(parts), RATE)


def aligner(letters: str, delimiter: bool = False) -> WordAligner:
    columns = {letter: 1 + place for place, letter in enumerate(letters)}
    last = len(letters) + 1 if delimiter else None
    return WordAligner(Beeps(len(letters) + 1 + delimiter), columns, 0, last, normalize=False)


def test_word_times_are_exact() -> None:
    # 0 0 a a b 0 0 0 b 0 b c 0: "ab" in frames 2..4, "bbc" in 8..11.
    raw = beep([0, 0, 1, 1, 2, 0, 0, 0, 2, 0, 2, 3, 0])
    first, second = aligner("abc").words(raw, "AB, bbc.")
    assert (first.text, second.text) == ("AB,", "bbc.")
    times = (first.start, first.end, second.start, second.end)
    assert times == pytest.approx((0.04, 0.10, 0.16, 0.24))
    assert first.score > 0.99
    assert second.score > 0.99


def test_a_delimiter_belongs_to_nobody() -> None:
    raw = beep([1, 3, 2, 0])
    one, two = aligner("ab", delimiter=True).words(raw, "a b")
    assert (one.start, one.end, two.start, two.end) == pytest.approx((0, 0.02, 0.04, 0.06))


CONJOINING = "".join(map(chr, (0x110E, 0x1161, 0x11B7, 0x1109, 0x1162)))


@pytest.mark.parametrize("letters", ["참새", "ㅊㅏㅁㅅㅐ", CONJOINING])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_korean_is_spelled_as_the_alphabet_does(letters: str, form: str) -> None:
    import unicodedata

    found = aligner(letters)
    raw = beep([0, *range(1, len(letters) + 1), 0, 0])
    (word,) = found.words(raw, unicodedata.normalize(form, "참새!"))
    assert (word.start, word.end) == pytest.approx((0.02, 0.02 * (len(letters) + 1)))


def test_what_cannot_be_spelled_is_named_and_bends_nothing() -> None:
    # The stranger sounds like c, which the transcript does not hold.
    raw = beep([0, 1, 0, 3, 3, 3, 0, 2, 0])
    one, stranger, dots, two = aligner("abc").words(raw, "a 7 ... b")
    assert (one.start, one.end, two.start, two.end) == pytest.approx((0.02, 0.04, 0.14, 0.16))
    assert stranger.start is stranger.end is None
    assert stranger.reason == "the model has no letter '7'"
    assert dots.reason == "nothing in it is spoken"
    assert dots.score == stranger.score == 0


def test_a_stranger_takes_the_frames_that_are_no_neighbours() -> None:
    class Heard(WordAligner):
        def emissions(self, raw: Any) -> tuple[Tensor, float]:
            # Columns: blank, a, b, c. An unsure a; then a stranger, a little like a; then b.
            unsure, stranger = [0.05, 0.4, 0.05, 0.5], [0.05, 0.14, 0.01, 0.8]
            rows = [unsure] * 2 + [stranger] * 3 + [[0.01, 0.01, 0.97, 0.01]]
            return torch.tensor(rows, dtype=torch.float64).log(), 0.12

    found = Heard(Beeps(4), {"a": 1, "b": 2, "c": 3}, 0, normalize=False)
    one, _, two = found.words(None, "a 7 b")  # type: ignore[arg-type]  # it is not read
    assert (one.start, one.end, two.start, two.end) == pytest.approx((0, 0.04, 0.1, 0.12))


def test_samples_become_players() -> None:
    samples = [
        {"id": "u0", "audio": beep([0, 1, 0, 2, 0]), "text": "a 9 b"},
        {"id": "u1", "audio": None, "text": "a"},
        {"id": "u2", "audio": beep([0, 1, 0]), "text": "7"},
        {"id": "u3", "audio": beep([1, 0]), "text": "abcabcabc"},
        {"id": "u4", "audio": beep([1, 0])},
    ]
    found = aligner("abc").align(samples)
    assert found.spans.names == (("a", "b"), (), (WHOLE,), (WHOLE,), (WHOLE,))
    torch.testing.assert_close(
        found.spans.start, torch.tensor([[0.02, 0.06], [0, 0], [0, 0], [0, 0], [0, 0]])
    )
    torch.testing.assert_close(
        found.spans.end, torch.tensor([[0.04, 0.08], [0, 0], [0.06, 0], [0.04, 0], [0.04, 0]])
    )
    assert found.unplaced["u0"] == (("9", "the model has no letter '9'"),)
    assert found.unplaced["u3"] == (("abcabcabc", "9 letters do not fit into 2 frames"),)
    assert set(found.missing) == {"u1", "u2", "u3", "u4"}
    assert (found.missing["u1"], found.missing["u4"]) == ("no audio", "no text")
    assert found.missing["u2"].startswith("no word was placed")
    assert found.scores[:, 0].gt(0).tolist() == [True, False, False, False, False]


def test_aligned_words_are_players_of_a_game() -> None:
    samples = [
        {"id": "u0", "audio": beep([0, *[1] * 5, 0, 0, *[2] * 9, 0]), "text": "a b"},
        {"id": "u1", "audio": beep([0] * 8), "text": "7"},
    ]
    found = aligner("ab").align(samples)
    game = speech_model().game(samples, removal={"audio": "silence", "text": "mask"})
    owen = mx.attribution.Owen({"audio": found.spans, "text": "word"}).attribute(game)
    assert owen.spans["audio"].names[0] == ("a", "b")
    assert owen.mask["audio"].tolist() == [[True, True], [True, False]]
    assert owen.residual().abs().max() < 1e-4
    assert owen.unit_gap().abs().max() < 1e-4
    assert owen.units["audio"][0].ne(0).any()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny recogniser with random weights."""
    import json

    from tests.support.tiny import WAVEFORM
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
    )

    folder = tmp_path_factory.mktemp("ctc")
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFG"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    torch.manual_seed(3)
    config = Wav2Vec2Config(**WAVEFORM, vocab_size=len(tokens), pad_token_id=0)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return str(folder)


def test_a_checkpoint_of_transformers(checkpoint: str) -> None:
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    state = torch.get_rng_state()
    found = WordAligner.from_pretrained(checkpoint)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.letters == {letter: 5 + place for place, letter in enumerate("ABCDEFG")}
    assert (found.blank, found.delimiter, found.normalize) == (0, 4, True)
    clip = torch.randn(RATE, generator=torch.Generator().manual_seed(1)) * 0.1
    chances, seconds = found.emissions(Audio(clip, RATE))
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(checkpoint)
    values = extractor(clip.numpy(), sampling_rate=RATE, return_tensors="pt").input_values
    with torch.no_grad():
        logits = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()(values).logits[0]
    torch.testing.assert_close(chances.float(), logits.log_softmax(-1), rtol=1e-4, atol=1e-4)
    assert seconds == 1.0
    words = found.words(Audio(clip, RATE), "bad cafe")
    assert [word.text for word in words] == ["bad", "cafe"]
    assert words[0].start < words[0].end < words[1].start < words[1].end <= 1  # type: ignore[operator]


def test_the_recogniser_is_left_as_it_was(checkpoint: str) -> None:
    found = WordAligner.from_pretrained(checkpoint)
    found.model.train()
    part = next(found.model.children())
    part.eval()
    modes = [module.training for module in found.model.modules()]
    raw = Audio(torch.randn(RATE // 2), RATE)
    first, second = found.words(raw, "a"), found.words(raw, "a")
    assert first == second  # dropout is off
    assert [module.training for module in found.model.modules()] == modes
    assert all(weight.grad is None for weight in found.model.parameters())


def test_bad_input_is_refused(checkpoint: str, tmp_path: Path) -> None:
    found = aligner("ab")
    with pytest.raises(InputError, match="no transcript"):
        found.words(beep([0, 1]), "  ")
    with pytest.raises(InputError, match="sample 'u7': a recording without a sample rate"):
        found.align([{"id": "u7", "audio": torch.zeros(RATE), "text": "a"}])
    with pytest.raises(InputError, match="sample 'u7': no transcript"):
        found.align([{"id": "u7", "audio": beep([0, 1]), "text": ""}])
    with pytest.raises(InputError, match="nothing to align"):
        found.align([])
    with pytest.raises(InputError, match="an alphabet"):
        WordAligner(Beeps(2), {"a": 0}, 0)
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        WordAligner.from_pretrained(tmp_path)
    from transformers import Wav2Vec2Model

    Wav2Vec2Model.from_pretrained(checkpoint).save_pretrained(tmp_path)
    for file in ("preprocessor_config.json", "vocab.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((Path(checkpoint) / file).read_bytes())
    with pytest.raises(CheckpointError, match="no speech recogniser"):
        WordAligner.from_pretrained(tmp_path)
