from __future__ import annotations

import pickle
import unicodedata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.voice.test_world import RATE, noise
from tests.voice.voices import voice

from modalxai.errors import InputError
from modalxai.protocols import Division
from modalxai.types import Audio
from modalxai.voice import (
    ContentToneDivision,
    Edit,
    ProsodyDivision,
    Reference,
    SegmentDivision,
    WordDivision,
    analyse,
    library,
    resynthesise,
    world,
)

NEUTRAL = Reference(pitch=170.0, rate=5.0)
ALL = (ProsodyDivision(), ContentToneDivision(), SegmentDivision(), WordDivision())


def mask(*keep: bool | int) -> torch.Tensor:
    return torch.tensor([bool(one) for one in keep])


class Counted:
    """pyworld, its costly calls counted."""

    def __init__(self, module: Any) -> None:
        self.module, self.calls = module, {"harvest": 0, "cheaptrick": 0, "synthesize": 0}

    def __getattr__(self, name: str) -> Any:
        if name in self.calls:
            self.calls[name] += 1
        return getattr(self.module, name)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted(library.pyworld())
    monkeypatch.setattr(library, "pyworld", lambda: found)
    world._analyse.cache_clear()
    world._track.cache_clear()
    return found


@pytest.mark.parametrize("division", ALL, ids=lambda one: type(one).__name__)
def test_a_division_is_a_key(division: Any) -> None:
    assert isinstance(division, Division)
    again = pickle.loads(pickle.dumps(division))
    assert again == division
    assert hash(again) == hash(division)
    assert len({division, again}) == 1


@pytest.mark.parametrize("division", [ProsodyDivision(), ContentToneDivision()])
def test_players_have_names_and_no_place(division: Any) -> None:
    spans = division.units(voice(0).raw)
    players = len(division.names)
    assert spans.unit == "index"
    assert spans.names == (division.names,)
    assert spans.start.tolist() == [list(range(players))]
    assert spans.mask.all()


def test_the_names_of_the_players() -> None:
    prosodic = ("pitch level", "pitch range", "rate", "intensity")
    assert ProsodyDivision().names == ("words", "recording", *prosodic)
    assert ContentToneDivision().names == ("words", "prosody")


@pytest.mark.parametrize("division", [ProsodyDivision(), ContentToneDivision(), SegmentDivision()])
def test_everything_kept_is_the_recording_itself(division: Any) -> None:
    raw = voice(0).raw
    keep = torch.ones(division.units(raw).start.shape[1], dtype=torch.bool)
    assert division.render(raw, keep) is raw


def test_the_recording_alone_off_is_the_placebo() -> None:
    raw = voice(0).raw
    placebo = ProsodyDivision().render(raw, mask(1, 0, 1, 1, 1, 1))
    assert torch.equal(placebo.waveform, resynthesise(raw).waveform)
    assert ProsodyDivision().check(raw, mask(1, 0, 1, 1, 1, 1)).passed


@pytest.mark.parametrize("player", [2, 3, 4, 5])
def test_one_player_off_is_one_edit(player: int) -> None:
    raw = voice(1).raw
    division = ProsodyDivision(dose=0.5, reference=NEUTRAL)
    keep = torch.ones(6, dtype=torch.bool)
    keep[player] = False
    field = ("pitch_level", "pitch_range", "rate", "intensity")[player - 2]
    edit = Edit(**{field: 0.5}, reference=NEUTRAL)
    assert division.edit(keep) == edit
    assert torch.equal(division.render(raw, keep).waveform, resynthesise(raw, edit).waveform)
    assert division.check(raw, keep).passed


def test_each_sound_is_asked_for_once() -> None:
    division = ProsodyDivision(reference=NEUTRAL)
    keep = torch.tensor(list(product([False, True], repeat=5)))
    keep = torch.cat([torch.ones(32, 1, dtype=torch.bool), keep], dim=1)
    same = division.canonical(keep)
    # The recording, and sixteen resyntheses.
    assert len({tuple(row) for row in same.tolist()}) == 17
    for before, after in zip(keep, same, strict=True):
        assert division.edit(before) == division.edit(after)
        assert bool(before.all()) == bool(after.all())
    assert division.idle == ()


