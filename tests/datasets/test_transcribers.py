"""Recognisers: what they hear, what they keep, what they refuse."""

from __future__ import annotations

import email
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import endpoint_server as web
from tests.support import writers
from tests.support.pretrained import clip
from typer.testing import CliRunner

import modalxai as mx
from modalxai import plugins
from modalxai.cli import app
from modalxai.datasets import ManifestCorpus, client, transcribe_corpus
from modalxai.datasets.transcribers import (
    EndpointTranscriber,
    SimulatedTranscriber,
    TransformersTranscriber,
)
from modalxai.errors import (
    AccessError,
    CheckpointError,
    InputError,
    PluginError,
    RequestError,
)
from modalxai.protocols import Corrupting
from modalxai.types import Audio

TEXT = "오늘 회의에서 그 이야기는 다시 하지 않기로 했잖아요, 그렇죠?"
KEY = "sk-very-secret-0123456789"


def levenshtein(true: str, heard: str) -> int:
    """The slow, obvious oracle."""
    row = list(range(len(heard) + 1))
    for i, one in enumerate(true, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, before + (one != other))
            before, row[j] = row[j], cost
    return row[-1]


def tidy(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


class Counting:
    """Hears how loud a recording is, and counts what it is asked."""

    name = "counting"
    batch_size = 2

    def __init__(self, bad: Sequence[float] = (), level: int = 3) -> None:
        self.heard: list[float] = []
        self.calls = 0
        self.bad = set(bad)
        self.settings = {"level": level}

    def transcribe(self, audio: Sequence[Audio]) -> list[str]:
        self.calls += 1
        peaks = [round(float(a.waveform.abs().max()), 3) for a in audio]
        for index, peak in enumerate(peaks):
            if peak in self.bad:
                raise InputError("bad", expected="good", got=str(peak), mend="-", index=index)
        self.heard += peaks
        return [f"heard {peak}" for peak in peaks]


def loud(peak: float, rate: int = 16_000) -> Audio:
    return Audio(torch.sin(torch.arange(3200) / 5) * peak / 0.99999, rate)


def samples(count: int = 5) -> list[dict[str, Any]]:
    return [{"id": f"u{i}", "audio": loud((i + 1) / 10), "text": f"true {i}"} for i in range(count)]


# plugins


def test_the_groups_are_listed_and_make_parts() -> None:
    assert set(plugins.available("transcribers")) == {
        "openai-compatible",
        "simulated",
        "transformers",
    }
    made = plugins.create("transcribers", "simulated", cer=0.2)
    assert isinstance(made, SimulatedTranscriber)
    assert isinstance(made, Corrupting)
    assert isinstance(
        plugins.create("transcribers", "openai-compatible", model="m"), EndpointTranscriber
    )
    with pytest.raises(PluginError, match="did you mean 'simulated'"):
        raise_text(lambda: plugins.create("transcribers", "simulate"))
    with pytest.raises(InputError, match="needs 'checkpoint'"):
        plugins.create("transcribers", "transformers")
    with pytest.raises(InputError, match="did you mean 'cer'"):
        raise_text(lambda: plugins.create("transcribers", "simulated", cr=0.1))


def raise_text(call: Any) -> None:
    """The whole message as the error, for `match`."""
    try:
        call()
    except mx.ModalxaiError as error:
        raise type(error)(str(error), expected="", got="", mend="") from None


# simulated


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.sampled_from("가힣뷁한국어 참ab zQ,.!7ㅋ去不\u1112\u1161"), min_size=1, max_size=40),
    st.floats(0, 0.9),
    st.sampled_from(["jamo", "syllable"]),
    st.integers(0, 99),
)
def test_the_edits_told_are_the_edits_made(text: str, cer: float, hangul: Any, id: int) -> None:
    recogniser = SimulatedTranscriber(cer=cer, hangul=hangul)
    true = tidy(text)
    if not true:
        with pytest.raises(InputError, match="empty transcript"):
            recogniser.corruption(text, str(id))
        return
    found = recogniser.corruption(text, str(id))
    assert found.edits == levenshtein(true, found.text)
    assert found.characters == len(true)
    assert found.cer * len(true) < cer * len(true) + 1
    if len(set(true)) > 1 and cer <= 0.6:
        assert found.cer * len(true) > cer * len(true) - 1
    assert found.text == tidy(found.text)


