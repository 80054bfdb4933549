"""The page: nothing runs or leaves it, everybody can read it, and it stays small."""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
from collections import Counter
from functools import lru_cache
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalxai.errors import InputError
from modalxai.report import Report, figures
from modalxai.report.figures.palette import READABLE, contrast
from modalxai.report.lang import language
from modalxai.report.recordings import playable
from modalxai.report.svg import _path, _smaller, _value, inline, share
from modalxai.types import Audio, Spans

VOID = {"meta", "br", "path", "rect", "use", "image", "img"}
BAD = (
    "<script>alert(1)</script>", "</svg><b onload=x>", "\"><img src=x onerror=y>", "' x='y",
    "$\\frac{a}$", "]]> --> &amp; {{ 7 * 7 }}", "javascript:alert(1)", "\x00\x07\ud83d",
    "url(https://a.example)", "분노 <i>",
)  # fmt: skip


class Page(HTMLParser):
    """Elements as (tag, attributes, text directly inside), in order; nesting is checked."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict, list[str]]] = []
        self.elements: list[tuple[str, dict, list[str]]] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()
        assert [tag for tag, *_ in self.open] == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open:
            self.open[-1][2].append(data)

    def all(self, *tags):
        return [element for element in self.elements if element[0] in tags]


@pytest.fixture
def rich(corpus, found):
    """A report of hostile names with units and recordings for two of its samples."""
    ids = [f"u{row}" for row in range(24)]
    texts = [BAD[row % len(BAD)] for row in range(24)]
    names = ["<i>joy</i>", "$anger_x$", "a & b"]
    explanation = corpus(samples=24, classes=3, names=names, text=texts, speakers=8)
    report = Report(explanation, repeats=10, samples_shown=2)
    both = [ids[3], ids[7]]
    edges = torch.tensor([[0.0, 0.2, 0.4]] * 2)
    spans = Spans(edges, edges + 0.2, "seconds")
    words = Spans(edges * 10, edges * 10 + 2, "characters", names=((BAD[0], BAD[2], "분노"),) * 2)
    values = np.linspace(-1, 1, 18).reshape(2, 3, 3)
    owen = found(
        np.stack([values.sum(-1)] * 2, -1), names, ids=both,
        units={"text": (values, words), "audio": (values, spans)},
    )  # fmt: skip
    players = Spans(edges * 5, edges * 5 + 1, "index", names=((BAD[1], BAD[4], "rate"),) * 2)
    other = found(
        np.stack([values.sum(-1)] * 2, -1), names, ids=both, units={"audio": (values, players)},
        method="prosody",
    )  # fmt: skip
    sound = Audio(torch.sin(torch.arange(4800) / 9), 8000)
    units = {"<u>Owen</u>": owen, "Prosody": other}
    return report, {"recordings": dict.fromkeys(both, sound), "units": units}


@lru_cache(maxsize=1)
def _rendered(key):
    return key.report.html(**key.more)


class _Always:
    """Equal to every other: the inputs are the same in every test, so the page is made once."""

    def __init__(self, report, more):
        self.report, self.more = report, more

    def __eq__(self, other):
        return isinstance(other, _Always)

    def __hash__(self):
        return 0


@pytest.fixture
def page(rich):
    return _rendered(_Always(*rich))


def test_every_text_of_the_users_is_text(page):
    found = Page(page)
    tags = {tag for tag, *_ in found.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "form", "a", "u", "img"}
    for tag, attributes, _ in found.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert not (tag in ("b", "i", "u") and "x" in attributes)
    whole = "".join(found.text)
    for text in ("<i>joy</i>", "$anger_x$", BAD[0], BAD[2], "<u>Owen</u>"):
        assert text in whole
    assert "49" not in re.findall(r"\{\{.*?\}\}|(?<=&amp; )49", page)
    assert "\x00" not in page
    assert "\x07" not in page


def test_nothing_is_fetched_and_the_policy_forbids_it(page):
    found = Page(page)
    (policy,) = (
        attributes["content"]
        for _, attributes, _ in found.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(part.split(maxsplit=1) for part in policy.split("; "))
    assert rules == {
        "default-src": "'none'", "style-src": "'unsafe-inline'", "img-src": "data:",
        "media-src": "data:", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    for tag, attributes, _ in found.elements:
        assert not set(attributes) & {"srcset", "data", "action", "poster", "xlink:href", "ping"}
        if "src" in attributes:
            assert tag == "audio"
            assert attributes["src"].startswith("data:audio/flac;base64,")
        href = attributes.get("href", "#")
        assert href.startswith(("#", "data:image/png;base64,"))
        assert not re.search(r"url\((?!#)", attributes.get("style") or "")
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    assert not re.search(r"url|@import|@font-face|http", style)
    assert "xmlns" not in page


def test_sound_is_in_the_page_only_when_asked_for(rich, page):
    report, more = rich
    plain = report.html()
    assert "<audio" not in plain
    assert "media-src" not in plain
    (first, second) = (element[1] for element in Page(page).all("audio"))
    assert "controls" in first
    assert first["preload"] == "none"
    assert first["aria-label"].startswith("Recording u")
    data = base64.b64decode(first["src"].partition(",")[2])
    heard, rate = soundfile.read(io.BytesIO(data))
    assert rate == 8000
    (wanted,) = {id(one): one for one in more["recordings"].values()}.values()
    np.testing.assert_allclose(heard, wanted.waveform.numpy(), atol=1 / 32000)
    assert second["src"] == first["src"]


def test_what_is_too_loud_is_made_quieter_and_not_clipped():
    loud = Audio(3 * torch.sin(torch.arange(900) / 7), 16_000)
    heard, _ = soundfile.read(io.BytesIO(base64.b64decode(playable(loud).partition(",")[2])))
    np.testing.assert_allclose(heard, loud.waveform.numpy() / 3, atol=2e-3)


def test_words_are_coloured_and_numbered(rich, page):
    words = [one for one in Page(page).all("span") if "word" in (one[1].get("class") or "").split()]
    assert len(words) == 6
    assert Counter("against" in one[1]["class"] for one in words)[True] in range(1, 6)
    numbers = re.findall(r"<small>([^<]*)</small>", page)
    for (_, attributes, _), number in zip(words, numbers, strict=True):
        side = "against" if number.startswith("-") else "for"
        assert attributes["class"].split() == ["word", side] or float(number) == 0
    report, more = rich
    owen = more["units"]["<u>Owen</u>"]
    found = Page(page)
    heads = ["".join(part for part in element[2]) for element in found.all("h4")]
    assert len(heads) == 2
    columns = [report.explanation.labels.index(label) for label in report.explanation.labels]
    wanted = {
        tuple(f"{value:+.2f}" for value in owen.units["text"][row, column].tolist())
        for row, column in itertools.product(range(2), columns)
    }
    assert tuple(numbers[:3]) in wanted
    assert tuple(numbers[3:]) in wanted


def test_every_picture_has_a_title_a_description_and_its_own_ids(page):
    found = Page(page)
    pictures = found.all("svg")
    # Shares, confusion, map, and for each of two utterances its balance and its recording.
    assert len(pictures) == 7
    ids = [attributes["id"] for _, attributes, _ in found.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes, _ in pictures:
        assert attributes["role"] == "img"
        assert set(attributes["aria-labelledby"].split()) <= set(ids)
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    assert {one or other for one, other in references} <= set(ids)


def test_tables_have_captions_and_scopes_and_scroll_by_keyboard(page):
    for table in re.findall(r"<table>.*?</table>", page, re.S):
        assert table.startswith("<table>\n<caption>")
        for attributes, inside in re.findall(r"<th(?=[ >])([^>]*)>(.*?)</th>", table, re.S):
            assert re.search(r'scope="(col|row)"', attributes)
            assert re.sub(r"<[^>]*>", "", inside).strip()
    found = Page(page)
    boxes = [
        attributes
        for _, attributes, _ in found.elements
        if set((attributes.get("class") or "").split()) & {"scroll", "strip"}
    ]
    assert len(boxes) == page.count("<table>") + page.count("<svg")
    for attributes in boxes:
        assert attributes["tabindex"] == "0"
        assert attributes["role"] == "region"
        assert attributes["aria-label"].strip()


def test_language_is_said(page):
    found = Page(page)
    assert found.all("html")[0][1]["lang"] == "en"
    said = {"".join(text): attributes.get("lang") for _, attributes, text in found.all("bdi")}
    assert said["분노"] == "ko"
    assert said["<i>joy</i>"] is None
    assert language("참") == language("\u110e\u1161\u11b7") == "ko"
    assert language("はい") == "ja"
    assert language("42, joy") is language("") is None


def test_headings_descend_one_by_one(page):
    levels = [int(tag[1]) for tag, *_ in Page(page).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def _sheet():
    source = files("modalxai.report").joinpath("template.html.j2").read_text("utf-8")
    style = re.search(r"<style>(.*?)</style>", source, re.S)[1]
    variables = dict(re.findall(r"--(\w+): (#\w+)", style))
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"@media[^{]*\{|\}\s*\}", "}", style))

    def colour(value):
        name = re.fullmatch(r"var\(--(\w+)\)", value)
        value = variables[name[1]] if name else value
        return value if len(value) == 7 else "#" + "".join(2 * one for one in value[1:])

    inks, papers, pairs = set(), set(), []
    for _, body in rules:
        ink = re.search(r"(?:^|[ ;])color: ([^;]+)", body)
        paper = re.search(r"(?:^|[ ;])background: ([^;]+)", body)
        if ink and paper:
            pairs.append((colour(ink[1]), colour(paper[1])))
        elif ink:
            inks.add(colour(ink[1]))
        elif paper:
            papers.add(colour(paper[1]))
    return inks | {colour(variables["ink"])}, papers | {colour(variables["wash"])}, pairs


def test_letters_are_readable_on_every_background_of_the_page():
    inks, papers, pairs = _sheet()
    assert len(inks) >= 2
    assert len(papers) >= 3
    assert len(pairs) >= 2
    papers.discard("#1d2733")  # the frame of a bar, which holds no letters
    for ink, paper in [*itertools.product(inks, papers), *pairs]:
        assert contrast(ink, paper) >= READABLE, (ink, paper)


def test_letters_in_pictures_are_readable(page):
    rules = dict(re.findall(r"\.(s\d+)\{([^}]*)\}", page))
    said = re.findall(r'<text [^>]*?(class|style)="([^"]*)"', page)
    styles = [rules[value] if kind == "class" else value for kind, value in said]
    assert len(styles) == page.count("<text")
    # What says no colour is black.
    fills = {fill for style in styles for fill in re.findall(r"fill:(#\w{6})", style)}
    assert fills
    # White and black stand on bars and cells, see test_figures.
    for fill in fills - {"#ffffff", "#000000"}:
        assert contrast(fill, "#ffffff") >= READABLE


def test_numbers_of_the_pictures_are_in_tables(rich, page):
    report, _ = rich
    shown = re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    for row in report.shares():
        assert f"{100 * row.share['text']:.0f} %" in shown
    table = re.search(r"<caption>How often each true label.*?</table>", shown, re.S)[0]
    counts = [int(one) for one in re.findall(r'class="number">(\d+)<div', table)]
    assert sum(counts) == 24
    table = re.search(r"<caption>Utterances by sign.*?</table>", shown, re.S)[0]
    assert sum(int(one) for one in re.findall(r'class="number">(\d+)<', table)) == 24


@pytest.mark.parametrize("with_units", [False, True])
def test_a_hundred_utterances_stay_small(corpus, found, with_units):
    names = ["neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust"]
    text = "참 잘했다, 정말로 그렇게 생각해. 오늘은 비가 많이 온다."
    explanation = corpus(samples=100, classes=7, names=names, text=[text] * 100)
    more = {}
    if with_units:
        words = text.split()
        values = np.random.default_rng(0).normal(size=(100, 7, len(words)))
        starts = torch.arange(len(words)).expand(100, -1).float()
        spoken = Spans(3 * starts, 3 * starts + 2, "characters", names=(tuple(words),) * 100)
        heard = Spans(starts / 2, starts / 2 + 0.5, "seconds")
        sums = np.stack([values.sum(-1)] * 2, -1)
        units = {"text": (values, spoken), "audio": (values, heard)}
        more = {"units": {"words and moments": found(sums, names, units=units)}}

    def size(shown):
        report = Report(explanation, repeats=10, samples_shown=shown)
        return len(report.html(**more).encode())

    # An utterance more costs what the ones before cost: drawing few tells what a hundred would.
    few, more_of_them = size(2), size(5)
    hundred = few + (more_of_them - few) / 3 * 98
    assert hundred < (1_500_000 if with_units else 1_100_000)


def test_many_points_are_pixels(found):
    phi = np.random.default_rng(0).normal(size=(1500, 2, 2))
    drawn = inline(figures.conflict_map(found(phi)), "map", "t", "d")
    assert len(drawn) < 250_000
    assert "<image" in drawn


def test_equal_inputs_are_equal_pages(rich, page):
    report, more = rich
    assert report.html(**more) == page


def test_samples_serve_as_recordings(rich):
    report, more = rich
    samples = [{"id": name, "sound": one} for name, one in more["recordings"].items()]
    assert report.html(recordings=samples).count("<audio") == 2


def test_only_those_with_recordings_are_shown(rich):
    report, more = rich
    source = report.html(recordings=more["recordings"])
    assert "from those with a recording" in source
    section = source.partition('<details class="one"')[2]
    assert set(re.findall(r"Recording (u\d+)", section)) == set(more["recordings"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recordings": {"nobody": 1}}, "recordings of none"),
        ({"recordings": [1]}, "belong to no sample"),
        ({"units": {"a": 1}}, "no results by title"),
        ({"units": 3}, "no results by title"),
        ({"recordings": {"u0": Audio(torch.tensor([float("inf")] * 99), 8000)}}, "NaN or infinite"),
    ],
)
def test_wrong_recordings_and_units_are_refused(rich, arguments, message):
    with pytest.raises(InputError, match=message):
        rich[0].html(**arguments)


def test_units_of_other_samples_are_refused(rich, found):
    with pytest.raises(InputError, match="none of the report's samples"):
        rich[0].html(units={"Owen": found([[[1.0, 0], [0, 0]]], ids=["x"])})


def test_a_label_that_was_not_explained_is_said(rich, found, spans):
    values = found(
        [[[1.0, 0.0]]], ("other",), ids=["u3"],
        units={"text": ([[[1.0]]], spans(((0, 2),), "characters"))},
    )  # fmt: skip
    assert "was not explained" in rich[0].html(units={"Owen": values})


# --- pictures inside the page -------------------------------------------------------------------


def test_an_inlined_picture_keeps_its_shapes_and_letters_only(found):
    figure = figures.for_against(found([[[1.0, -2.0], [0.5, 0]]], ("</text><script>", "joy")))
    figure.axes[0].patches[0].set_url("javascript:alert(1)")
    figure.axes[0].set_gid('a b"><script>')
    drawn = inline(figure, "one", "<title>", "a & b")
    assert drawn.startswith("<svg ")
    assert drawn.endswith("</svg>")
    tags = set(re.findall(r"<(\w+)", drawn))
    assert tags <= {"svg", "title", "desc", "g", "path", "text", "use", "defs", "clipPath", "rect"}
    assert "javascript" not in drawn
    assert "font-family" not in drawn
    assert "&lt;title&gt;" in drawn
    assert "&lt;/text&gt;" in drawn
    assert set(re.findall(r'id="([^"]*)"', drawn)) >= {"one-title", "one-desc"}


def test_an_inlined_bar_is_as_long_as_the_number(found):
    drawn = inline(figures.for_against(found([[[1.0, -2.0], [0.5, 0.0]]])), "one", "t", "d")
    paths = re.findall(r'<path d="([^"]*)"[^>]*fill="#(?:0072b2|e69f00)"', drawn)
    widths = []
    for path in paths:
        xs, _ = zip(*_points(path), strict=True)
        widths.append(max(xs) - min(xs))
    # The two of the legend come last. Every end is rounded to a tenth.
    np.testing.assert_allclose(np.array(widths[:3]) / widths[0], [1, 2, 0.5], atol=0.3 / widths[0])


def _points(path):
    """Every point of a path, by the grammar of SVG and none of our own shortcuts."""
    tokens = re.findall(r"[MhvlcqzLCQ]|-?(?:\d+\.?\d*|\.\d+)", path)
    points, at, start, command = [], (0.0, 0.0), (0.0, 0.0), ""
    while tokens:
        if tokens[0].isalpha():
            command = tokens.pop(0)
        if command == "z":
            at = start
            continue
        count = {"h": 1, "v": 1, "c": 6, "q": 4, "C": 6, "Q": 4}.get(command, 2)
        numbers, tokens = [float(one) for one in tokens[:count]], tokens[count:]
        if command in "hv":
            numbers = [numbers[0], 0.0] if command == "h" else [0.0, numbers[0]]
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command.islower():
            pairs = [(x + at[0], y + at[1]) for x, y in pairs]
        points += pairs
        at = pairs[-1]
        start = at if command == "M" else start
    return points


place = st.floats(-700, 700).map(lambda value: round(value, 3))


@given(
    st.lists(
        st.tuples(st.sampled_from("LLLCQz"), st.lists(place, min_size=6, max_size=6)), max_size=12
    ),
    st.tuples(place, place),
)
def test_a_short_path_goes_where_the_long_one_went(steps, first):
    longer = f"M {first[0]} {first[1]}"
    wanted = [first]
    for command, numbers in steps:
        count = {"L": 2, "Q": 4, "C": 6, "z": 0}[command]
        longer += " ".join(["", command, *map(str, numbers[:count])])
        wanted += zip(numbers[:count:2], numbers[1:count:2], strict=True)
    shorter = _path(longer)
    assert len(shorter) <= len(longer)
    found = _points(shorter)
    # Only what does not move is left out.
    kept = [one for one in wanted if any(math.dist(one, two) < 0.1 for two in found)]
    assert len(kept) == len(wanted)
    left = iter(wanted)  # which is used up: the order is the same
    assert all(any(math.dist(one, two) < 0.1 for two in left) for one in found)


def test_no_error_adds_up_along_a_path():
    xs = np.cumsum(np.full(3000, 0.1333))
    longer = "M 0 0 " + " ".join(f"L {x:.6f} {np.sin(x):.6f}" for x in xs)
    found = np.array(_points(_path(longer)))
    assert abs(found[-1, 0] - xs[-1]) < 0.051
    assert np.abs(found[1:, 1] - np.sin(found[1:, 0])).max() < 0.12


def test_what_pictures_share_is_said_once_and_lost_nowhere(found):
    drawn = [
        inline(figures.for_against(found([[[a, -2.0], [0.5, 0.0]]])), f"p{a}", "t", 'a style="b"')
        for a in range(3)
    ]
    shared, rules = share(drawn)
    styles = dict(re.findall(r"\.(s\d+)\{([^}]*)\}", rules))
    assert len(set(styles.values())) == len(styles) > 3
    back = [
        re.sub(r' class="(s\d+)"', lambda one: f' style="{styles[one[1]]}"', one) for one in shared
    ]
    assert back == drawn
    assert sum(map(len, shared)) + len(rules) < 0.8 * sum(map(len, drawn))


def test_repeated_shapes_keep_their_colours_and_edges(found):
    figure = figures.conflict_map(found([[[1.0, -2.0], [0.5, 0.0]], [[-1.0, 1.0], [0.5, 0.2]]]))
    drawn = inline(figure, "map", "t", "d")
    shapes = dict(re.findall(r'<path id="([^"]*)"[^>]*?style="([^"]*)"', drawn))
    markers = re.findall(r'<use href="#([^"]*)"([^>]*)/>', drawn)
    fills = {re.search(r'fill="([^"]*)"', more)[1] for _, more in markers if "fill" in more}
    assert fills & {colour.lower() for colour in figures.COLOURS}
    for shape, more in markers:
        whole = shapes.get(shape, "") + more
        assert re.search("stroke:#[0-9a-f]{6}", whole), (shape, more)
        assert "stroke-width:" in whole


def test_a_picture_of_few_colours_gets_a_palette_and_keeps_its_pixels():
    from PIL import Image

    generator = np.random.default_rng(0)
    for colours, smaller in ((20, True), (3000, False)):
        palette = generator.integers(0, 256, (colours, 4), dtype=np.uint8)
        pixels = palette[generator.integers(0, colours, (60, 90))]
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, "PNG")
        before = base64.b64encode(target.getvalue()).decode()
        after = _smaller(before)
        assert (len(after) < 0.5 * len(before)) is smaller
        whole = Image.open(io.BytesIO(base64.b64decode(after))).convert("RGBA")
        assert (np.asarray(whole) == pixels).all()


def test_settings_are_put_back(found):
    import matplotlib

    before = matplotlib.rcParams.copy()
    inline(figures.for_against(found([[[1.0, 0], [0, 0]]])), "one", "t", "d")
    assert matplotlib.rcParams.copy() == before


@pytest.mark.parametrize(
    "address", ["https://a.example/x.png", "javascript:x", "//a", "data:text/html,x"]
)
def test_an_inlined_picture_has_no_address_but_its_own(address):
    assert _value("href", address, {}) is None
    assert _value("href", "data:image/png;base64,\nAA", {}) == "data:image/png;base64,AA"
    assert _value("href", "#a", {"a": "b-0"}) == "#b-0"
