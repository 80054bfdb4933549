"""Pictures whose numbers are read back from what was drawn."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from matplotlib.patches import Rectangle

from modalxai.errors import InputError
from modalxai.metrics import confusion
from modalxai.report import figures
from modalxai.report.figures import fonts, palette
from modalxai.report.figures.conflict_map import points, quadrants
from modalxai.report.figures.for_against import weigh
from modalxai.report.figures.palette import AGAINST, COLOURS, FOR, INK, READABLE, SHAPES

HOSTILE = (
    "<script>alert(1)</script>",
    "$\\frac{",
    "a\nb\x00",
    "half \ud83d",
    "분노",
    "x" * 400,
    "",
)


def bars(axes):
    """(left, width, middle) of every drawn bar."""
    drawn = [one for one in axes.patches if isinstance(one, Rectangle)]
    return [(one.get_x(), one.get_width(), one.get_y() + one.get_height() / 2) for one in drawn]


def draw(figure):
    """Draw for real; a warning (a letter that no font has, say) is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    return figure


def without_hangul(monkeypatch):
    """As if no installed font had Korean letters."""
    whole = fonts.covered
    monkeypatch.setattr(
        fonts,
        "covered",
        lambda path, letters: {c for c in whole(path, letters) if not 0xAC00 <= c <= 0xD7A3},
    )
    fonts._families.cache_clear()
    monkeypatch.setattr(fonts, "_families", fonts._families.__wrapped__)


# --- for and against ----------------------------------------------------------------------------


def test_bars_for_and_against_are_as_long_as_the_numbers(found):
    phi = np.array([[[2.1, -1.3, -0.2], [0.5, 0.25, 0.75], [-1.0, -0.5, 0.0]]])
    names, modalities = ("anger", "joy", "fear"), ("audio", "text", "face")
    (axes,) = draw(figures.for_against(found(phi, names, modalities))).axes
    drawn = bars(axes)
    # By hand: to the right from 0 upwards, to the left from 0 downwards, in the model's order.
    wanted = [
        (0, 2.1, 0), (0, -1.3, 0), (-1.3, -0.2, 0),
        (0, 0.5, 1), (0.5, 0.25, 1), (0.75, 0.75, 1),
        (0, -1.0, 2), (-1.0, -0.5, 2),
    ]  # fmt: skip
    np.testing.assert_allclose(drawn, wanted, atol=1e-12)
    nets = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(nets, [[0.6, 0], [1.5, 1], [-1.5, 2]], atol=1e-12)
    said = [text.get_text() for text in axes.texts]
    # 1 - 0.6 / 3.6, 1 - 1.5 / 1.5, 1 - 1.5 / 1.5
    assert said[:6] == ["+0.60", "0.83", "+1.50", "0.00", "-1.50", "0.00"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(names)
    assert "nats" in axes.get_xlabel()


def test_a_missing_modality_has_no_bar_and_nothing_to_cancel_is_a_dash(found):
    phi = [[[0.01, -0.02], [1.0, 0.0]]]
    one = found(phi, present=[[True, False]])
    assert math.isnan(weigh(one)[0].values["audio"])
    assert math.isnan(weigh(one)[0].cancellation)
    assert weigh(one)[1].cancellation == 0
    (axes,) = figures.for_against(one).axes
    assert len(bars(axes)) == 2
    assert "–" in [text.get_text() for text in axes.texts]


def test_samples_are_found_by_id_and_unknown_ones_are_refused(found):
    one = found([[[1.0, 0], [0, 0]], [[3.0, 0], [0, 0]]], ids=("a", "b"))
    for sample in ("b", 1):
        (axes,) = figures.for_against(one, sample).axes
        assert bars(axes)[0][1] == 3
    for sample in ("c", 2, -1, True):
        with pytest.raises(InputError, match="unknown sample"):
            figures.for_against(one, sample)


# --- conflict map -------------------------------------------------------------------------------


def test_a_point_lies_where_the_evidence_is(found):
    phi = np.array(
        [[[2, 1], [-2, -1]], [[-1, -4], [1.5, -1]], [[0, 0], [-1, 3]], [[-1, -2], [-4, -3]]]
    )
    one = found(phi)
    # predicted: anger (3 > -3), joy (0.5 > -5), joy (2 > 0), anger (-3 > -7)
    (axes,) = draw(figures.conflict_map(one)).axes
    drawn = {
        group.get_label(): np.asarray(group.get_offsets()).tolist() for group in axes.collections
    }
    assert drawn == {"anger": [[2, 1], [-1, -2]], "joy": [[1.5, -1], [-1, 3]]}
    names = quadrants(("text", "audio"))
    assert [names[place] for place in points(one).quadrant()] == [
        "both for", "text for, audio against", "audio for, text against", "both against",
    ]  # fmt: skip
    written = {text.get_text(): text.get_position() for text in axes.texts}
    assert set(written) == set(names)
    right, up = ({name for name in names if written[name][axis] > 0.5} for axis in (0, 1))
    assert right == {"both for", "text for, audio against"}
    assert up == {"both for", "audio for, text against"}
    assert axes.get_xlabel().startswith("text")
    assert axes.get_ylabel().startswith("audio")


def test_a_map_of_one_label_and_of_another_pair(found):
    phi = np.arange(12, dtype=float).reshape(2, 2, 3)
    one = found(phi, modalities=("text", "audio", "face"))
    (axes,) = figures.conflict_map(one, ("face", "text"), "anger").axes
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[2, 0], [8, 6]])
    for pair in (("face",), ("face", "face"), ("face", "hands")):
        with pytest.raises(InputError, match="no two modalities"):
            figures.conflict_map(one, pair)
    with pytest.raises(InputError, match="not explained"):
        figures.conflict_map(one, label="shame")