@pytest.mark.parametrize("cer", [0.0, 0.05, 0.351, 0.561, 0.9])
@pytest.mark.parametrize("text", [TEXT, "well done, my dear friend", "응", "네 네"])
def test_a_corpus_has_the_rate_that_was_asked_for(cer: float, text: str) -> None:
    recogniser = SimulatedTranscriber(cer=cer)
    found = [recogniser.corruption(text, f"u{i}") for i in range(100)]
    reached = sum(one.edits for one in found) / sum(one.characters for one in found)
    # Rounding of each utterance: at most .5 deviation over its length, 100 of them; 4 deviations.
    assert abs(reached - cer) <= 4 * 0.5 / len(text) / 10 + 0.005 * (cer == 0.9)


def test_errors_belong_to_the_id_not_to_the_order() -> None:
    recogniser = SimulatedTranscriber(cer=0.4, seed=1)
    ids = [f"u{i}" for i in range(20)]
    texts = [f"{TEXT} {i}" for i in range(20)]
    forward = recogniser.corrupt(texts, ids)
    assert recogniser.corrupt(texts[::-1], ids[::-1]) == forward[::-1]
    assert SimulatedTranscriber(cer=0.4, seed=1).corrupt(texts[3:4], ids[3:4]) == forward[3:4]
    assert pickle.loads(pickle.dumps(recogniser)).corrupt(texts, ids) == forward
    assert SimulatedTranscriber(cer=0.4, seed=2).corrupt(texts, ids) != forward
    assert len({recogniser.corruption(TEXT, name).text for name in ids}) == 20


def test_decomposed_text_is_the_same_text() -> None:
    recogniser = SimulatedTranscriber(cer=0.4)
    decomposed = unicodedata.normalize("NFD", TEXT)
    assert decomposed != TEXT
    assert recogniser.corruption(decomposed, "u") == recogniser.corruption(TEXT, "u")


