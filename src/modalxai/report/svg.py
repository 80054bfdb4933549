"""A figure as an SVG element inside a page: text stays text, nothing in it can run or fetch."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALLOWED = {
    "svg": ("viewBox",),
    "g": ("clip-path", "transform", "style"),
    "defs": (),
    "clipPath": ("id",),
    "pattern": ("id", "patternUnits", "x", "y", "width", "height"),
    "path": ("id", "d", "clip-path", "style", "transform"),
    "rect": ("x", "y", "width", "height", "fill", "style"),
    "use": ("href", "x", "y", "style"),
    "image": ("href", "x", "y", "width", "height", "transform", "style"),
    "text": ("x", "y", "transform", "style"),
}
"""Elements and attributes that reach the page; everything else matplotlib writes is left out."""
_REFERENCE = re.compile(r"url\(#([^)]*)\)|^#(.*)$")
_IMAGE = "data:image/png;base64,"
_NUMBER = re.compile(r"-?\d+\.\d+")
_FAMILY = re.compile(r"\s*font-family:[^;]*;?")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def inline(figure: Figure, name: str, title: str, description: str, kind: str = "fair") -> str:
    """An ``svg`` element, deterministic, with a title and a description for screen readers.

    Its letters take the page's own font, and are found, enlarged and copied like all others.

    Parameters
    ----------
    name
        Of letters, digits and hyphens; prefix of every id, so different for each picture of a page.
    title, description
        What it is, and what it shows in words.
    kind
        ``"wide"`` or ``"fair"``: how narrow it may become before its box scrolls.
    """
    root = ElementTree.fromstring(_drawn(figure))
    targets = dict.fromkeys(
        found[1] or found[2]
        for element in root.iter()
        for value in element.attrib.values()
        for found in _REFERENCE.finditer(value)
    )
    used = {target: f"{name}-{place}" for place, target in enumerate(targets)}
    _, _, width, _ = root.attrib["viewBox"].split()
    head = (
        f'<svg viewBox="{_short(root.attrib["viewBox"])}" role="img" class="{escape(kind)}" '
        f'aria-labelledby="{name}-title {name}-desc" '
        # Points of matplotlib are 4/3 of CSS's pixels.
        f'style="max-width:{float(width) * 4 / 3:.0f}px">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    return head + "".join(_written(child, used) for child in root) + "</svg>"


def _drawn(figure: Figure) -> str:
    import matplotlib

    target = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # These two are read from the settings only; they are put back, whatever happens.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "modalxai"}):
        figure.savefig(target, format="svg", dpi=120, metadata=nothing)
    return _FORBIDDEN.sub(" ", target.getvalue())


def _written(element: ElementTree.Element, used: dict[str, str]) -> str:
    tag = element.tag.rpartition("}")[2]
    if tag not in ALLOWED or tag == "svg":
        return ""
    attributes = []
    for key, value in element.attrib.items():
        key = key.rpartition("}")[2]
        if key not in ALLOWED[tag]:
            continue
        if (kept := _value(key, value, used)) is not None:
            attributes.append(f' {key}="{escape(kept)}"')
    inside = escape(element.text or "") if tag == "text" else ""
    inside += "".join(_written(child, used) for child in element)
    if tag in ("g", "defs") and not (attributes and inside):
        return inside if tag == "g" or not inside else f"<defs>{inside}</defs>"
    said = f"<{tag}{''.join(attributes)}"
    return f"{said}>{inside}</{tag}>" if inside else f"{said}/>"


def _value(key: str, value: str, used: dict[str, str]) -> str | None:
    """An attribute as the page has it; None for one that it does not need, or must not have."""
    if key == "id":
        return used.get(value)
    if key == "href":
        compact = "".join(value.split())
        if compact.startswith("#"):
            return f"#{used[compact[1:]]}"
        return compact if compact.startswith(_IMAGE) else None
    if key == "transform" and value.startswith("rotate(-0 "):
        return None
    value = re.sub(r"url\(#([^)]*)\)", lambda found: f"url(#{used[found[1]]})", value)
    if key == "style":
        # The style sheet of the page says it once for all.
        value = _FAMILY.sub("", value).replace("stroke-linejoin: miter", "")
        value = value.replace("; ", ";").replace(": ", ":").strip("; ")
    return _short(value)


def _short(value: str) -> str:
    """Numbers with two decimals, and no needless space."""
    shorter = _NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    return " ".join(shorter.split())
