"""One utterance: its words, sound and prosody, coloured by what they contribute to one label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from modalxai.errors import InputError
from modalxai.report.figures import panels as drawing
from modalxai.report.figures import reading
from modalxai.report.figures.fonts import confess, short, write
from modalxai.report.figures.palette import AGAINST, FAINT, FOR, INK, SOFT, tint
from modalxai.report.figures.panels import MARGIN, Found, Panel
from modalxai.report.figures.recording import Heard, hear
from modalxai.types import Attribution
from modalxai.voice import Tracker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["words", "waveform", "moments", "spectrogram", "pitch", "intensity", "players"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GAP, TOP, BOTTOM, NUMBERS = 0.14, 0.48, 0.2, 0.36
"""Inches between panels, above and below all, and for the numbers under a horizontal axis."""


def utterance(
    sample: Mapping[str, Any],
    found: Attribution | Sequence[Attribution] = (),
    label: str | None = None,
    *,
    text: str = "text",
    audio: str = "audio",
    panels: Sequence[Kind] = KINDS,
    tracker: Tracker | None = None,
) -> Figure:
    """Waveform and spectrogram with what their segments contribute, words coloured, prosody.

    From above: the words, green where they speak for the label and purple where against it; the
    waveform in the colours of its segments; their contributions as bars; the spectrogram, with
    tiles over it where there are any; pitch and intensity; players without a place (pitch range,
    tone, ...) as bars. What is not given is left out.

    Parameters
    ----------
    sample
        With ``"id"``, and its raw text and recording.
    found
        One result or several that hold this sample and the label: words, segments and tiles come
        from units with characters, seconds and hertz (`modalxai.attribution.Owen`,
        `modalxai.attribution.UnitShapley`, `modalxai.attribution.SpectrogramGradCAM`, ...),
        players from units without a place (`modalxai.attribution.Prosody`,
        `modalxai.attribution.ContentTone`).
    label
        Whose score; the label that the first result predicts for ``None``.
    text, audio
        Keys of the raw text and of the recording in the sample.
    panels
        Which of ``"words"``, ``"waveform"``, ``"moments"``, ``"spectrogram"``, ``"pitch"``,
        ``"intensity"`` and ``"players"`` to draw.
    tracker
        How the pitch is found. It needs pyworld; without, the picture says so.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        A sample without an id, one that a result does not hold, a label that it does not explain,
        an unknown panel, a recording that cannot be used, or nothing to draw.
    """
    results = (found,) if isinstance(found, Attribution) else tuple(found)
    name = _checked(sample, panels)
    chosen = label
    if chosen is None and results:
        chosen = (
            results[0].labels[reading.explained(results[0])[reading.row_of(results[0], name)]].name
        )
    words = sample.get(text)
    words = words if isinstance(words, str) and words.strip() else None
    parts = [
        Found(part, reading.largest(whole), one.provenance.attributor)
        for one in results
        if chosen is not None
        for whole in [reading.divisions(one, name, chosen, words)]
        for part in whole
    ]
    heard = None if sample.get(audio) is None else hear(sample[audio], tracker)
    drawn = [
        panel for asked in KINDS if asked in panels for panel in _panels(asked, heard, words, parts)
    ]
    if not drawn:
        raise InputError(
            f"nothing to draw of sample {name!r}",
            expected=f"a recording under {audio!r}, a text under {text!r}, or units in a result",
            got=f"keys {sorted(sample)}, panels {list(panels)}",
            mend="give the raw sample and what Owen or UnitShapley found",
        )
    return _figure(name, chosen, drawn, heard)


def _checked(sample: Mapping[str, Any], panels: Sequence[Kind]) -> str:
    unknown = [panel for panel in panels if panel not in KINDS]
    if unknown or isinstance(panels, str):
        raise InputError(
            "an unknown panel",
            expected=f"some of {list(KINDS)}",
            got=repr(panels),
            mend="name panels that there are, in a list",
        )
    name = sample.get("id")
    if not isinstance(name, str):
        raise InputError(
            "a sample without an id",
            expected='the raw sample, {"id": ..., "text": ..., "audio": ...}',
            got=f"keys {sorted(map(str, sample))}",
            mend="results are found by the sample's id",
        )
    return name


def _panels(
    kind: Kind, heard: Heard | None, words: str | None, parts: Sequence[Found]
) -> list[Panel]:
    """The panels of one kind: none, one, or one for each result."""
    of = {sort: [part for part in parts if part.division.sort == sort] for sort in _SORTS}
    match kind:
        case "words":
            told = of["words"] or ([] if words is None else [drawing.unknown(words)])
            return [drawing.words(part) for part in told]
        case "players":
            return [drawing.players(part) for part in of["players"]]
        case "moments":
            return [drawing.moments(part) for part in of["moments"]]
    if heard is None:
        return []
    match kind:
        case "waveform":
            return [drawing.waveform(heard, of["moments"][:1])]
        case "spectrogram":
            return [drawing.spectrum(heard, of["tiles"][:1])]
        case "pitch":
            return [drawing.pitch(heard)]
    return [drawing.intensity(heard)]


_SORTS = ("words", "moments", "tiles", "players")


def _figure(name: str, label: str | None, panels: Sequence[Panel], heard: Heard | None) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    last = max((place for place, one in enumerate(panels) if one.timed), default=-1)
    gaps = [
        NUMBERS if one.kind == "players" or place == last else 0 for place, one in enumerate(panels)
    ]
    width = drawing.WIDTH
    height = TOP + BOTTOM + sum(one.height for one in panels) + sum(gaps) + GAP * (len(panels) - 1)
    figure = Figure(figsize=(width, height), facecolor="white")
    written = write([short(name, 40), short(label or "", 40)], "name")
    top = height - TOP
    for place, (panel, gap) in enumerate(zip(panels, gaps, strict=True)):
        left = MARGIN if panel.kind == "words" else drawing.LEFT
        axes = figure.add_axes(
            (
                left / width,
                (top - panel.height) / height,
                (width - left - MARGIN) / width,
                panel.height / height,
            ),
            label=f"{panel.kind} {place}",
        )
        axes.tick_params(labelsize=8, labelcolor=INK)
        axes.spines[:].set_color(FAINT)
        panel.draw(axes)
        if panel.timed and heard is not None:
            axes.set_xlim(0, heard.seconds)
        if panel.timed and place != last:
            axes.tick_params(labelbottom=False)
        if place == last:
            axes.set_xlabel("seconds", fontsize=8, color=SOFT, labelpad=1)
        top -= panel.height + gap + GAP
    title = written.texts[0] + (f": {written.texts[1]}" if label else "")
    figure.text(
        MARGIN / width, 1 - 0.12 / height, title, ha="left", va="top", fontsize=11,
        **written.style,
    )  # fmt: skip
    if label is not None:
        figure.legend(
            handles=[
                Patch(facecolor=tint(sign, 1), edgecolor=edge, label=said)
                for sign, edge, said in ((1, FOR, "for the label"), (-1, AGAINST, "against it"))
            ],
            loc="upper right", ncols=2, frameon=False, fontsize=8.5, labelcolor=INK,
            borderaxespad=0.3,
        )  # fmt: skip
    confess(figure, written.missing or any(panel.missing for panel in panels))
    return figure