def test_a_misheard_syllable_differs_in_one_letter() -> None:
    only = {"deletions": 0.0, "insertions": 0.0}
    text = "가나다라마바사아자차카타파하거너더러머버"
    differing = []
    for hangul in ("jamo", "syllable"):
        recogniser = SimulatedTranscriber(cer=0.5, hangul=hangul, **only)  # type: ignore[arg-type]
        heard = [recogniser.corruption(text, f"u{i}").text for i in range(20)]
        pairs = [(a, b) for line in heard for a, b in zip(text, line, strict=True) if a != b]
        assert all("가" <= b <= "힣" for _, b in pairs)

        def letters(syllable: str) -> list[int]:
            code = ord(syllable) - 0xAC00
            return [code // 588, code // 28 % 21, code % 28]

        counts = [
            sum(x != y for x, y in zip(letters(a), letters(b), strict=True)) for a, b in pairs
        ]
        differing.append(counts)
    # Two edits may meet on one syllable, seldom.
    assert np.mean(np.array(differing[0]) == 1) > 0.8
    assert np.mean(np.array(differing[1]) == 1) < 0.2


def test_each_kind_of_error_can_be_had_alone() -> None:
    lost = SimulatedTranscriber(cer=0.5, substitutions=1e-9, deletions=1, insertions=0)
    assert all(len(lost.corruption(TEXT, str(i)).text) < len(TEXT) * 0.55 + 1 for i in range(9))
    added = SimulatedTranscriber(cer=0.5, substitutions=1e-9, deletions=0, insertions=1)
    assert all(len(added.corruption(TEXT, str(i)).text) > len(TEXT) * 1.4 for i in range(9))


@pytest.mark.parametrize(
    "wrong",
    [
        {"cer": -0.1},
        {"cer": 35},
        {"cer": float("nan")},
        {"cer": 0.1, "substitutions": 0},
        {"cer": 0.1, "deletions": -1},
        {"cer": 0.1, "insertions": float("nan")},
        {"cer": 0.1, "hangul": "letters"},
        {"cer": "0.1"},
        {"cer": True},
        {"cer": 0.1, "seed": 1.5},
    ],
)
def test_settings_that_cannot_be_simulated(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        SimulatedTranscriber(**wrong)


def test_a_simulated_recogniser_hears_nothing() -> None:
    with pytest.raises(InputError, match="hears nothing"):
        SimulatedTranscriber(cer=0.1).transcribe([loud(0.5)])


def test_a_corpus_is_corrupted_without_its_sound() -> None:
    class Corpus(list[dict[str, Any]]):
        def __getitem__(self, index: Any) -> Any:
            raise AssertionError("a recording was read")

        def column(self, name: str) -> list[Any]:
            return [sample.get(name) for sample in iter(self)]

    corpus = Corpus(
        {"id": f"u{i}", "text": text}
        for i, text in enumerate([*[TEXT] * 50, None, "  ", "well   done"])
    )
    heard = transcribe_corpus(SimulatedTranscriber(cer=0.35), corpus)
    assert heard.values[50] is None
    assert [(failure.row, failure.id) for failure in heard.failures] == [(51, "u51")]
    assert "empty transcript" in heard.failures[0].reason
    assert abs(heard.cer().rate - 0.35) < 0.02
    edits = [levenshtein(TEXT, str(text)) for text in heard.values[:50]]
    edits.append(levenshtein("well done", str(heard.values[52])))
    assert heard.cer().errors == sum(edits)
    assert heard.column("recognised") == list(heard.values)
    assert heard.column("text")[0] == TEXT
    assert heard.summary() == "recognised: 51 of 53, 0 of them empty, 1 failed, 51 asked for"


# a corpus and its cache


def test_the_column_is_added_in_order_and_the_rest_stays() -> None:
    corpus = samples()
    heard = transcribe_corpus(Counting(), corpus)
    assert [heard[i]["recognised"] for i in range(5)] == [f"heard 0.{i + 1}" for i in range(5)]
    assert heard[2]["audio"] is corpus[2]["audio"]
    assert set(corpus[2]) == {"id", "audio", "text"}
    assert heard.truths == tuple(f"true {i}" for i in range(5))
    assert (len(heard), heard.asked, heard.failures) == (5, 5, ())


def test_a_second_run_asks_nothing_and_another_setting_asks_again(tmp_path: Path) -> None:
    first = transcribe_corpus(Counting(), samples(), cache=tmp_path)
    again = Counting()
    second = transcribe_corpus(again, samples(), cache=tmp_path)
    assert (again.calls, second.asked) == (0, 0)
    assert second.values == first.values
    other = Counting(level=4)
    assert transcribe_corpus(other, samples(), cache=tmp_path).asked == 5
    third = Counting()
    third.name = "another"
    assert transcribe_corpus(third, samples(), cache=tmp_path).asked == 5


def test_the_sound_decides_not_the_id_or_the_file(tmp_path: Path) -> None:
    quiet, ids = loud(0.5), ("a", "b", "c", "d")
    wav, flac = tmp_path / "x.wav", tmp_path / "y.flac"
    exact = torch.round(quiet.waveform * 32768) / 32768
    for path in (wav, flac):
        soundfile.write(path, (exact * 32768).short().numpy(), 16_000)
    sounds = [Audio(exact, 16_000), Audio(exact[None], 16_000), str(wav), flac]
    recogniser = Counting()
    heard = transcribe_corpus(
        recogniser, [{"id": i, "audio": a} for i, a in zip(ids, sounds, strict=True)]
    )
    assert recogniser.heard == [0.5]
    assert len(set(heard.values)) == 1
    other_rate = [{"id": "e", "audio": Audio(exact, 8000)}, {"id": "f", "audio": sounds[0]}]
    transcribe_corpus(recogniser, other_rate)
    assert recogniser.heard == [0.5] * 3


def test_one_bad_recording_costs_itself_only(tmp_path: Path) -> None:
    corpus = samples()
    corpus[3]["audio"] = None
    corpus[4]["audio"] = Audio(torch.zeros(0), 16_000)
    corpus.append({"id": "gone", "audio": tmp_path / "none.wav"})
    recogniser = Counting(bad=[0.2])
    heard = transcribe_corpus(recogniser, corpus, cache=tmp_path / "cache")
    assert heard.values == ("heard 0.1", None, "heard 0.3", None, None, None)
    assert [failure.id for failure in heard.failures] == ["u1", "u4", "gone"]
    assert "got: 0.2" in heard.failures[0].reason
    mended = Counting()
    again = transcribe_corpus(mended, corpus[:3], cache=tmp_path / "cache")
    assert mended.heard == [0.2]
    assert again.values == ("heard 0.1", "heard 0.2", "heard 0.3")


def test_strict_raises_the_first_failure_by_name() -> None:
    with pytest.raises(InputError, match="sample 'u1'"):
        transcribe_corpus(Counting(bad=[0.2]), samples(), strict=True)


def test_a_damaged_answer_is_named_and_asked_again(tmp_path: Path) -> None:
    transcribe_corpus(Counting(), samples(3), cache=tmp_path)
    one, two, _ = sorted(tmp_path.rglob("*.json"))
    two.write_bytes(one.read_bytes())
    one.write_text('{"key": ')
    recogniser = Counting()
    with pytest.warns(UserWarning, match="asked again") as warned:
        heard = transcribe_corpus(recogniser, samples(3), cache=tmp_path)
    assert len(warned) == len(recogniser.heard) == 2
    assert heard.values == ("heard 0.1", "heard 0.2", "heard 0.3")
    assert transcribe_corpus(Counting(), samples(3), cache=tmp_path).asked == 0


@pytest.mark.parametrize("answer", [["one"], ["a", None], "ab", None, ("a", "b")])
def test_a_plugin_that_breaks_its_contract_is_named(answer: Any) -> None:
    recogniser = Counting()
    recogniser.transcribe = lambda audio: answer  # type: ignore[method-assign]
    with pytest.raises(PluginError, match="contract"):
        transcribe_corpus(recogniser, samples(2))


@pytest.mark.parametrize("name", ["id", "labels", "audio", "text", "", "columns"])
def test_a_column_may_not_take_a_name_in_use(name: str) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        transcribe_corpus(Counting(), samples(), column=name)
    heard = transcribe_corpus(Counting(), [{**samples(1)[0], "heard": 1}], column="heard")
    with pytest.raises(InputError, match="cannot be called 'heard'"):
        heard[0]


def test_a_sample_without_an_id_is_refused() -> None:
    with pytest.raises(InputError, match="number 1 has no id"):
        transcribe_corpus(Counting(), [samples(1)[0], {"audio": loud(0.2)}])


def test_no_row_with_both_texts_has_no_rate() -> None:
    with pytest.raises(InputError):
        transcribe_corpus(Counting(), [{"id": "a", "audio": loud(0.1)}]).cer()


def test_recognised_text_trains_beside_the_true_one() -> None:
    from modalxai.training import ConsistencyCollate

    text = mx.plugins.create("encoders", "byte-text")
    labels = mx.labels("anger", "joy")
    fusion = mx.plugins.create("fusion", "shallow", dims={"text": text.dim}, labels=labels)
    model = mx.EmotionModel({"text": text}, fusion=fusion)
    corpus = [{"id": "a", "text": TEXT, "labels": {"joy": 1}}]
    heard = transcribe_corpus(SimulatedTranscriber(cer=0.3), corpus)
    batch = ConsistencyCollate(model.collate)([heard[0]])
    assert not torch.equal(batch["recognised"]["input_ids"], batch["text"]["input_ids"])


# transformers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


CLIPS = [clip(9000 + 700 * i, seed=i) for i in range(4)] + [clip(9000, seed=9)]


@pytest.mark.parametrize("kind", writers.CTC)
def test_ctc_hears_what_the_pipeline_of_transformers_hears(folder: Path, kind: str) -> None:
    from transformers import pipeline

    place = writers.ctc(folder / kind, kind)
    ours = TransformersTranscriber(place, batch_size=3)
    theirs = pipeline("automatic-speech-recognition", str(place), device="cpu")
    # It leaves special tokens in, which are no words.
    expected = [re.sub("<[^>]*>", "", theirs(np.asarray(one.waveform))["text"]) for one in CLIPS]
    together = ours.transcribe(CLIPS)
    assert [" ".join(text.split()) for text in expected] == together
    assert [ours.transcribe([one])[0] for one in CLIPS] == together
    assert ours.transcribe(CLIPS[::-1]) == together[::-1]
    assert len(set(together)) > 2
    assert ours._pads == ("stable" in kind)


def test_padding_would_show_if_it_were_let_in(folder: Path) -> None:
    ours = TransformersTranscriber(writers.ctc(folder / "wav2vec2", "wav2vec2"))
    alone = ours.transcribe(CLIPS)
    ours._pads = True
    assert ours.transcribe(CLIPS) != alone


@pytest.mark.parametrize("kind", writers.SPEECH_WRITERS)
def test_encoder_decoders_write_for_each_clip_what_they_write_alone(
    folder: Path, kind: str
) -> None:
    ours = plugins.create(
        "transcribers", "transformers", checkpoint=writers.speech_writer(folder / kind, kind)
    )
    clips = CLIPS[:2] + CLIPS[-1:]
    together = ours.transcribe(clips)
    assert [ours.transcribe([one])[0] for one in clips] == together
    made = ours._extractor(np.asarray(clips[1].waveform), sampling_rate=16_000, return_tensors="pt")
    limit = {} if kind == "whisper" else {"max_length": 40 if kind == "speecht5" else 24}
    ids = ours._model.generate(**made, do_sample=False, num_beams=1, **limit)
    assert together[1] == ours._tokenizer.decode(ids[0], skip_special_tokens=True).strip()


def test_the_cache_knows_one_checkpoint_from_another(folder: Path, tmp_path: Path) -> None:
    place = writers.ctc(folder / "wav2vec2-stable")
    first = TransformersTranscriber(place)
    same = TransformersTranscriber(writers.ctc(tmp_path / "copy"), batch_size=1)
    other = TransformersTranscriber(writers.ctc(tmp_path / "other", seed=1))
    assert first.settings == same.settings
    assert first.settings != other.settings
    json.dumps(first.settings)
    assert str(place) not in json.dumps(first.settings)


def test_a_fine_tuned_checkpoint_may_lack_the_mask(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = writers.ctc(tmp_path / "a")
    whole = TransformersTranscriber(place)
    weights = load_file(place / "model.safetensors")
    del weights["wav2vec2.masked_spec_embed"]
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    lacking = [TransformersTranscriber(place) for _ in range(2)]
    assert lacking[0].transcribe(CLIPS) == whole.transcribe(CLIPS)
    assert lacking[0].settings == lacking[1].settings
    del weights["lm_head.weight"]
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing"):
        TransformersTranscriber(place)


def test_checkpoints_that_are_no_recognisers(folder: Path, tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(CheckpointError, match="no recogniser"):
        TransformersTranscriber(tmp_path / "bert")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        TransformersTranscriber(tmp_path / "none")
    place = writers.ctc(tmp_path / "x")
    (place / "preprocessor_config.json").unlink()
    (place / "processor_config.json").unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        TransformersTranscriber(place)
    with pytest.raises(InputError, match="takes no language"):
        TransformersTranscriber(writers.ctc(tmp_path / "y"), language="ko")
    with pytest.raises(InputError, match="takes no language"):
        TransformersTranscriber(writers.speech_writer(folder / "whisper", "whisper"), language="ko")


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"max_new_tokens": 0}, {"device": "abacus"}, {"device": "meta9"}],
)
def test_settings_that_cannot_be_run(folder: Path, wrong: dict[str, Any]) -> None:
    place = writers.ctc(folder / "wav2vec2-stable")
    with pytest.raises(InputError, match="cannot be"):
        TransformersTranscriber(place, **wrong)


@pytest.mark.parametrize("wrong", [{"model": ""}, {"model": None}, {"language": 3}, {"prompt": ""}])
def test_settings_that_cannot_be_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot be"):
        EndpointTranscriber(**({"model": "m"} | wrong))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Audio(torch.zeros(16_000), 16_000), "silent"),
        (Audio(torch.full((16_000,), 0.25), 16_000), "silent"),
        (Audio(torch.randn(1599) / 9, 16_000), "too short"),
        (Audio(torch.randn(700) / 9, 8000), "too short"),
        (Audio(torch.zeros(0), 16_000), "empty"),
        (Audio(torch.randn(16_000) / 9), "sample rate"),
        (Audio(torch.full((16_000,), float("nan")), 16_000), "NaN"),
    ],
)
def test_recordings_that_cannot_be_heard(folder: Path, bad: Audio, told: str) -> None:
    for recogniser in (
        TransformersTranscriber(writers.ctc(folder / "wav2vec2-stable")),
        EndpointTranscriber(base_url="http://127.0.0.1:1", model="m", retries=0),
    ):
        with pytest.raises(InputError, match=told) as error:
            recogniser.transcribe([CLIPS[0], bad, CLIPS[1]])
        assert error.value.index == 1


