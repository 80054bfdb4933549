"""A figure as an SVG element inside a page: text stays text, nothing in it can run or fetch."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple
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
_HREF = "{http://www.w3.org/1999/xlink}href"
_IMAGE = "data:image/png;base64,"
_NUMBER = re.compile(r"-?\d+\.\d+")
_COMMAND = re.compile(r"([MLCQz])([^MLCQz]*)")
_FAMILY = re.compile(r"\s*font-family:[^;]*;?")
_STYLE = re.compile(r' style="([^"]*)"')
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_USUAL = {"stroke-linejoin:miter", "stroke-dashoffset:0", "text-anchor:start", "stroke-width:1"}
"""What a browser, or the style sheet of the page, takes where nothing is said."""


class _Piece(NamedTuple):
    """Markup, and the area that it is clipped to."""

    clip: str
    markup: str


def inline(figure: Figure, name: str, title: str, description: str, kind: str = "fair") -> str:
    """An ``svg`` element, deterministic, with a title and a description for screen readers.

    Its letters take the page's own font, and are found, enlarged and copied like all others.
    Places are rounded to a tenth of a point, an eighth of a pixel.

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
    _spare(root)
    _, _, width, _ = root.attrib["viewBox"].split()
    head = (
        f'<svg viewBox="{_short(root.attrib["viewBox"])}" role="img" class="{escape(kind)}" '
        f'aria-labelledby="{name}-title {name}-desc" '
        # Points of matplotlib are 4/3 of CSS's pixels.
        f'style="max-width:{float(width) * 4 / 3:.0f}px">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    return head + _joined([piece for child in root for piece in _written(child, used)]) + "</svg>"


def share(pictures: Sequence[str]) -> tuple[list[str], str]:
    """The same pictures of `inline`, and rules for a style sheet that say once what they repeat."""
    # No text can be taken for an attribute: its quotation marks are escaped.
    counts = Counter(found[1] for one in pictures for found in _STYLE.finditer(one))
    often = [style for style, count in counts.most_common() if count > 2]
    names = {style: f"s{place}" for place, style in enumerate(often)}

    def named(found: re.Match[str]) -> str:
        return f' class="{names[found[1]]}"' if found[1] in names else found[0]

    # The element itself has a class already.
    shared = [head + _STYLE.sub(named, body) for head, body in map(_opened, pictures)]
    return shared, "".join(f".{name}{{{style}}}" for style, name in names.items())


def _opened(picture: str) -> tuple[str, str]:
    head, end, body = picture.partition(">")
    return head + end, body


def _drawn(figure: Figure) -> str:
    import matplotlib

    target = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # These two are read from the settings only; they are put back, whatever happens.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "modalxai"}):
        figure.savefig(target, format="svg", dpi=120, metadata=nothing)
    return _FORBIDDEN.sub(" ", target.getvalue())


def _spare(root: ElementTree.Element) -> None:
    """Take from what repeats a shape the rules that the shape has itself."""
    shapes = {shape.get("id"): shape.get("style", "") for shape in root.iter() if shape.get("id")}
    for element in root.iter():
        if element.tag.endswith("}use"):
            said = shapes.get(element.get(_HREF, "")[1:], "").split("; ")
            own = [rule for rule in element.get("style", "").split("; ") if rule not in said]
            element.set("style", "; ".join(own))


def _joined(pieces: Sequence[_Piece]) -> str:
    """Neighbours that are clipped alike stand in one group."""
    parts = []
    for clip, group in groupby(pieces, lambda piece: piece.clip):
        inside = "".join(piece.markup for piece in group)
        parts.append(f'<g clip-path="{clip}">{inside}</g>' if clip else inside)
    return "".join(parts)


def _written(element: ElementTree.Element, used: dict[str, str]) -> list[_Piece]:
    tag = element.tag.rpartition("}")[2]
    if tag not in ALLOWED or tag == "svg":
        return []
    found: dict[str, str] = {}
    for key, value in element.attrib.items():
        key = key.rpartition("}")[2]
        if key in ALLOWED[tag] and (kept := _value(key, value, used)) is not None:
            found[key] = kept
    if tag == "image" and "href" in found:
        found["href"] = _IMAGE + _smaller(found["href"].removeprefix(_IMAGE))
    if "style" in found and tag != "text":
        # Shapes differ in their colour, and have the rest in common.
        rules = [rule for rule in found.pop("style").split(";") if rule]
        found |= dict(rule.split(":", 1) for rule in rules if rule.startswith("fill:"))
        found["style"] = ";".join(rule for rule in rules if not rule.startswith("fill:"))
    # An area of its own coordinates belongs to the element.
    clip = "" if "transform" in found else found.pop("clip-path", "")
    attributes = "".join(f' {key}="{escape(value)}"' for key, value in found.items() if value)
    inside = [piece for child in element for piece in _written(child, used)]
    if tag in ("g", "defs") and not attributes and not clip:
        return (
            inside if tag == "g" or not inside else [_Piece("", f"<defs>{_joined(inside)}</defs>")]
        )
    markup = (escape(element.text or "") if tag == "text" else "") + _joined(inside)
    if tag == "g" and not markup:
        return []
    said = f"<{tag}{attributes}"
    return [_Piece(escape(clip), f"{said}>{markup}</{tag}>" if markup else f"{said}/>")]


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
    if key == "d":
        return _path(value)
    if key in ("x", "y"):
        return f"{float(value):.1f}".removesuffix(".0")
    value = re.sub(r"url\(#([^)]*)\)", lambda found: f"url(#{used[found[1]]})", value)
    if key == "style":
        value = _FAMILY.sub("", value).replace("; ", ";").replace(": ", ":")
        rules = (rule.strip() for rule in value.split(";"))
        value = ";".join(rule for rule in rules if rule and rule not in _USUAL)
    return _short(value)


def _path(drawn: str) -> str:
    """A path in steps from point to point, which are shorter to write than places.

    Steps are differences of rounded places, so that no error adds up.
    """
    said, last, at, start = [], "", (0, 0), (0, 0)
    for command, numbers in _COMMAND.findall(drawn):
        if command == "z":
            said.append("z")
            last, at = "z", start
            continue
        flat = [round(10 * float(number)) for number in numbers.split()]
        points = list(zip(flat[::2], flat[1::2], strict=True))
        x, y = points[-1][0] - at[0], points[-1][1] - at[1]
        if command == "L" and points == [at]:
            continue
        if command == "M":
            letter, steps, start = "M", flat, points[-1]
        elif command == "L" and not (x and y):
            letter, steps = ("h", [x]) if x else ("v", [y])
        else:
            letter, steps = command.lower(), [n - at[k % 2] for k, n in enumerate(flat)]
        written = "".join(_tenths(step, place > 0) for place, step in enumerate(steps))
        repeated = letter == last and letter in "lcq"
        said.append(
            written if repeated and written[0] == "-" else (" " if repeated else letter) + written
        )
        last, at = letter, points[-1]
    return "".join(said)


def _tenths(value: int, apart: bool) -> str:
    """A number of tenths: ``-.3``, with a space before it where it would run into another."""
    sign, (whole, rest) = "-" if value < 0 else "", divmod(abs(value), 10)
    said = sign + (str(whole) if whole or not rest else "") + (f".{rest}" if rest else "")
    return " " + said if apart and not sign else said


def _smaller(image: str) -> str:
    """A PNG of few colours with a palette, pixel for pixel the same; any other as it is."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(image))) as whole:
        pixels = np.asarray(whole.convert("RGBA"))
    found, places = np.unique(pixels.reshape(-1, 4).view("<u4"), return_inverse=True)
    if len(found) > 256:
        return image
    palette = found.view(np.uint8).reshape(-1, 4)
    small = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8))
    small.putpalette(palette[:, :3].tobytes())
    target = io.BytesIO()
    small.save(target, "PNG", optimize=True, transparency=palette[:, 3].tobytes())
    return min(base64.b64encode(target.getvalue()).decode("ascii"), image, key=len)


def _short(value: str) -> str:
    """Numbers with two decimals, and no needless space."""
    shorter = _NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    return " ".join(shorter.split())
