"""The second voice, spoken by a small program that stands in for espeak-ng."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from modalxai.datasets import tonebench as tb
from modalxai.datasets.tonebench import espeak
from modalxai.datasets.tonebench.recordings import nonsense
from modalxai.errors import DependencyError, InputError, ModalxaiError

FAKE = """#!{python} -S
import json, math, struct, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
options = dict(zip(sys.argv[1:-2:2], sys.argv[2:-2:2]))
assert sys.argv[-2] == "--stdout"
word = sys.argv[-1]
rate, mode = 22050, {mode!r}
if mode == "fails":
    sys.exit("no such voice")
count = int(rate * len(word) * 40 / int(options["-s"]))
hertz = 118 * 2 ** ((int(options["-p"]) - 50) / 50)
sound = [int(9000 * math.sin(2 * math.pi * hertz * i / rate + 1)) for i in range(count)]
quiet = [0] * (rate // 10)
body = struct.pack("<%dh" % (2 * len(quiet) + count), *quiet, *sound, *quiet)
if mode == "silent":
    body = bytes(len(body))
head = b"RIFF" + struct.pack("<I", 0x7FFFF024) + b"WAVEfmt "
head += struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
head += b"data" + struct.pack("<I", 0x7FFFF000)
sys.stdout.buffer.write(b"garbage" if mode == "garbage" else head + body)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts the stand-in on the PATH; what it was asked is read from its log."""
    log = tmp_path / "asked.txt"

    def make(mode: str = "speaks"):
        file = tmp_path / "espeak-ng"
        file.write_text(FAKE.format(python=sys.executable, log=str(log), mode=mode))
        file.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    make.asked = lambda: [json.loads(line) for line in log.read_text().splitlines()]
    make()
    return make


def say(words=("참", "훌륭하다"), tone="flat", seconds=2.0, speaker=0, seed=0):
    tones = [tb.TONES[tone]] * len(words)
    generator = np.random.default_rng(seed)
    return espeak.say(words, "ko", tones, tb.Speaker.numbered(speaker), generator, seconds)


def test_the_command_line() -> None:
    speaker = tb.Speaker("s", pitch=118.0)
    line = espeak.command("좋다", "ko", speaker, tb.Tone(), 0.5)
    assert line[0] == "espeak-ng"
    assert line[1] == "-v"
    assert line[2].startswith("ko+m")
    assert line[3:] == ["-s", "175", "-p", "50", "-a", "100", "--stdout", "좋다"]
    high = espeak.command("good", "en", tb.Speaker("s", pitch=200.0), tb.Tone(level=6), 0.5, 9999)
    assert high[2].startswith("en+f")
    assert high[3:7] == ["-s", "450", "-p", "75"]  # half an octave is 25
    low = espeak.command("good", "en", speaker, tb.Tone(level=-40, swell=12), 1.0, 10)
    assert low[3:9] == ["-s", "80", "-p", "0", "-a", "200"]
    rising = [
        int(espeak.command("a", "en", speaker, tb.TONES["rising"], at)[6]) for at in (0, 0.5, 1)
    ]
    assert rising == sorted(set(rising))
    names = {espeak.command("a", "en", tb.Speaker.numbered(n), tb.Tone(), 0)[2] for n in range(40)}
    assert len(names) == 11


def test_words_lie_where_they_are_said_to(program) -> None:
    spoken = say()
    assert spoken.waveform.dtype == np.float32
    assert len(spoken.waveform) == 32_000
    assert [line[-1] for line in program.asked()] == ["참", "훌륭하다"] * 2
    time = np.arange(32_000) / 16_000
    inside = np.zeros(32_000, dtype=bool)
    for start, end in spoken.words:
        own = (time >= start) & (time < end)
        inside |= own
        assert np.abs(spoken.waveform[own]).max() > 0.2
    peak = np.abs(spoken.waveform).max()
    assert np.abs(spoken.waveform[~inside]).max() < 0.06 * peak
    (_, one), (two, _) = spoken.words
    assert two - one == pytest.approx(0.05)
    assert np.isnan(spoken.pitch).all()


def test_speech_lasts_as_long_as_the_tone_asks_whatever_is_said(program) -> None:
    for words in (["참", "또"], ["훌륭하다", "정말"], ["여기", "다시", "형편없다"]):
        for tone in ("flat", "excited"):
            spoken = say(words, tone)
            length = spoken.words[-1][1] - spoken.words[0][0]
            assert length == pytest.approx(1.0 / tb.TONES[tone].rate, rel=0.03)


def test_the_pitch_is_the_one_that_was_asked_for(program) -> None:
    spoken = say(["아아아", "아아아"], "rising")
    heights = []
    for start, end in spoken.words:
        part = spoken.waveform[round(start * 16_000) : round(end * 16_000)]
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 16))
        heights.append(power.argmax() * 16_000 / (1 << 16))
    # Seen at a quarter and three quarters of a slope of 13 semitones.
    assert 12 * np.log2(heights[1] / heights[0]) == pytest.approx(6.5, abs=0.4)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("voice", ["espeak-ng", "espeak-ng-words"])
def test_a_corpus_speaks_with_it(program, voice, language) -> None:
    corpus = tb.ToneBench(tb.xor(2), 2, voice=voice, language=language, clip_seconds=2.5)
    sample = corpus[0]
    assert sample["audio"].waveform.shape == (40_000,)
    said = [line[-1] for line in program.asked()]
    words = [word for word, _, _ in sample["words"]]
    assert said == [*said[: len(words)]] * 2
    assert (said[: len(words)] == words) is (voice == "espeak-ng-words")
    again = tb.ToneBench(tb.xor(2), 2, voice=voice, language=language, clip_seconds=2.5)[0]
    assert (again["audio"].waveform == sample["audio"].waveform).all()


def test_an_accent_is_a_word_in_another_tone(program) -> None:
    sample = tb.FAMILIES["LOCAL"].corpus(1, voice="espeak-ng")[0]
    lines = program.asked()[-4:]
    pitches = [int(line[line.index("-p") + 1]) for line in lines]
    others = [pitch for place, pitch in enumerate(pitches) if place != sample["toned"]]
    assert max(others) - min(others) <= 4
    assert abs(pitches[sample["toned"]] - np.mean(others)) > 8


def test_what_the_voice_says_is_what_the_gold_thinks() -> None:
    rule = tb.content(3)
    for voice, share in (("espeak-ng", 0), ("espeak-ng-words", 0.5)):
        for row in tb.gold(rule, voice=voice).values():
            assert row.audio == pytest.approx(share, abs=1e-12)


def test_nonsense_is_of_the_script_and_of_nothing_else() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        assert all("가" <= letter <= "힣" for letter in nonsense("훌륭하다", "ko", generator))
    assert len(nonsense("훌륭하다", "ko", generator)) == 4
    assert nonsense("wonderful", "en", generator).isascii()
    assert len({nonsense("great", "en", generator) for _ in range(50)}) > 40


def test_without_the_program_there_is_a_clear_error(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    corpus = tb.ToneBench(tb.xor(2), 2, voice="espeak-ng", clip_seconds=2.5)
    with pytest.raises(DependencyError, match="needs the program espeak-ng"):
        corpus[0]


@pytest.mark.parametrize("mode", ["fails", "garbage", "silent"])
def test_a_program_that_fails_is_named(program, mode: str) -> None:
    program(mode)
    with pytest.raises(DependencyError, match="did not say '참'") as caught:
        say()
    assert "espeak-ng -v ko+" in str(caught.value)


def test_speech_that_does_not_fit_is_refused(program) -> None:
    with pytest.raises(InputError, match="does not fit"):
        say(["훌륭하다훌륭하다훌륭하다훌륭하다훌륭하다"], seconds=0.5)
    for words, tones in (([], []), (["참"], [])):
        with pytest.raises(ModalxaiError, match="nothing to say"):
            espeak.say(words, "ko", tones, tb.Speaker.numbered(0), np.random.default_rng(0), 2.0)


@pytest.mark.skipif(
    not any(
        os.access(Path(folder) / "espeak-ng", os.X_OK)
        for folder in os.environ.get("PATH", "").split(os.pathsep)
    ),
    reason="espeak-ng is not installed",
)
def test_the_program_itself() -> None:
    spoken = say(seconds=2.5)
    assert all(end - start > 0.05 for start, end in spoken.words)
    assert np.abs(spoken.waveform).max() > 0.2
