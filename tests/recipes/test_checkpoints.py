"""Where pre-trained encoders come from, and what the tiny ones have learnt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai import audio, plugins
from modalxai.datasets import tonebench
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.encoders import ByteTextEncoder, Lora, Wav2Vec2Encoder, fasttext_files
from modalxai.errors import CheckpointError, InputError
from modalxai.recipes import checkpoints as module
from modalxai.recipes import tiny
from modalxai.recipes.checkpoints import OWN, PLUGINS, PUBLISHED, SMALLER, Checkpoints
from modalxai.recipes.tiny import babble, makers, speech, text, vectors, vocabulary
from modalxai.types import Audio, Spans

SPEECH = ("wav2vec2", "wav2vec2-korean", "wav2vec2-layer-norm", "speecht5-speech")
TEXT = ("distilbert", "klue", "kobert", "hanbert", "speecht5-text")
NAMES = (*SPEECH, *TEXT, "fasttext")
CLIPS = [
    Audio(0.1 * torch.randn(9000, generator=torch.Generator().manual_seed(s)), 16_000)
    for s in (0, 1)
]


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Hardly any training."""
    patch.setattr(speech, "STEPS", 3)
    patch.setattr(speech, "CLIPS", 9)
    patch.setattr(text, "STEPS", 3)
    patch.setattr(text, "SPELT_STEPS", 3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of tiny checkpoints, hardly trained, each made when it is first asked for."""
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        yield tmp_path_factory.mktemp("kept")


def raws(name: str) -> list[Any]:
    if name in SPEECH:
        return CLIPS
    return ["really wonderful.", "Now, lost!"] if name == "speecht5-text" else ["참 잘했다.", "또?"]


def encoded(encoder: Any, name: str) -> Tensor:
    with torch.no_grad():
        values: Tensor = encoder.eval()(encoder.collate(raws(name))).values
    return values


# Tiny ones.


def test_every_name_has_a_published_checkpoint_and_a_tiny_one() -> None:
    assert set(PUBLISHED) == set(tiny.MAKERS) == set(NAMES)
    assert set(SMALLER) | set(OWN) <= set(PUBLISHED)
    known = plugins.available("encoders")
    assert all(PLUGINS.get(name, name) in known for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_one_is_loaded_by_its_plugin_as_any_checkpoint_is(name: str, kept: Path) -> None:
    source = Checkpoints(folder=kept)
    before = torch.get_rng_state()
    encoder: Any = source.encoder(name, trainable="none")
    if name != "fasttext":  # where the layer after the vectors is a new one
        assert torch.equal(torch.get_rng_state(), before)
    assert plugins.origin(encoder).name == PLUGINS.get(name, name)
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert source.describe() == {name: tiny.MAKERS[name].note}
    values = encoded(encoder, name)
    assert values.isfinite().all()
    assert values.abs().max() > 0
    # The same, asked of the class itself.
    folder = module._inside(tiny.make(name, kept / "tiny", "ko"))
    torch.set_rng_state(before)
    again = type(encoder).from_pretrained(folder)
    torch.testing.assert_close(encoded(again, name), values, rtol=0, atol=0)


@pytest.mark.parametrize("name", [*SPEECH, *TEXT])
def test_a_tiny_one_has_the_files_of_a_published_one(name: str, kept: Path) -> None:
    folder = tiny.make(name, kept / "tiny", "ko")
    files = {one.name for one in folder.iterdir()}
    assert {"config.json", "model.safetensors"} < files
    assert "modalxai.json" not in files
    assert any(one.startswith(("preprocessor_config", "tokenizer", "spiece")) for one in files)
    assert sum(one.stat().st_size for one in folder.iterdir()) < 4e6


def test_front_ends_are_like_the_published_ones(kept: Path) -> None:
    base, large = (Checkpoints(folder=kept).encoder(name) for name in ("wav2vec2", SPEECH[2]))
    assert [one.model.config.feat_extract_norm for one in (base, large)] == ["group", "layer"]
    for one in (base, large):
        assert one.frames.stride == 320
        assert "learned-mask" in one.removals
        assert one._masks is None  # until it is asked for
    masked: Any = Checkpoints(folder=kept).encoder("wav2vec2", spec_augment=True)
    assert masked._masks is not None
    # SpeechT5's two encoders are one transformer, so that one can start from the other.
    voice, words = (Checkpoints(folder=kept).encoder(name) for name in (SPEECH[3], TEXT[4]))
    words.model.wrapped_encoder.load_state_dict(voice.model.wrapped_encoder.state_dict())


@pytest.mark.parametrize("name", ["wav2vec2", "distilbert", "fasttext"])
def test_the_same_is_made_anywhere_and_whatever_the_caller_was_doing(
    name: str, tmp_path: Path, kept: Path, quick: None
) -> None:
    first = tiny.make(name, kept / "tiny", "ko")
    torch.manual_seed(7)
    with torch.inference_mode():
        second = tiny.make(name, tmp_path, "ko")
    for one in ("model.safetensors", "vectors.bin"):
        if (first / one).exists():
            assert (first / one).read_bytes() == (second / one).read_bytes()


def test_two_names_of_one_plugin_are_two_checkpoints(kept: Path) -> None:
    both = [
        load_file(tiny.make(name, kept / "tiny", "ko") / "model.safetensors") for name in SPEECH[:2]
    ]
    assert both[0].keys() == both[1].keys()
    assert not torch.equal(*(one["feature_projection.projection.weight"] for one in both))


def test_training_reaches_every_weight_and_the_mask(kept: Path) -> None:
    from transformers import Wav2Vec2Config

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = Wav2Vec2Encoder(Wav2Vec2Config(**speech.WAV2VEC2)).model.state_dict()
    end = load_file(tiny.make("wav2vec2", kept / "tiny", "ko") / "model.safetensors")
    unmoved = [name for name in end if torch.equal(start[name], end[name])]
    assert not unmoved


def test_it_is_made_once_for_each_language_that_matters(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("distilbert", "wav2vec2"):
        Checkpoints(folder=kept).encoder(name)
    made: list[str] = []
    for name in ("distilbert", "wav2vec2"):

        def write(folder: Path, language: str, name: str = name) -> None:
            made.append(f"{name} {language}")
            raise RuntimeError("stopped")

        monkeypatch.setitem(makers.MAKERS, name, makers.Maker(write, "", lexical=name in TEXT))
    Checkpoints(folder=kept).encoder("distilbert")
    Checkpoints(folder=kept, language="en").encoder("wav2vec2")
    assert made == []
    with pytest.raises(RuntimeError, match="stopped"):
        Checkpoints(folder=kept, language="en").encoder("distilbert")
    assert made == ["distilbert en"]


def test_who_is_stopped_leaves_nothing_and_who_is_late_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(folder: Path, language: str) -> None:
        (folder / "config.json").write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setitem(makers.MAKERS, "klue", makers.Maker(stopped, ""))
    with pytest.raises(KeyboardInterrupt):
        tiny.make("klue", tmp_path, "ko")
    assert list(tmp_path.iterdir()) == []

    def late(folder: Path, language: str) -> None:
        other = tmp_path / folder.name
        other.mkdir()
        (other / "config.json").write_text("the first")
        (folder / "config.json").write_text("the second")

    monkeypatch.setitem(makers.MAKERS, "klue", makers.Maker(late, ""))
    made = tiny.make("klue", tmp_path, "ko")
    assert (made / "config.json").read_text() == "the first"
    assert list(tmp_path.iterdir()) == [made]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written to"):
        Checkpoints(folder=tmp_path / "file").encoder("fasttext")


# What they are made of.


def test_frames_are_told_what_they_sound_like(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = babble.clips(3, np.random.default_rng(0))
    frames = audio.Frames(400, 320, 0, 16_000)
    values, defined = babble.targets(spoken, frames)
    count = (19_200 - 400) // 320 + 1
    assert values.shape == (3, count, babble.MELS + 5)
    # A slow second opinion of all but the log-mels, before they are standardised.
    slow = np.full((3, count, 5), np.nan)
    for row, one in enumerate(spoken):
        at = [320 * frame + 200 for frame in range(count)]
        inside = [any(a <= c / 16_000 < b for a, b in one.words) for c in at]
        pitch = np.log2(one.pitch[at])
        mean = pitch[inside].mean()
        for frame in range(count):
            slow[row, frame, 0] = inside[frame]
            if inside[frame]:
                change = [
                    pitch[min(frame + s, count - 1)] - pitch[max(frame - s, 0)]
                    for s in babble.STEPS
                ]
                slow[row, frame, 1:] = [pitch[frame], pitch[frame] - mean, *change]
    told = np.where(defined[..., babble.MELS :], values[..., babble.MELS :], np.nan)
    assert np.array_equal(np.isnan(told), np.isnan(slow))
    for place in range(5):
        wanted = slow[..., place]
        wanted = (wanted - np.nanmean(wanted)) / np.nanstd(wanted)
        np.testing.assert_allclose(told[..., place], wanted, atol=2e-4)
    assert 0 < defined[..., -1].float().mean() < 1


def test_the_log_mel_of_a_frame_is_that_of_its_own_moment() -> None:
    spoken = babble.clips(2, np.random.default_rng(3))
    told = babble.targets(spoken, audio.Frames(400, 320, 0, 16_000))[0][..., : babble.MELS]
    filters = audio.mel_filters(800, babble.MELS, 60, 7000, 16_000)
    slow = torch.zeros(2, 59, babble.MELS)
    for row, one in enumerate(spoken):
        wave = torch.from_numpy(one.waveform)
        wave = torch.cat([torch.zeros(400), (wave - wave.mean()) / wave.std(unbiased=False)])
        for frame in range(59):
            centre = 400 + 320 * frame + 200
            piece = wave[centre - 400 : centre + 400]
            piece = torch.cat([piece, torch.zeros(800 - len(piece))])[None]
            slow[row, frame] = audio.log_mel(piece, torch.hann_window(800), 320, filters)[0, 0]
    slow = slow.clamp(min=babble.FLOOR)
    slow = (slow - slow.mean((0, 1))) / slow.std((0, 1), unbiased=False)
    torch.testing.assert_close(told, slow, atol=1e-3, rtol=0)


def test_babble_is_spoken_by_voices_and_tones_of_its_own() -> None:
    assert babble.SPEAKERS[0] >= 900
    one, same, other = (babble.clips(2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one[1].waveform, same[1].waveform)
    assert not np.array_equal(one[1].waveform, other[1].waveform)
    assert not np.array_equal(one[0].pitch, one[1].pitch)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_sentences_hold_two_words_of_one_content(language: str) -> None:
    words = lexicon(language)
    of = {word: name for name, some in words.contents.items() for word in some}
    seen = text.sentences(200, language, np.random.default_rng(0))
    for sentence in seen:
        carriers = [word for word in sentence if word in of]
        assert len(set(carriers)) == 2
        assert len({of[word] for word in carriers}) == 1
        assert 1 <= len(set(sentence) - set(carriers)) <= 2
    assert {word for sentence in seen for word in sentence} == set(words.words)


def test_tokens_are_given_to_the_words_they_lie_in() -> None:
    # "so <gone.>": [CLS], so, go, ne, ., padding
    start = torch.tensor([[0.0, 0, 3, 5, 7, 0], [0, 0, 0, 0, 0, 0]])
    end = torch.tensor([[0.0, 2, 5, 7, 8, 0], [0, 4, 0, 0, 0, 0]])
    words = Spans(torch.tensor([[0.0, 3], [0, 0]]), torch.tensor([[2.0, 8], [4, 0]]), "characters")
    row, token, word = text._within(Spans(start, end, "characters"), words)
    assert list(zip(row.tolist(), token.tolist(), word.tolist(), strict=True)) == [
        (0, 1, 0), (0, 2, 1), (0, 3, 1), (0, 4, 1), (1, 1, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("name", ["distilbert", "klue", "kobert", "hanbert"])
def test_any_text_can_be_written_and_the_lexicon_in_one_piece_a_word(
    name: str, language: str, kept: Path
) -> None:
    collate = Checkpoints(folder=kept, language=language).encoder(name).collate
    unknown = collate.tokenizer.unk_token_id
    strange = "똠방각하 펩시콜라, “그래?” Well-known: 24% (no)!"
    if name != "distilbert":  # which takes syllables apart, and has those of all Unicode
        strange = strange.replace("똠", "참")
    assert unknown not in collate([strange])["input_ids"]
    for word in lexicon(language).words:
        pieces = int(collate([word])["attention_mask"].sum()) - 2
        assert pieces == 1


def test_the_syllables_are_those_of_the_standard() -> None:
    some = vocabulary.syllables()
    assert len(some) == len(set(some)) == 2350
    assert some[0] == "가"
    assert some[-1] == "힝"
    assert "똠" not in some


def test_word_vectors_are_near_where_the_content_is_and_bear_a_slip(kept: Path) -> None:
    encoder: Any = Checkpoints(folder=kept).encoder("fasttext", dim=8)
    assert encoder.dim == 8
    made = fasttext_files.read(tiny.make("fasttext", kept / "tiny", "ko") / "vectors.bin")
    words = lexicon("ko")
    assert made.words == words.words
    assert (made.shortest, made.longest) == (vectors.SHORTEST, vectors.LONGEST)
    table = encoder.words.table.detach()

    def vector(word: str) -> Tensor:
        return table[list(encoder.collate.rows(word))].mean(0)

    def near(one: str, other: str) -> float:
        return float(torch.cosine_similarity(vector(one), vector(other), dim=0))

    same = [near(a, b) for some in words.contents.values() for a in some for b in some if a < b]
    firsts = [some[0] for some in words.contents.values()]
    unlike = [near(a, b) for a in firsts for b in firsts if a < b]
    assert np.mean(same) > 0.5 > 0.3 > np.mean(unlike)
    assert near("훌륭하다", "훌륭하네") > 0.5 > near("훌륭하네", "도착했다")


# Small ones.


def test_the_small_one_is_the_lower_half(kept: Path) -> None:
    whole: Any = Checkpoints(folder=kept).encoder("distilbert")
    source = Checkpoints(folder=kept, size="small")
    small: Any = source.encoder("distilbert")
    inputs = whole.collate(raws("distilbert"))
    with torch.no_grad():
        states = (
            whole.eval()
            .model(
                inputs["input_ids"],
                attention_mask=inputs["attention_mask"].long(),
                output_hidden_states=True,
            )
            .hidden_states
        )
    seen = inputs["attention_mask"]
    torch.testing.assert_close(encoded(small, "distilbert")[seen], states[1][seen])
    assert "half" in source.describe()["distilbert"]


@pytest.mark.parametrize("name", [*SPEECH, *TEXT, "fasttext"])
def test_every_name_has_a_small_one(name: str, kept: Path) -> None:
    source = Checkpoints(folder=kept, size="small")
    small, whole = source.encoder(name), Checkpoints(folder=kept).encoder(name)
    sizes = [sum(weight.numel() for weight in one.parameters()) for one in (small, whole)]
    assert encoded(small, name).isfinite().all()
    if name == "fasttext":
        assert sizes[0] == sizes[1]
        assert "half" not in source.describe()[name]
    else:
        assert sizes[0] < sizes[1]
        assert len(small._transformer.layers if name in SPEECH else small._found_layers()) == 1


def test_settings_of_a_small_one_are_about_the_layers_that_are_left(kept: Path) -> None:
    source = Checkpoints(folder=kept, size="small")
    top: Any = source.encoder("wav2vec2", trainable=1)
    learning = [name for name, weight in top.named_parameters() if weight.requires_grad]
    assert learning
    assert all(".layers.0." in name for name in learning)
    mixed: Any = source.encoder("distilbert", layers="weighted", trainable=Lora(rank=2))
    assert mixed.lora is not None
    assert len(mixed.mix.weights) == 2


# Published ones, and the user's own.


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def create(group: str, plugin: str, /, checkpoint: Any, **settings: Any) -> Any:
        calls.append((group, plugin, str(checkpoint), settings))
        return ByteTextEncoder(dim=8, layers=1, heads=2)

    monkeypatch.setattr(module.plugins, "create", create)
    return calls


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - set(OWN)))
def test_published_ones_are_loaded_by_name(name: str, asked: list[Any], tmp_path: Path) -> None:
    source = Checkpoints("published", folder=tmp_path)
    source.encoder(name, trainable="none")
    assert asked == [("encoders", PLUGINS.get(name, name), PUBLISHED[name], {"trainable": "none"})]
    assert source.describe() == {name: PUBLISHED[name]}
    assert list(tmp_path.iterdir()) == []


def test_the_published_small_one_goes_before_half_of_a_large_one(
    asked: list[Any], tmp_path: Path
) -> None:
    source = Checkpoints("published", "small", tmp_path)
    source.encoder("kobert", max_length=64)
    assert asked == [("encoders", "kobert", SMALLER["kobert"], {"max_length": 64})]
    assert source.describe() == {"kobert": SMALLER["kobert"]}


@pytest.mark.parametrize("name", OWN)
def test_what_no_hub_has_is_asked_of_the_user(name: str, tmp_path: Path) -> None:
    for source in (Checkpoints("published", folder=tmp_path), Checkpoints(str(tmp_path))):
        with pytest.raises(CheckpointError) as caught:
            source.encoder(name)
        assert str(tmp_path / name) in caught.value.expected
        assert caught.value.mend == OWN[name]
        assert source.describe() == {}


def test_a_published_one_that_the_user_has_goes_first(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "klue").symlink_to(tiny.make("klue", kept / "tiny", "ko"))
    source = Checkpoints("published", folder=tmp_path)
    source.encoder("klue")
    assert source.describe() == {"klue": str(tmp_path / "klue")}


def test_a_folder_holds_saved_encoders_and_checkpoints(kept: Path, tmp_path: Path) -> None:
    tuned: Any = Checkpoints(folder=kept).encoder("wav2vec2", trainable="none")
    with torch.no_grad():
        tuned.model.feature_projection.projection.weight.mul_(1.1)
    tuned.save_pretrained(tmp_path / "wav2vec2-korean")
    for name in ("distilbert", "fasttext"):
        (tmp_path / name).symlink_to(tiny.make(name, kept / "tiny", "ko"))
    ByteTextEncoder(dim=8, layers=1, heads=2).save_pretrained(tmp_path / "byte-text")
    source = Checkpoints(str(tmp_path))
    loaded = {name: source.encoder(name) for name in ("wav2vec2-korean", "distilbert", "byte-text")}
    torch.testing.assert_close(
        encoded(loaded["wav2vec2-korean"], "wav2vec2"), encoded(tuned, "wav2vec2")
    )
    assert source.encoder("fasttext", dim=4).dim == 4
    assert source.describe()["byte-text"] == str(tmp_path / "byte-text")
    with pytest.raises(CheckpointError, match="no checkpoint for 'wav2vec2'") as caught:
        source.encoder("wav2vec2")
    assert "wav2vec2-korean" in caught.value.got  # no other one is taken in its place


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"source": "tinny"}, "unknown source"),
        ({"size": "large"}, "unknown size"),
        ({"language": "fr"}, "without a lexicon"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    wrong: dict[str, Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=match):
        Checkpoints(**{"folder": tmp_path} | wrong)
    assert list(tmp_path.iterdir()) == []


def test_names_and_settings_that_do_not_exist_are_told(tmp_path: Path) -> None:
    for source in ("tiny", "published"):
        with pytest.raises(InputError, match=re.escape("no pre-trained encoder 'mel-cnn'")):
            Checkpoints(source, folder=tmp_path).encoder("mel-cnn")
    with pytest.raises(InputError, match="did you mean 'trainable'"):
        Checkpoints(folder=tmp_path).encoder("fasttext", trainabel="none")


def test_the_folder_is_the_users_cache_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Checkpoints().folder == tmp_path / "modalxai"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Checkpoints().folder == Path.home() / ".cache" / "modalxai"
    assert Checkpoints() == Checkpoints()
    assert list(tmp_path.iterdir()) == []


def test_what_was_loaded_stays_known_in_a_folder(kept: Path, tmp_path: Path) -> None:
    """To a resumed run, and to the other processes of one."""
    first, second = (Checkpoints(folder=kept, record=tmp_path / "loaded") for _ in range(2))
    assert first.describe() == {}
    first.encoder("wav2vec2", trainable="none")
    second.encoder("fasttext")
    told = {name: tiny.MAKERS[name].note for name in ("fasttext", "wav2vec2")}
    assert first.describe() == second.describe() == told
    assert list(first.describe()) == sorted(told)
    third = Checkpoints(folder=kept, size="small", record=tmp_path / "loaded")
    assert third.describe() == told
    assert Checkpoints(folder=kept).describe() == {}


# What they have learnt.


@pytest.mark.full
@pytest.mark.parametrize(
    ("voice", "words", "language"),
    [("wav2vec2", "distilbert", "ko"), ("speecht5-speech", "speecht5-text", "en")],
)
def test_words_and_tone_are_learnt_in_six_epochs(
    voice: str, words: str, language: str, tmp_path: Path
) -> None:
    rule = tonebench.emotions()
    seen = tonebench.ToneBench(
        rule, 1200, speakers=range(20), language=language, soft=True, cache=True
    )
    unseen = tonebench.ToneBench(rule, 240, speakers=range(50, 62), language=language)
    source = Checkpoints(folder=tmp_path, language=language)
    encoders: Any = {
        "audio": source.encoder(voice, trainable="transformer"),
        "text": source.encoder(words),
    }
    fusion = mx.fusion.ShallowFusion({"audio": 64, "text": 64}, mx.labels(*rule.labels))
    model = mx.EmotionModel(encoders, fusion, modality_dropout=0.2)
    loader = DataLoader(seen, 32, shuffle=True, collate_fn=model.collate)
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    groups = [{"params": model.encoders.parameters()}, {"params": fusion.parameters()}]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [2e-3, 6e-3], total_steps=6 * len(loader)
    )
    model.train()
    for _ in range(6):
        for batch in loader:
            optimizer.zero_grad()
            step(**batch)["loss"].backward()
            optimizer.step()
            schedule.step()
    scores = model.predict([unseen[row] for row in range(len(unseen))]).scores
    told = [rule.labels[column] for column in scores.argmax(-1).tolist()]
    right = np.mean([a == b for a, b in zip(told, unseen.column("rule_label"), strict=True)])
    assert right >= 0.9