def test_whisper_is_told_when_a_recording_is_longer_than_it_hears(folder: Path) -> None:
    ours = TransformersTranscriber(writers.speech_writer(folder / "whisper", "whisper"))
    with pytest.raises(InputError, match="longer than the model can hear"):
        ours.transcribe([clip(16_000 * 31)])


def test_recognising_draws_nothing(folder: Path) -> None:
    place = writers.ctc(folder / "wav2vec2-stable")
    state = torch.get_rng_state()
    ours = TransformersTranscriber(place)
    ours.transcribe(CLIPS)
    assert torch.equal(torch.get_rng_state(), state)


# an endpoint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[web.Server]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(client, "sleep", lambda seconds: None)
    with web.serving(web.says({"text": " 네, 알겠어요. "})) as found:
        yield found


def parts(request: web.Request) -> dict[str, bytes]:
    """The form, read by the standard library's mail parser."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body)
    found = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        found[str(name)] = part.get_payload(decode=True)  # type: ignore[union-attr]
    return found  # type: ignore[return-value]


def test_an_endpoint_is_sent_a_wav_file_and_the_settings(server: web.Server) -> None:
    recogniser = EndpointTranscriber(
        base_url=server.url, model="whisper-1", language="ko", prompt="이름: 민수"
    )
    recording = loud(0.5)
    assert recogniser.transcribe([recording]) == ["네, 알겠어요."]
    (request,) = server.requests
    assert request.path == "/v1/audio/transcriptions"
    form = parts(request)
    file = form.pop("file")
    assert {name: value.decode() for name, value in form.items()} == {
        "model": "whisper-1",
        "language": "ko",
        "prompt": "이름: 민수",
        "response_format": "json",
        "temperature": "0",
    }
    heard, rate = soundfile.read(io.BytesIO(file))
    assert rate == 16_000
    assert np.abs(heard - recording.waveform.numpy()).max() < 1e-4


def test_sound_is_brought_to_16_khz_mono_and_never_clips(server: web.Server) -> None:
    recogniser = EndpointTranscriber(base_url=server.url, model="m")
    stereo = torch.stack([torch.sin(torch.arange(9600) / 50) * 3, torch.zeros(9600)])
    recogniser.transcribe([Audio(stereo, 48_000, channel=0)])
    heard, rate = soundfile.read(io.BytesIO(parts(server.requests[0])["file"]))
    assert (rate, heard.shape) == (16_000, (3200,))
    expected = np.sin(np.arange(3200) * 3 / 50)
    assert np.abs(heard - expected)[50:-50].max() < 0.01


@pytest.mark.parametrize(
    "answer", [{}, {"text": None}, {"text": 3}, {"Text": "a"}, [], "text", 3, None]
)
def test_an_answer_of_another_form_is_a_failure(server: web.Server, answer: Any) -> None:
    server.always = web.says(answer)
    recogniser = EndpointTranscriber(base_url=server.url, model="m")
    with pytest.raises(RequestError, match="something else than a transcript"):
        recogniser.transcribe([loud(0.5)])
    assert len(server.requests) == 1


def test_nothing_said_is_an_answer(server: web.Server, tmp_path: Path) -> None:
    server.always = web.says({"text": " "})
    recogniser = EndpointTranscriber(base_url=server.url, model="m")
    for asked in (1, 0):
        heard = transcribe_corpus(recogniser, samples(1), cache=tmp_path)
        assert (heard.values, heard.failures, heard.asked) == (("",), (), asked)
    assert "1 of 1, 1 of them empty" in heard.summary()


def test_failures_of_an_endpoint_are_recorded_and_asked_again(
    server: web.Server, tmp_path: Path
) -> None:
    recogniser = EndpointTranscriber(base_url=server.url, model="m", retries=1)
    server.script = [
        web.fails(500),
        web.says({"text": "one"}),
        web.fails(400, "odd"),
        web.says(b"{"),
        web.says(b"{"),
        web.says({"text": "four"}),
    ]
    heard = transcribe_corpus(recogniser, samples(4), cache=tmp_path)
    assert heard.values == ("one", None, None, "four")
    assert [failure.id for failure in heard.failures] == ["u1", "u2"]
    assert "odd" in heard.failures[0].reason
    assert "broken json" in heard.failures[1].reason
    assert len(server.requests) == 6
    again = transcribe_corpus(recogniser, samples(4), cache=tmp_path)
    assert again.values == ("one", "네, 알겠어요.", "네, 알겠어요.", "four")
    assert len(server.requests) == 8


class Crowd:
    """Replies that tell how many were being given at once."""

    def __init__(
        self, server: web.Server, refused: int | None = None, odd: Sequence[str] = ()
    ) -> None:
        self.lock, self.now, self.most, self.seen = threading.Lock(), 0, 0, 0
        self.refused, self.odd = refused, odd
        server.always = self

    def __call__(self, handler: web.Handler) -> None:
        with self.lock:
            self.seen += 1
            number = self.seen
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.05)
        with self.lock:
            self.now -= 1
        # What is heard is in the request, so that a mix-up would show.
        loudest = np.frombuffer(parts(handler.request_seen)["file"][44:], "<i2").max()
        said = f"{loudest / 32767:.1f}"
        if number == self.refused:
            web.fails(401)(handler)
        elif said in self.odd:
            web.fails(400, "odd")(handler)
        else:
            web.says({"text": said})(handler)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_so_many_requests_at_once_as_asked_for_and_the_same_answers(
    server: web.Server, tmp_path: Path, concurrency: int
) -> None:
    crowd = Crowd(server)
    recogniser = EndpointTranscriber(base_url=server.url, model="m", concurrency=concurrency)
    twice = [*samples(9), {"id": "again", "audio": samples(1)[0]["audio"]}]
    heard = transcribe_corpus(recogniser, twice, cache=tmp_path)
    assert heard.values == (*(f"{(i + 1) / 10:.1f}" for i in range(9)), "0.1")
    assert crowd.most == concurrency
    assert (len(server.requests), heard.asked) == (9, 9)
    # How many go at once decides no answer, so the cache is the same.
    other = EndpointTranscriber(base_url=server.url, model="m", concurrency=5 - concurrency)
    assert transcribe_corpus(other, twice, cache=tmp_path).asked == 0
    assert pickle.loads(pickle.dumps(recogniser)) == recogniser


def test_failures_at_once_cost_themselves_only_and_are_told_in_order(
    server: web.Server, tmp_path: Path
) -> None:
    Crowd(server, odd=("0.2", "0.3", "0.6"))
    recogniser = EndpointTranscriber(base_url=server.url, model="m", concurrency=3)
    heard = transcribe_corpus(recogniser, samples(7), cache=tmp_path)
    assert [failure.row for failure in heard.failures] == [1, 2, 5]
    assert heard.values == ("0.1", None, None, "0.4", "0.5", None, "0.7")
    assert len(server.requests) == 7


def test_what_was_under_way_when_a_key_was_refused_is_kept(
    server: web.Server, tmp_path: Path
) -> None:
    Crowd(server, refused=1)
    recogniser = EndpointTranscriber(base_url=server.url, model="m", concurrency=3)
    with pytest.raises(AccessError):
        transcribe_corpus(recogniser, samples(9), cache=tmp_path)
    # Each answer that the server gave lies in the cache; nobody pays for it twice.
    assert 1 < len(server.requests) < 9
    assert len(list(tmp_path.rglob("*.json"))) == len(server.requests) - 1


def test_requests_at_once_keep_one_pace(
    server: web.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    monkeypatch.setattr(client, "sleep", lambda seconds: begun.append(time.monotonic() + seconds))
    recogniser = EndpointTranscriber(
        base_url=server.url, model="m", concurrency=4, requests_per_minute=6
    )
    start = time.monotonic()
    assert transcribe_corpus(recogniser, samples(6)).asked == 6
    for number, moment in enumerate(sorted(begun), 1):
        assert 10 * number <= moment - start < 10 * number + 5
    assert len(begun) == 5


def test_a_server_that_is_gone_is_not_asked_for_every_sample(server: web.Server) -> None:
    server.always = web.fails(500)
    recogniser = EndpointTranscriber(base_url=server.url, model="m", retries=0)
    with pytest.raises(RequestError, match="sample 'u2'"):
        transcribe_corpus(recogniser, samples(9), patience=3)
    assert len(server.requests) == 3


def test_failures_that_do_not_follow_each_other_end_no_run(server: web.Server) -> None:
    recogniser = EndpointTranscriber(base_url=server.url, model="m", retries=0)
    server.script = [web.fails(500), web.says({"text": "a"})] * 4
    heard = transcribe_corpus(recogniser, samples(8), patience=2)
    assert heard.values == (None, "a") * 4


def test_a_refused_key_ends_the_run_and_is_told_nowhere(
    server: web.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    recogniser = EndpointTranscriber(base_url=server.url, model="m", key_variable="MY_KEY")
    server.script = [web.says({"text": "one"}), web.fails(401, f"Incorrect key: {KEY}")]
    with pytest.raises(AccessError, match="gives no access") as error:
        transcribe_corpus(recogniser, samples(), cache=tmp_path)
    assert len(server.requests) == 2
    assert all(KEY in request.headers["authorization"] for request in server.requests)
    (written,) = tmp_path.rglob("*.json")
    told = written.read_text() + str(error.value) + repr(recogniser) + repr(recogniser.settings)
    assert KEY not in told
    assert json.loads(written.read_text())["text"] == "one"


def test_a_missing_key_ends_the_run_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(AccessError, match="no key") as error:
        transcribe_corpus(EndpointTranscriber(model="whisper-1"), samples())
    assert "export OPENAI_API_KEY=" in error.value.mend


RUN = """
import torch
from modalxai.datasets import transcribe_corpus
from modalxai.datasets.transcribers import EndpointTranscriber
from modalxai.types import Audio
recogniser = EndpointTranscriber(base_url={url!r}, model="m")
sounds = [torch.sin(torch.arange(3200) / 5) * ((i + 1) / 10) / 0.99999 for i in range(8)]
samples = [{{"id": f"u{{i}}", "audio": Audio(sound, 16_000)}} for i, sound in enumerate(sounds)]
print(transcribe_corpus(recogniser, samples, cache={cache!r}).values)
"""


def start(server: web.Server, cache: Path) -> subprocess.Popen[str]:
    code = RUN.format(url=server.url, cache=str(cache))
    return subprocess.Popen(
        [sys.executable, "-c", code], env=dict(os.environ), text=True, stdout=subprocess.PIPE
    )


def test_after_a_kill_only_what_is_missing_is_sent(server: web.Server, tmp_path: Path) -> None:
    stuck = threading.Event()

    def hang(handler: web.Handler) -> None:
        stuck.set()
        time.sleep(20)

    server.script = [web.says({"text": f"t{i}"}) for i in range(3)] + [hang]
    with start(server, tmp_path) as process:
        assert stuck.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(server.requests) == 4
    assert len(list(tmp_path.rglob("*.json"))) == 3
    server.requests.clear()
    recogniser = EndpointTranscriber(base_url=server.url, model="m")
    heard = transcribe_corpus(recogniser, samples(8), cache=tmp_path)
    assert (len(server.requests), heard.asked) == (5, 5)
    assert heard.values == ("t0", "t1", "t2", *["네, 알겠어요."] * 5)


def test_several_processes_may_share_a_cache(server: web.Server, tmp_path: Path) -> None:
    begun = threading.Event()

    def slowly(handler: web.Handler) -> None:
        begun.set()
        time.sleep(0.05)
        handler.send(b'{"text": "both"}')

    server.always = slowly
    recogniser = EndpointTranscriber(base_url=server.url, model="m")
    with start(server, tmp_path) as process:
        assert begun.wait(60)
        here = transcribe_corpus(recogniser, samples(8), cache=tmp_path)
        told = process.communicate(timeout=100)[0]
    assert here.values == ("both",) * 8
    assert told.strip() == str(here.values)
    assert len(list(tmp_path.rglob("*.json"))) == 8
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    asked = len(server.requests)
    assert transcribe_corpus(recogniser, samples(8), cache=tmp_path).asked == 0
    assert len(server.requests) == asked


# the command


def manifest(folder: Path) -> Path:
    rows = ["id,audio,text,mood"]
    for sample in samples(3):
        wav = sample["audio"].waveform.numpy()
        soundfile.write(folder / f"{sample['id']}.wav", wav, 16_000, subtype="FLOAT")
        rows.append(f'{sample["id"]},{sample["id"]}.wav,"{sample["text"]}, yes",fine')
    (folder / "list.csv").write_text("\n".join([*rows, "u9,,alone,\n"]), encoding="utf-8")
    return folder / "list.csv"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_the_command_writes_the_manifest_with_what_was_heard(
    server: web.Server, tmp_path: Path, suffix: str
) -> None:
    server.script = [web.says({"text": "one, two"}), web.fails(400)]
    listed, out = manifest(tmp_path), tmp_path / f"heard.{suffix}"
    before = listed.read_bytes()
    command = ["datasets", "transcribe", str(listed), "--transcriber", "openai-compatible"]
    command += ["--out", str(out), "--cache", str(tmp_path / "cache")]
    command += ["--set", f"base_url={server.url}", "--set", "model=m", "--set", "retries=0"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1, done.output
    assert "failed: u1:" in done.stderr
    assert "recognised: 2 of 4" in done.stdout
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert len(server.requests) == 4
    found = ManifestCorpus(out, label=None, speaker=None)
    assert found.column("recognised") == ["one, two", *["네, 알겠어요."] * 2, None]
    original = ManifestCorpus(listed, label=None, speaker=None)
    for name in ("id", "text", "mood"):
        assert found.column(name) == original.column(name)
    assert listed.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*.*")) == sorted(
        ["list.csv", out.name, "u0.wav", "u1.wav", "u2.wav"]
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"--out": "list.csv"}, "cannot be used"),
        ({"--out": "heard.txt"}, "cannot be used"),
        ({"--out": "none/heard.csv"}, "cannot be written"),
        ({"--column": "mood"}, "has a column 'mood'"),
        ({"--column": "labels"}, "cannot be called"),
        ({"--transcriber": "simulate"}, "did you mean 'simulated'"),
        ({"--set": "cer"}, "cannot be read"),
        ({"--set": "cer=high"}, "cer cannot be 'high'"),
        ({"--set": "cre=0.1"}, "does not take 'cre'"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, changed: dict[str, str], told: str) -> None:
    listed = manifest(tmp_path)
    given = {"--transcriber": "simulated", "--out": "heard.csv", "--set": "cer=0.3"} | changed
    given["--out"] = str(tmp_path / given["--out"])
    command = [part for pair in given.items() for part in pair]
    done = CliRunner().invoke(app, ["datasets", "transcribe", str(listed), *command])
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert not (tmp_path / "heard.csv").exists()
