"""Pages and cards with hostile names in every place: parsed, and nothing of it is alive."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.safety.test_code import SOURCE

import modalxai as mx
from modalxai import hub
from modalxai.report import Report
from modalxai.types import Attribution, Audio, Label, Provenance, Spans, Targets

HOSTILE = (
    "<script>alert(1)</script>", "\"><script src=//a.example></script>", "' onmouseover='x()",
    "\" onfocus=x() autofocus \"", "<img src=x onerror=x()>", "<svg/onload=x()>", "javascript:x()",
    "</title><script>x()</script>", "</style><script>x()</script>", "]]><script>x()</script>",
    "--><script>x()</script>", "<a href=javascript:x()>a</a>", "<iframe srcdoc='<script>x()'>",
    "<base href=//a.example>", "<meta http-equiv=refresh content=0;url=//a.example>",
    "<form action=//a.example><input name=a>", "<object data=x>",
    "<link rel=stylesheet href=//a>",
    "url(javascript:x())", "expression(x())", "{{ cycler.__init__.__globals__ }}",
    "{% raw %}",
    "&lt;script&gt;x()&lt;/script&gt;",
    "\u202e<script>x()</script>", "\x00<script\x00>", "\ud800<b>",
    "<math><mi xlink:href=javascript:x()>", "$\\href{javascript:x()}{a}$", "%3Cscript%3E", "-->",
)  # fmt: skip
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "h1",
    "h2", "h3", "h4", "h5", "p", "ul", "ol", "li", "dl", "dt", "dd", "table", "caption", "thead",
    "tbody", "tr", "th", "td", "div", "span", "small", "strong", "em", "b", "bdi", "br", "hr",
    "code", "pre", "details", "summary", "figure", "figcaption", "nav", "abbr", "sup", "sub",
    "svg", "g", "path", "rect", "text", "tspan", "use", "defs", "clippath", "desc", "circle",
    "line", "polygon", "polyline", "image", "marker", "audio", "i", "symbol",
}  # fmt: skip
"""What a page may consist of. No script, link, frame, form, object, base, anchor, img or input."""


class Page(HTMLParser):
    """Every element of a page, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def inert(source: str) -> Page:
    """A page that runs nothing, asks nobody, and says so itself."""
    page = Page(source)
    assert {tag for tag, _ in page.elements} <= TAGS
    policies = []
    for tag, attributes in page.elements:
        names = [name for name, _ in attributes]
        given = {name: value or "" for name, value in attributes}
        assert len(names) == len(set(names)), (tag, names)
        assert not [name for name in names if name.startswith("on") or not name.isascii()]
        assert not {"srcdoc", "srcset", "action", "formaction", "ping", "background", "data"} & {
            *names
        }
        for name, value in given.items():
            plain = re.sub(r"[\s\x00-\x20]", "", value).lower()
            assert "javascript:" not in plain or name in ("aria-label", "title", "id", "content") \
                or not name.endswith("href")  # fmt: skip
            if name in ("href", "xlink:href", "src"):
                assert value.startswith(("#", "data:image/png;base64,", "data:audio/flac;base64,"))
            if name == "style":
                assert not re.search(r"url\((?!#)|expression|@import", plain)
        if tag == "meta":
            assert given.get("http-equiv", "Content-Security-Policy") == "Content-Security-Policy"
            policies += [given["content"]] if "http-equiv" in given else []
    (policy,) = policies
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    style = "".join(re.findall(r"<style>(.*?)</style>", source, re.S))
    assert not re.search(r"url\((?!#)|@import|expression|https?:", style)
    return page