def test_who_lacks_a_modality_is_left_out_and_counted(found):
    phi = np.ones((4, 2, 2))
    phi[3] = np.nan
    one = found(phi, present=[[True, True], [False, True], [True, False], [True, True]])
    (axes,) = draw(figures.conflict_map(one)).axes
    assert sum(len(group.get_offsets()) for group in axes.collections) == 1
    assert axes.get_title(loc="left").startswith("1 utterances; 3 ")
    assert points(one).quadrant().tolist() == [0, -1, -1, -1]


def test_an_axis_is_no_quadrant(found):
    assert points(found([[[0.0, 1.0], [0, 0]]]), label="anger").quadrant().tolist() == [-1]


def test_labels_that_are_not_categorical_are_placed_by_the_most_evidence(found):
    one = found([[[0.1, 0.1], [-3, 1]]], ("calm", "tense"), kind="binary")
    assert points(one).column.tolist() == [1]


# --- confusion ----------------------------------------------------------------------------------


def test_cells_hold_rates_and_counts_and_are_as_dark_as_the_rate():
    truth = ["a"] * 4 + ["b"] * 2
    said = ["a", "a", "a", "b", "b", "b"]
    (axes,) = draw(figures.confusion(confusion(truth, said, classes=["a", "b", "c"]))).axes
    cells = {text.get_position(): text.get_text().split("\n") for text in axes.texts}
    assert cells[0, 0] == ["0.75", "3"]  # (column, row)
    assert cells[1, 0] == ["0.25", "1"]
    assert cells[1, 1] == ["1.00", "2"]
    assert cells[0, 2] == ["–", "0"]  # never true: no rate
    shades = {
        (round(one.get_x() + 0.5), round(one.get_y() + 0.5)): sum(one.get_facecolor()[:3])
        for one in axes.patches
    }
    assert shades[1, 1] < shades[0, 0] < shades[1, 0] < shades[2, 0]
    assert shades[2, 2] == 3


# --- colours and fonts --------------------------------------------------------------------------


def test_contrast_is_that_of_the_standard():
    assert palette.contrast("#ffffff", "#000000") == pytest.approx(21)
    assert palette.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # as published