def test_idle_players_are_told() -> None:
    division = ProsodyDivision()
    assert division.idle == ("pitch level", "rate")
    raw = voice(0).raw
    for player in (2, 4):
        keep = torch.ones(6, dtype=torch.bool)
        keep[player] = False
        rendered = division.render(raw, keep).waveform
        assert torch.equal(rendered, resynthesise(raw).waveform)
        assert division.canonical(keep).tolist() == [True, False, True, True, True, True]
    assert ProsodyDivision(dose=1, reference=NEUTRAL).idle == ProsodyDivision().names[2:]


def test_many_versions_cost_one_analysis(counted: Counted) -> None:
    raw = voice(0).raw
    division = ProsodyDivision(reference=NEUTRAL)
    for bits in product([0, 1], repeat=4):
        division.render(raw, mask(1, 0, *bits))
    assert counted.calls == {"harvest": 1, "cheaptrick": 1, "synthesize": 16}


def test_clips_that_take_turns_are_tracked_once(counted: Counted) -> None:
    raws = [voice(0).raw, voice(1).raw, voice(0, seed=4).raw]
    for keep in (mask(1, 0, 1, 1, 1, 1), mask(1, 0, 1, 0, 1, 1)):
        for raw in raws:
            ProsodyDivision().render(raw, keep)
    assert counted.calls == {"harvest": 3, "cheaptrick": 6, "synthesize": 6}


@pytest.mark.parametrize("speaker", [0, 1])
def test_words_without_prosody(speaker: int) -> None:
    raw = voice(speaker).raw
    division = ContentToneDivision(reference=NEUTRAL)
    check = division.check(raw, mask(1, 0))
    assert check.passed, check.flags
    assert check["pitch range"].before > 1.5
    assert check["pitch range"].after < 0.3
    assert check["intensity"].after < 0.3
    assert check["pitch level"].after == pytest.approx(170, rel=0.02)
    assert check["rate"].after == pytest.approx(5, rel=0.03)


@pytest.mark.parametrize("way", ["hum", "low-pass"])
def test_prosody_without_words(way: Any) -> None:
    raw = voice(0).raw
    division = ContentToneDivision(way)
    check = division.check(raw, mask(0, 1))
    assert check.passed, check.flags
    assert check["pitch contour"].after > 0.95
    assert check["intensity contour"].after > 0.95
    assert check["spectrum"].after < 0.5
    rendered = division.render(raw, mask(0, 1))
    assert rendered.waveform.shape == raw.waveform.shape