@pytest.fixture(scope="module")
def hostile() -> tuple[Report, dict[str, Any]]:
    """Every name and text of a corpus and of a model is an attack."""
    names, texts = HOSTILE[:4], tuple(" ".join(HOSTILE[at::6]) for at in range(6))
    count = len(texts)
    draw = torch.Generator().manual_seed(0)
    draws = torch.randn(1, 4, count, len(names), generator=draw).double()
    truth = torch.eye(len(names)).repeat(count // len(names) + 1, 1)[:count]
    explanation = mx.Explanation(
        sample_ids=tuple(f"{number}{one}" for number, one in enumerate(texts)),
        labels=tuple(Label(name) for name in names),
        modalities=("text", "<b onclick=x()>audio"),
        present=torch.ones(count, 2, dtype=torch.bool),
        draws=draws,
        targets=Targets(truth, torch.ones_like(truth).bool()),
        columns={
            "text": texts,
            "speaker": tuple(f"{one}{number % 3}" for number, one in enumerate(texts)),
            "<script>x()</script>": tuple(reversed(texts)),
            "tags": tuple((one, one) for one in texts),
        },
        provenance=Provenance(
            "<script>x()</script>", {"<i>": "<script>"}, "raw",
            {"text": "<script>x()</script>", "<b onclick=x()>audio": "javascript:x()"},
            "input", "<script>x()</script>", 0, {"<script>x()</script>": "<script>x()</script>"},
        ),
    )  # fmt: skip
    by = ("predicted", "<script>x()</script>")
    report = Report(
        explanation, by=by, repeats=10, samples_shown=count, gold={names[0]: {"text": 0.5}}
    )
    first = explanation.sample_ids[:2]
    edges = torch.tensor([[0.0, 0.1]] * 2)
    words = Spans(edges * 10, edges * 10 + 1, "characters", names=((HOSTILE[0], HOSTILE[3]),) * 2)
    values = torch.randn(2, len(names), 2, generator=draw).double()
    units = Attribution(
        first, explanation.labels, explanation.modalities, torch.ones(2, 2).bool(),
        torch.stack([values.sum(-1)] * 2, -1), {"text": values}, {},
        torch.zeros(2, len(names), 2),
        {"text": torch.ones(2, 2).bool()}, {"text": words}, values.sum(-1),
        torch.zeros(2, len(names)),
        explanation.provenance,
    )  # fmt: skip
    sound = Audio(torch.from_numpy(np.sin(np.arange(800) / 9) / 2), 8000)
    more = {"units": {"<script>x()</script>": units}, "recordings": dict.fromkeys(first, sound)}
    return report, more


def test_a_report_of_hostile_names_is_inert(hostile: tuple[Report, dict[str, Any]]) -> None:
    report, more = hostile
    for source in (report.html(**more), report.html(before=report)):
        whole = "".join(inert(source).words)
        # They are there, as text.
        for text in (HOSTILE[0], HOSTILE[4], "{{ cycler.__init__.__globals__ }}"):
            assert text in whole


def test_the_page_on_disk_is_the_page(
    hostile: tuple[Report, dict[str, Any]], tmp_path: Path
) -> None:
    hostile[0].save_html(tmp_path / "a.html")
    raw = (tmp_path / "a.html").read_bytes()
    inert(raw.decode("utf-8"))
    assert b"\x00" not in raw
    head = raw[:1024].lower()
    # Said early, so that no browser guesses another encoding, in which other bytes mean "<".
    assert b'<meta charset="utf-8">' in head


def test_the_parser_here_would_notice() -> None:
    policy = "default-src 'none'"
    good = f'<meta http-equiv="Content-Security-Policy" content="{policy}"><p>a</p>'
    inert(good)
    for text in HOSTILE[:6]:
        with pytest.raises(AssertionError):
            inert(f"{good}<p>{text}</p><div x='{text}'></div><div x=\"{text}\"></div>")
    with pytest.raises(ValueError, match="unpack"):
        inert("<p>no policy</p>")


def test_pages_come_from_one_template_which_escapes_everything() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCE}
    makers = {path.name for path, text in texts.items() if "jinja2" in text}
    assert makers == {"html.py"}
    marked = {path.name for path, text in texts.items() if re.search(r"\bMarkup\(", text)}
    assert marked == {"html.py"}  # what the library itself drew
    template = files("modalxai.report").joinpath("template.html.j2").read_text(encoding="utf-8")
    assert "|safe" not in re.sub(r"\s", "", template)
    assert "autoescape" not in template
    assert "<script" not in template


@pytest.mark.parametrize("text", HOSTILE)
def test_a_model_card_shows_hostile_names_as_text(text: str) -> None:
    class Encoder:
        dim = 3

    Encoder.__name__ = text.replace("\0", "").replace("\ud800", "")

    class Model:
        modalities = (text,)
        labels = (Label(text), Label("joy"))
        encoders = {text: Encoder()}  # noqa: RUF012
        fusion = Encoder()

    card = hub.model_card(Model(), name="a/b")
    body = re.sub(r"```.*?```", "", card, flags=re.S)
    assert "<" not in body
    assert "javascript:" not in body
    assert "](" not in body
    inside = Page(body)
    assert inside.elements == []