@given(st.floats(), st.floats(0, 10))
def test_ink_is_readable_on_every_tint(value, largest):
    assert palette.contrast(INK, palette.tint(value, largest)) >= READABLE


def test_tints_tell_the_sign_and_the_size():
    assert palette.tint(0, 1) == palette.tint(math.nan, 1) == palette.tint(1, 0) == "#ffffff"
    whole = [palette.tint(value, 1) for value in (0.2, 0.6, 1, 4)]
    assert whole[2] == whole[3]
    light = [palette.contrast(one, "#000000") for one in whole[:3]]
    assert light == sorted(light, reverse=True)
    assert palette.tint(1, 1) != palette.tint(-1, 1)


def test_letters_on_every_bar_and_cell_are_readable():
    for colour in (*COLOURS, FOR, AGAINST):
        assert palette.contrast(palette.letters_on(colour), colour) >= READABLE
    from modalxai.report.figures.confusion import _shade

    for rate in np.linspace(0, 1, 101):
        shade = _shade(float(rate))
        assert palette.contrast(palette.letters_on(shade), shade) >= READABLE
    for one in (palette.SOFT, INK):
        assert palette.contrast(one, palette.PAPER) >= READABLE


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(found):
    one = found([[[2.0, 1], [-1, 0]]], ("_calm", "joy"), ("_words", "voice"))
    for figure, name in (
        (figures.for_against(one), "_words"),
        (figures.conflict_map(one), "_calm"),
    ):
        (legend,) = draw(figure).legends
        assert name in [text.get_text().strip() for text in legend.get_texts()]


def test_labels_differ_in_colour_or_shape():
    looks = {(COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)]) for i in range(42)}
    assert len(looks) == 42


def test_what_no_font_has_is_numbered_and_the_picture_says_so(found, monkeypatch):
    without_hangul(monkeypatch)
    figure = figures.for_against(found([[[1.0, 0], [0, 1.0]]], ("분노", "joy")))
    assert [one.get_text() for one in draw(figure).axes[0].get_yticklabels()] == ["line 1", "joy"]
    assert figure.get_supxlabel() == fonts.MISSING
    assert figures.for_against(found([[[1.0, 0], [0, 1.0]]])).get_supxlabel() == ""


def test_korean_is_written_where_a_font_is_installed(found):
    written = fonts.write(["분노", "joy"])
    if written.missing:
        pytest.skip("no font with Hangul is installed")
    assert written.texts == ["분노", "joy"]
    assert len(written.families) > 1
    draw(figures.for_against(found([[[1.0, 0], [0, 1.0]]], ("분노", "기쁨"))))


def test_importing_the_pictures_loads_no_matplotlib_and_looks_for_no_font():
    source = (
        "import modalxai.report.figures, sys\n"
        "assert not {'matplotlib', 'PIL', 'scipy.signal', 'pyworld'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


# --- weird input --------------------------------------------------------------------------------


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # drawing is too slow to look for the least example
)
@given(st.data())
def test_any_numbers_and_names_are_drawn(found, data):
    count, sides = data.draw(st.integers(1, 3)), data.draw(st.integers(2, 3))
    names = data.draw(
        st.lists(
            st.sampled_from(HOSTILE) | st.text(max_size=4),
            min_size=count,
            max_size=count,
            unique=True,
        )
    )
    number = st.floats(-1e6, 1e6) | st.sampled_from([0.0, math.nan, 1e-5])
    values = data.draw(st.lists(number, min_size=2 * count * sides, max_size=2 * count * sides))
    phi = np.reshape(values, (2, count, sides))
    one = found(phi, names, tuple(f"<m{place}>" for place in range(sides)))
    draw(figures.conflict_map(one))
    (axes,) = draw(figures.for_against(one, 1)).axes
    finite = [value for value in phi[1].ravel() if math.isfinite(value) and value]
    drawn = [width for _, width, _ in bars(axes)]
    np.testing.assert_allclose(sorted(drawn), sorted(finite), rtol=1e-6, atol=1e-6)
    assert torch.equal(one.totals.isnan(), torch.as_tensor(phi).isnan())
