from __future__ import annotations

import math
import re
import subprocess
import sys
import warnings
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from modalxai.report import Report
from modalxai.report.figures import fonts
from modalxai.report.text import percent, plain, signed

HOSTILE = "<script>alert(1)</script>"


class _Page(HTMLParser):
    """Elements, their attributes, and the text a reader sees."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_hostile_texts_are_text(corpus):
    texts = [HOSTILE, "' onload='x", '"><img src=x>', "{{ 7 * 7 }}"] * 10
    explanation = corpus(
        samples=40, text=texts, speaker=[f"<b>s{i % 5}</b>" for i in range(40)],
        names=["<i>joy</i>", "$anger_x$", "a & b"],
    )  # fmt: skip
    page = _Page(Report(explanation, samples_shown=10, repeats=20).html())
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "link", "form", "img", "a", "foreignobject"}
    assert HOSTILE in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "<i>joy</i>" in page.text
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


def test_page_asks_for_nothing(corpus):
    source = Report(corpus(), repeats=20, samples_shown=3).html()
    assert not re.search(r"https?:|//[a-z]", source)
    assert "@import" not in source
    assert set(re.findall(r"url\((.)", source)) == {"#"}
    for _, attrs in _Page(source).elements:
        assert not set(attrs) & {"src", "srcset", "data", "action", "xlink:href", "ping"}
        assert attrs.get("href", "#").startswith("#")


def test_page_tells_what_a_reader_needs(corpus):
    text = " ".join(_Page(Report(corpus(), repeats=20, samples_shown=3).html()).text)
    for needed in (
        "Shares", "Evidence, with its sign", "Is there anything to explain?",
        "Do they say the same?", "Some utterances", "What these numbers do not say", "Limits",
        "absent", "one removal", "UAR", "modalxai 0", "clr",
    ):  # fmt: skip
        assert needed in text


def test_page_and_table_show_the_shares_and_the_planted_truth(corpus):
    gold = {"label0": {"text": 0.31, "audio": 0.69}}
    report = Report(corpus(), repeats=50, gold=gold)
    row = report.shares()[0]
    for page in (report.table(), report.html()):
        assert percent(row.share["audio"]) in page
        assert "31 % / 69 %" in page
    assert "[" + f"{100 * row.low['audio']:.0f}, {100 * row.high['audio']:.0f}" in report.table()


def test_conflict_is_counted(make):
    table = np.zeros((4, 4, 2))
    table[1, :3, 0] = 4  # text says anger three times
    table[2, :3, 1] = [6, 2, 5]  # audio says joy, and loses once
    table[1, 3, 1] = table[2, 3, 1] = 3
    table[3] = table[1] + table[2]
    report = Report(make(table, text=list("abcd")), truth=None, cluster=None)
    (pair,) = report.conflict()
    assert (pair.n, pair.disagreeing, pair.first_wins) == (4, 3, 1)
    assert pair.decision.value == pytest.approx(((4 - 6) + (4 - 2) + (4 - 5)) / 3)
    assert [dispute.row for dispute in pair.strongest] == [0, 2, 1]
    assert (pair.strongest[0].first_says, pair.strongest[0].second_says) == ("anger", "joy")
    assert "in 3 of 4 utterances" in report.html()
    assert "text wins 1 of these" in report.html()


@pytest.mark.parametrize("value", [float("nan")])
def test_nan_is_never_a_number(value):
    assert not re.search(r"\d|nan", percent(value) + signed(value) + plain(value))


def test_rounding_to_nothing_has_no_sign():
    assert signed(-0.001) == "0.00"
    assert plain(-0.0) == "0.00"
    assert signed(-0.011) == "-0.01"


def test_korean_labels_and_texts_render(corpus, tmp_path):
    explanation = corpus(samples=30, names=["분노", "기쁨", "슬픔"], text=["참 잘했다."] * 30)
    report = Report(explanation, repeats=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.save_html(tmp_path / "new" / "report.html")
    source = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "분노" in source
    assert "참 잘했다." in source
    assert "분노" in report.table()


def test_labels_that_no_font_can_write_are_numbered_without_a_warning(corpus, monkeypatch):
    whole = fonts.covered
    monkeypatch.setattr(
        fonts,
        "covered",
        lambda path, letters: {c for c in whole(path, letters) if not 0xAC00 <= c <= 0xD7A3},
    )
    monkeypatch.setattr(fonts, "_families", fonts._families.__wrapped__)
    report = Report(corpus(samples=30, names=["분노", "joy", "슬픔"]), repeats=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = report.figure()
        figure.canvas.draw()
    ticks = [label.get_text().splitlines()[0] for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["line 1", "joy", "line 3"]
    assert figure.get_supxlabel() == fonts.MISSING
    assert "No installed font" in report.html()


def test_figure_leaves_no_global_state(corpus):
    source = (
        "import matplotlib, sys\n"
        "before = matplotlib.rcParams.copy()\n"
        "from modalxai.report import figures\n"
        "figures.shares([], ('text', 'audio'), {}, 0.95)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert before == matplotlib.rcParams.copy()\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


def test_report_is_imported_without_what_only_pages_need():
    source = (
        "import modalxai.report, sys\n"
        "assert not {'matplotlib', 'jinja2', 'scipy.stats'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


def test_figure_draws_shares_whiskers_and_both_signs(corpus):
    report = Report(corpus(), repeats=50)
    left, right = report.figure().axes
    rows = report.shares()
    widths = [round(bar.get_width(), 6) for bar in left.patches]
    for row in rows:
        assert round(row.share["text"], 6) in widths
    ends = [segment for group in left.collections for segment in group.get_segments()]
    assert len(ends) == len(rows)
    np.testing.assert_allclose([x for x, _ in ends[0]], [rows[0].low["text"], rows[0].high["text"]])
    assert [round(bar.get_width(), 6) for bar in right.patches] == [
        round(value, 6) for row in rows for value in row.evidence.values()
    ]


def test_equal_reports_are_equal_files(corpus):
    assert Report(corpus(), repeats=20, samples_shown=2).html() == (
        Report(corpus(), repeats=20, samples_shown=2).html()
    )


def test_broken_unicode_and_control_characters_are_written(corpus, tmp_path):
    texts = ["half \ud83d pair", "bell \x07\x00", "line\nbreak"] * 10
    report = Report(
        corpus(samples=30, text=texts, names=["a\nb", "c", "d"]), samples_shown=4, repeats=20
    )
    report.save_html(tmp_path / "r.html")
    source = (tmp_path / "r.html").read_bytes()
    assert b"\x00" not in source
    assert len([line for line in report.table().splitlines() if line.startswith("a b")]) == 1


@pytest.mark.parametrize("shown", [0, 3])
def test_utterances_shown_are_as_many_as_asked(corpus, shown):
    texts = [f"sentence {row}" for row in range(30)]
    report = Report(corpus(samples=30, text=texts, weight=0.5), samples_shown=shown, repeats=20)
    page = report.html()
    section = " ".join(_Page(page).text).partition("Some utterances")[2]
    # Once in the table, once where the utterance is shown by itself.
    assert sorted(Counter(re.findall(r"sentence \d+", section)).values()) == [2] * shown
    assert page.count('<details class="one"') == shown


def test_single_sample_and_labels_without_classes_make_a_page(make):
    from modalxai.types import labels

    kinds = labels("valence", kind="dimensional") + labels("sarcastic", kind="binary")
    table = np.zeros((2, 1, 2))
    table[1] = [[0.4, 2.0]]
    report = Report(make(table, names=kinds, modalities=("audio",), truth=[[0.5, 1]]), cluster=None)
    page = report.html()
    assert "100 %" in page
    assert math.isnan(report.shares()[0].low["audio"])
    assert "valence" in report.table()
