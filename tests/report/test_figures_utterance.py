"""The picture of one utterance: every bar, colour and curve lies where the numbers say."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from modalxai.errors import DependencyError, InputError
from modalxai.report import figures
from modalxai.report.figures import panels, reading, recording
from modalxai.report.figures.palette import tint
from modalxai.types import Audio
from modalxai.voice import Tracker

TEXT = "참 잘했다. 정말"
WORDS = ((0, 1), (2, 6), (7, 9))
QUICK = Tracker("dio")


@pytest.fixture
def owen(found, spans):
    values = {"text": [[[0.5, -1.0, 0.25]] * 2], "audio": [[[2.0, -0.5, 0.25]] * 2]}
    return found(
        [[[-0.25, 1.75], [-0.25, 1.75]]],
        units={
            "text": (values["text"], spans(WORDS, "characters")),
            "audio": (values["audio"], spans(((0, 0.5), (0.5, 1), (1, 1.5)), "seconds")),
        },
    )


def kinds(figure):
    return [axes.get_label().split()[0] for axes in figure.axes]


def panel(figure, kind):
    (axes,) = (axes for axes in figure.axes if axes.get_label().startswith(kind))
    return axes


def draw(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    return figure


def test_panels_show_every_number(owen, found, spans, clip):
    names = ("words", "pitch range", "rate")
    prosody = found(
        [[[0.0, 0.3]] * 2],
        units={
            "audio": ([[[0.4, -0.6, 0.5]] * 2], spans(((0, 1), (1, 2), (2, 3)), "index", names))
        },
        method="prosody",
    )
    sample = {"id": "u0", "text": TEXT, "audio": clip}
    figure = draw(figures.utterance(sample, [owen, prosody], "joy", tracker=QUICK))
    assert kinds(figure) == [
        "words", "waveform", "moments", "spectrogram", "pitch", "intensity", "players",
    ]  # fmt: skip
    written = [text.get_text() for text in panel(figure, "words").texts]
    assert written == ["참", "+0.50", "잘했다.", "-1.00", "정말", "+0.25"]
    boxes = [
        to_hex(text.get_bbox_patch().get_facecolor())
        for text in panel(figure, "words").texts
        if text.get_bbox_patch()
    ]
    # The colour scale is one for all units of a result: 2 nats, of the first segment.
    assert boxes == [tint(0.5, 2), tint(-1, 2), tint(0.25, 2)]
    bars = [one for one in panel(figure, "moments").patches if isinstance(one, Rectangle)]
    drawn = [(one.get_x(), one.get_width(), one.get_height()) for one in bars]
    np.testing.assert_allclose(drawn, [(0, 0.5, 2), (0.5, 0.5, -0.5), (1, 0.5, 0.25)])
    behind = [
        (one.get_x(), one.get_x() + one.get_width(), to_hex(one.get_facecolor()))
        for one in panel(figure, "waveform").patches
    ]
    assert behind == [(0, 0.5, tint(2, 2)), (0.5, 1, tint(-0.5, 2)), (1, 1.5, tint(0.25, 2))]
    widths = [one.get_width() for one in panel(figure, "players").patches]
    np.testing.assert_allclose(widths, [0.4, -0.6, 0.5])
    ticks = [label.get_text() for label in panel(figure, "players").get_yticklabels()]
    assert ticks == list(names)
    for kind in ("waveform", "moments", "spectrogram", "pitch", "intensity"):
        assert panel(figure, kind).get_xlim() == pytest.approx((0, 1.5))


def test_pitch_and_intensity_are_where_the_voice_is(owen, clip):
    figure = figures.utterance({"id": "u0", "audio": clip}, owen, "joy", tracker=QUICK)
    times, pitch = panel(figure, "pitch").lines[0].get_data()
    voiced = ~np.isnan(pitch)
    assert times[voiced].max() < 1.1
    np.testing.assert_allclose(pitch[voiced], 120 + 60 * times[voiced], rtol=0.06)
    times, level = panel(figure, "intensity").lines[0].get_data()
    assert level[(times > 0.1) & (times < 0.9)].min() > level[times > 1.2].max() + 40


def test_spectrogram_is_dark_where_the_sound_is():
    rate = 8000
    times = np.arange(rate) / rate
    tone = np.where(times < 0.5, np.sin(2 * np.pi * 1000 * times), np.sin(2 * np.pi * 3000 * times))
    decibels, highest = recording.spectrogram(tone, rate)
    assert highest == 4000
    rows, columns = decibels.shape
    for place, hertz in ((0.25, 1000), (0.75, 3000)):
        loudest = decibels[:, int(place * columns)].argmax()
        assert (loudest + 0.5) / rows * highest == pytest.approx(hertz, abs=highest / rows)
    assert len(np.unique(decibels)) <= recording.LEVELS
    silent, _ = recording.spectrogram(np.zeros(800), rate)
    assert (silent == -recording.DEPTH).all()


def test_outline_keeps_every_peak():
    clip = np.random.default_rng(0).normal(size=5003)
    low, high = recording.outline(clip, 100)
    assert low.min() == clip.min()
    assert high.max() == clip.max()
    assert len(low) == len(high) == 100
    assert [len(part) for part in recording.outline(clip[:3])] == [3, 3]


def test_tiles_are_painted_where_they_lie(found, spans, clip):
    tiles = found(
        [[[0.0, 0.5]] * 2],
        units={
            "audio": (
                [[[1.0, -0.5]] * 2],
                spans(((0, 0.75), (0.75, 1.5)), "seconds", hertz=((0, 2000), (2000, 4000))),
            )
        },
    )
    figure = figures.utterance({"id": "u0", "audio": clip}, tiles, panels=["spectrogram"])
    image = panel(figure, "spectrogram").images[1].get_array()
    rows, columns = image.shape[:2]
    opacity = image[..., 3]
    np.testing.assert_allclose(opacity[: rows // 2, : columns // 2], 0.75)
    np.testing.assert_allclose(opacity[rows // 2 :, columns // 2 :], 0.375)
    assert opacity[rows // 2 :, : columns // 2].max() == 0
    green, purple = image[0, 0], image[-1, -1]
    assert green[1] > green[0]
    assert purple[0] > purple[1]


def test_without_pyworld_the_picture_says_so(owen, clip, monkeypatch):
    def missing(*_):
        raise DependencyError("no pyworld", expected="it", got="none", mend="install it")

    monkeypatch.setattr(recording, "measure", missing)
    figure = figures.utterance({"id": "u0", "audio": clip}, owen)
    assert "pyworld is missing" in panel(figure, "pitch").texts[0].get_text()
    assert np.isfinite(panel(figure, "intensity").lines[0].get_ydata()).all()


def test_what_is_not_there_is_left_out(owen, clip):
    assert kinds(figures.utterance({"id": "u0", "text": "no units"})) == ["words"]
    assert kinds(figures.utterance({"id": "u0", "text": None, "audio": None}, owen)) == [
        "words", "moments",
    ]  # fmt: skip
    short = Audio(torch.zeros(100), 8000)
    figure = draw(figures.utterance({"id": "u0", "audio": short}, owen, panels=["pitch"]))
    assert "too short" in panel(figure, "pitch").texts[0].get_text()


@pytest.mark.parametrize(
    ("sample", "arguments", "message"),
    [
        ({"id": "u0"}, {}, "nothing to draw"),
        ({"text": "a"}, {}, "without an id"),
        ({"id": "u9", "text": "a"}, {"found": True}, "unknown sample"),
        ({"id": "u0", "text": "a"}, {"found": True, "label": "shame"}, "not explained"),
        ({"id": "u0", "text": "a"}, {"panels": ["colours"]}, "unknown panel"),
        ({"id": "u0", "text": "a"}, {"panels": "words"}, "unknown panel"),
        ({"id": "u0", "audio": Audio(torch.tensor([float("nan")] * 900), 8000)}, {}, "NaN"),
    ],
)
def test_what_cannot_be_drawn_is_refused(owen, sample, arguments, message):
    given = {"found": owen} if arguments.get("found") else {}
    with pytest.raises(InputError, match=message):
        figures.utterance(sample, **{**arguments, **given})


def test_words_without_names_are_cut_from_the_text(owen):
    (words, moments) = reading.divisions(owen, 0, "joy", TEXT)
    assert [one.name for one in words.units] == ["참", "잘했다.", "정말"]
    assert [one.name for one in moments.units] == ["0.00–0.50 s", "0.50–1.00 s", "1.00–1.50 s"]
    (words, _) = reading.divisions(owen, 0, "joy", "짧다")
    assert [one.name for one in words.units] == ["짧", "2", "3"]


def test_padding_is_no_player(found, spans):
    one = found(
        [[[1.0, 0], [1, 0]]],
        units={"text": ([[[1.0, 0.0]] * 2], spans(((0, 2), (0, 0)), "characters", ["so"]))},
    )
    (words,) = reading.divisions(one, "u0", "anger")
    assert [unit.name for unit in words.units] == ["so"]


def test_the_users_values_stay_as_they_are(owen, clip):
    before = clip.waveform.clone()
    units = owen.units["audio"].clone()
    sample = {"id": "u0", "text": TEXT, "audio": clip}
    figures.utterance(sample, owen, tracker=QUICK)
    assert torch.equal(clip.waveform, before)
    assert torch.equal(owen.units["audio"], units)
    assert list(sample) == ["id", "text", "audio"]


def test_long_texts_break_into_lines_inside_the_picture(found, spans):
    words = [f"word{place}" for place in range(60)]
    edges = [(8 * place, 8 * place + 6) for place in range(60)]
    one = found(
        [[[60.0, 0], [0, 0]]],
        units={"text": (np.ones((1, 2, 60)), spans(edges, "characters", words))},
    )
    figure = draw(figures.utterance({"id": "u0", "text": " ".join(words)}, one))
    axes = panel(figure, "words")
    rows = {round(text.get_position()[1]) for text in axes.texts if text.get_bbox_patch()}
    assert len(rows) > 3
    whole = figure.bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= whole.x0
        assert box.x1 <= whole.x1


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
@given(st.data())
def test_any_units_are_drawn(found, spans, clip, data):
    value = st.floats(-1e4, 1e4, width=32, allow_subnormal=False) | st.sampled_from(
        [0.0, float("nan")]
    )
    count = data.draw(st.integers(0, 5))
    values = data.draw(st.lists(value, min_size=count, max_size=count))
    unit = data.draw(st.sampled_from(["characters", "seconds", "index"]))
    names = data.draw(st.lists(st.text(max_size=3), min_size=count, max_size=count))
    edges = [(0.1 * place, 0.1 * place + 0.1) for place in range(count)]
    one = found([[[0.0, 0.0]]], ("only",), units={"audio": ([[values]], spans(edges, unit, names))})
    sample = {"id": "u0", "text": "", "audio": clip}
    panel_names = ["words", "waveform", "moments", "players"]
    figure = draw(figures.utterance(sample, one, panels=panel_names))
    if unit == "seconds" and count:
        drawn = [bar.get_height() for bar in panel(figure, "moments").patches]
        np.testing.assert_allclose(drawn, [each for each in values if np.isfinite(each)])


def test_only_the_largest_players_are_drawn(found, spans):
    count = panels.MOST_PLAYERS + 5
    values = np.linspace(0.1, 1, count)
    edges = [(place, place + 1) for place in range(count)]
    one = found(
        [[[0.0, 1.0]] * 2], units={"audio": (np.tile(values, (1, 2, 1)), spans(edges, "index"))}
    )
    figure = figures.utterance({"id": "u0"}, one)
    drawn = [bar.get_width() for bar in panel(figure, "players").patches]
    np.testing.assert_allclose(drawn, values[5:], rtol=1e-6)


def test_numbers_of_a_method_without_a_reference_have_no_unit(owen):
    without = replace(owen, reference=torch.full_like(owen.reference, float("nan")))
    assert {part.unit for part in reading.divisions(owen, 0, "joy")} == {"nats"}
    assert {part.unit for part in reading.divisions(without, 0, "joy")} == {"arbitrary units"}
    (axes,) = figures.for_against(without).axes
    assert "arbitrary units" in axes.get_xlabel()
    assert "arbitrary units" in figures.conflict_map(without).axes[0].get_xlabel()