REFUSED = {
    "words alone off": (ProsodyDivision(), mask(0, 1, 1, 1, 1, 1), "without its words"),
    "everything off": (ProsodyDivision(), torch.zeros(6, dtype=torch.bool), "without its words"),
    "both off": (ContentToneDivision(), mask(0, 0), "without words and prosody"),
    "too few": (ProsodyDivision(), mask(1, 1), "does not fit"),
    "rows": (ContentToneDivision(), mask(1, 0)[None], "does not fit"),
    "numbers": (ContentToneDivision(), torch.tensor([1, 0]), "does not fit"),
    "a list": (ContentToneDivision(), [True, False], "does not fit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_coalition_is_refused(name: str) -> None:
    division, keep, wrong = REFUSED[name]
    with pytest.raises(InputError, match=wrong):
        division.render(voice(0).raw, keep)


@pytest.mark.parametrize(
    "made",
    [
        lambda: ProsodyDivision(dose=-0.1),
        lambda: ProsodyDivision(dose=float("inf")),
        lambda: ContentToneDivision("mumble"),  # type: ignore[arg-type]
        lambda: ContentToneDivision(cutoff=4000),
        lambda: SegmentDivision(0),
        lambda: SegmentDivision(float("nan")),
        lambda: WordDivision("[MASK] [MASK]"),
        lambda: WordDivision(None),  # type: ignore[arg-type]
    ],
)
def test_impossible_settings_are_refused(made: Any) -> None:
    with pytest.raises(InputError):
        made()


def test_a_file_is_a_recording_too(tmp_path: Path) -> None:
    import soundfile

    raw = voice(0).raw
    path = tmp_path / "clip.wav"
    soundfile.write(path, raw.waveform, RATE, subtype="FLOAT")
    keep = mask(1, 0)
    division = ContentToneDivision()
    rendered = division.render(path, keep).waveform
    assert torch.equal(rendered, division.render(raw, keep).waveform)
    assert division.render(path, mask(1, 1)) is path


def test_segments_tile_the_clip_and_a_removed_one_is_silent() -> None:
    raw = noise(1.3)
    division = SegmentDivision(0.5)
    spans = division.units(raw)
    assert spans.unit == "seconds"
    assert spans.start.tolist() == [[0.0, 0.5, 1.0]]
    assert spans.end[0].tolist() == pytest.approx([0.5, 1.0, 1.3])
    assert spans.names == (("0.00-0.50 s", "0.50-1.00 s", "1.00-1.30 s"),)
    before = raw.waveform.copy()
    after = division.render(raw, mask(1, 0, 1))
    assert np.array_equal(raw.waveform, before)
    edge = round(0.003 * RATE)
    assert not after.waveform[8000 + edge : 16_000 - edge].any()
    for kept in (slice(0, 8000 - edge), slice(16_000 + edge, None)):
        assert np.array_equal(after.waveform[kept], before[kept])
    assert not division.render(raw, mask(0, 0, 0)).waveform.any()


TEXTS = st.lists(
    st.text(st.characters(categories=("L", "M", "N", "P")), min_size=1, max_size=6).filter(
        lambda word: not any(one.isspace() for one in word)
    ),
    min_size=1,
    max_size=6,
)


@given(TEXTS, st.data(), st.sampled_from([" ", "  ", "\n", "\u3000"]))
def test_words_are_what_whitespace_divides(words: list[str], data: Any, space: str) -> None:
    text = space.join(words)
    spans = WordDivision().units(text)
    places = zip(spans.start[0].int().tolist(), spans.end[0].int().tolist(), strict=True)
    assert [text[start:end] for start, end in places] == words
    assert spans.names == (tuple(unicodedata.normalize("NFC", word) for word in words),)
    keep = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    left = WordDivision().render(text, torch.tensor(keep))
    assert left == space.join(word for word, one in zip(words, keep, strict=True) if one)
    masked = WordDivision("[MASK]").render(text, torch.tensor(keep))
    assert masked == space.join(
        word if one else "[MASK]" for word, one in zip(words, keep, strict=True)
    )


def test_a_text_in_pieces_of_letters_has_the_same_words() -> None:
    whole = "참 잘했다. 그래"
    pieces = unicodedata.normalize("NFD", whole)
    assert pieces != whole
    division = WordDivision()
    assert division.units(pieces).names == division.units(whole).names
    keep = mask(1, 0, 1)
    left = division.render(pieces, keep)
    assert left == unicodedata.normalize("NFD", "참 그래")
    assert unicodedata.normalize("NFC", left) == division.render(whole, keep)


def test_texts_at_their_ends() -> None:
    text = "  하나 둘 "
    assert WordDivision().render(text, mask(1, 1)) is text
    assert WordDivision().render(text, mask(0, 1)) == "둘"
    assert WordDivision().render(text, mask(1, 0)) == "하나"
    assert WordDivision().render(text, mask(0, 0)) == ""
    assert WordDivision("<m>").render(text, mask(0, 0)) == "<m> <m>"
    for blank in ("", " \n", None):
        with pytest.raises(InputError, match="no text"):
            WordDivision().units(blank)  # type: ignore[arg-type]


def test_silence_can_be_divided() -> None:
    raw = Audio(np.zeros(8000, np.float32), RATE)
    assert not ProsodyDivision().render(raw, mask(1, 0, 0, 0, 0, 0)).waveform.any()
    assert not ContentToneDivision().render(raw, mask(0, 1)).waveform.any()
    assert not analyse(raw).active.any()
