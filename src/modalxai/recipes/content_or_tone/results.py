"""Tables and figures of recipe S0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modalxai.attribution.spectrogram_image import SpectrogramImage
from modalxai.recipes.results import Line, ResultsTable
from modalxai.report.figures import COLOURS, INK
from modalxai.report.figures.recording import DEPTH, spectrogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ILLUSTRATED = {"anger": "72 %", "sadness": "55 %", "joy": "40 %"}
"""Audio's share on the slides, where they illustrate the form of the report. No results."""
NAN = float("nan")

Found = Mapping[str, Any]


def tables(found: Found, on: str) -> list[ResultsTable]:
    """Every table of what the recipe returned, in order; what was skipped has none."""
    made = [_scores(found["scores"], on), _shares(found["shares"], on)]
    if more := found["further seeds"]:
        made.append(_seeds([found["shares"], *(one["shares"] for one in more)], on))
    made += _masking(found["masking"], on)
    for name, make in (
        ("words", _words),
        ("spectrogram", _bands),
        ("prosody", _prosody),
        ("mismatch", _mismatch),
        ("phrase", _phrase),
        ("situations", _situations),
        ("humans", _humans),
        ("bias", _bias),
        ("slim", _slim),
    ):
        one = found.get(name, {})
        if one and "skipped" not in one:
            made.append(make(one, on))
    return made


def share_lines(shares: Found) -> list[str]:
    """``"anger: audio 72 % / text 28 %"``, the larger first; the reason where there is none."""
    lines = []
    for label, one in shares.items():
        parts = sorted(one["share"].items(), key=lambda part: -part[1])
        if any(math.isnan(value) for _, value in parts):
            lines.append(f"{label}: no share ({one['reason'] or 'no samples'})")
        else:
            said = " / ".join(f"{name} {100 * value:.0f} %" for name, value in parts)
            lines.append(f"{label}: {said}")
    return lines


def _scores(found: Found, on: str) -> ResultsTable:
    metrics = ("accuracy", "macro F1", "weighted F1")
    lines = [
        Line(
            "everything" if name == "all" else name,
            {metric: scores[metric] for metric in metrics},
            group=model,
        )
        for model, rows in found.items()
        for name, scores in rows.items()
    ]
    return ResultsTable(f"Emotion recognition on {on}", metrics, (*lines,))


def _shares(found: Found, on: str) -> ResultsTable:
    told = any(one.get("planted") is not None for one in found.values())
    metrics = ("audio", "text", "n", *(("audio, planted", "points apart") if told else ()))
    lines = []
    for label, one in found.items():
        values = {name: share for name, share in one["share"].items() if name in metrics}
        values |= {"n": int(one["n"])}
        if one.get("planted") is not None:
            values |= {
                "audio, planted": one["planted"], "points apart": 100 * one["apart"]
            }  # fmt: skip
        paper = {"audio": ILLUSTRATED[label]} if label in ILLUSTRATED else {}
        lines.append(Line(label, values, paper))
    title = f"Share of audio and text by emotion, {on} (the paper's are illustrations)"
    return ResultsTable(title, metrics, (*lines,))


def _seeds(seeds: Sequence[Found], on: str) -> ResultsTable:
    metrics = ("audio", "audio, planted", "points apart", "at most")
    lines = []
    for label in seeds[0]:
        found = [one[label] for one in seeds if label in one]
        values: dict[str, Any] = {"audio": [one["share"].get("audio", NAN) for one in found]}
        if found[0]["planted"] is not None:
            apart = [100 * one["apart"] for one in found]
            values |= {"audio, planted": found[0]["planted"], "points apart": apart}
            values["at most"] = max(apart)
        lines.append(Line(label, values))
    return ResultsTable(f"Audio's share over {len(seeds)} seeds, {on}", metrics, (*lines,))


def _masking(found: Found, on: str) -> list[ResultsTable]:
    whole = [
        Line(name, {"change": one["change"], "size": one["size"], "flips": one["flips"]})
        for name, one in found.items()
    ]
    labels = sorted({label for one in found.values() for label in one["by_emotion"]})
    by = [
        Line(label, {name: one["by_emotion"].get(label, NAN) for name, one in found.items()})
        for label in labels
    ]
    title = f"Masking: change of the predicted label's probability, {on}"
    return [
        ResultsTable(title, ("change", "size", "flips"), (*whole,)),
        ResultsTable(f"{title}, by emotion", tuple(found), (*by,)),
    ]


def _words(found: Found, on: str) -> ResultsTable:
    lines = [
        Line(word, {"nats": value, "n": int(count)}, group=label)
        for label, words in found["words"].items()
        for word, value, count in words
    ]
    return ResultsTable(f"Words that push the predicted emotion, {on}", ("nats", "n"), (*lines,))


def _bands(found: Found, on: str) -> ResultsTable:
    names = tuple(found["bands"])
    lines = [
        Line(f"{label} (n = {one['n']})", dict(zip(names, one["shares"], strict=True)))
        for label, one in found["by_emotion"].items()
    ]
    lines.append(Line("an even map", dict(zip(names, found["even"], strict=True))))
    return ResultsTable(f"Spectrogram Grad-CAM: part of the map by band, {on}", names, (*lines,))


def _prosody(found: Found, on: str) -> ResultsTable:
    players = [name for name in found["players"] if name != "words"]
    places = [found["players"].index(name) for name in players]
    shown = ["placebo" if name == "recording" else name for name in players]
    sure = [f"{name}, believable" for name in found["features"]]
    lines = []
    for label, one in found["by_emotion"].items():
        values = dict(zip(shown, (one["size"][place] for place in places), strict=True))
        values |= dict(zip(sure, one["believable"], strict=True))
        lines.append(Line(f"{label} (n = {one['n']})", values))
    return ResultsTable(
        f"Prosody: mean |Shapley value| in nats, and how often it beats its placebo, {on}",
        (*shown, *sure),
        (*lines,),
    )


def _mismatch(found: Found, on: str) -> ResultsTable:
    metrics = ("n", "accuracy", "audio share", "disagreeing", "audio wins", "cancellation")
    lines = [
        Line(name, {"n": int(one["n"]), **{key: one[key] for key in metrics[1:3]}})
        for name, one in found["groups"].items()
    ]
    lines += [
        Line(
            one["label"],
            {
                "n": int(one["n"]),
                "disagreeing": int(one["disagreeing"]),
                "audio wins": one["win_share"],
                "cancellation": one["cancellation"],
            },
            group="by emotion",
        )
        for one in found["by_emotion"]
    ]
    return ResultsTable(f"Mismatch: who wins, {on}", metrics, (*lines,))


def _phrase(found: Found, on: str) -> ResultsTable:
    names = tuple(f"p({label})" for label in found["labels"])
    metrics = ("n", "right", *names, "audio, nats", "text, nats", "disagreeing", "audio wins")
    lines = []
    for tone, one in found["tones"].items():
        values = {"n": int(one["n"]), "right": one["right"]}
        values |= dict(zip(names, one["probabilities"], strict=True))
        values |= {"audio, nats": one["audio"], "text, nats": one["text"]}
        values |= {"disagreeing": int(one["disagreeing"]), "audio wins": one["audio_wins"]}
        lines.append(Line(f"{tone}: {one['deserved']}", values))
    return ResultsTable(f"{found['phrase']} in four tones", metrics, (*lines,))


def _situations(found: Found, on: str) -> ResultsTable:
    lost = [name for name in ("without audio", "without text") if _has(found, name)]
    metrics = ("n", "macro F1", *lost, "audio share")
    lines = [
        Line(
            f"{value}: {one['serves']} serves, {one['hurts']} hurts",
            {"n": int(one["n"]), **{key: one[key] for key in metrics[1:]}},
            group=column,
        )
        for column, values in found.items()
        for value, one in values.items()
    ]
    return ResultsTable(f"Which signal serves where, {on}", metrics, (*lines,))


def _has(found: Found, name: str) -> bool:
    return any(name in one for values in found.values() for one in values.values())


def _humans(found: Found, on: str) -> ResultsTable:
    metrics = ("model", "people", "apart", "low", "high")
    lines = [
        Line(label, {key: one[key] for key in metrics if key in one})
        for label, one in found["weights"].items()
    ]
    title = f"Weight of the voice (1: voice only, 0: words only), raters {found['raters']}, {on}"
    return ResultsTable(title, metrics, (*lines,))


def _bias(found: Found, on: str) -> ResultsTable:
    metrics = ("reference", "before", "after", "p before", "p after")
    lines = [
        Line(
            label + (" *" if one["differs"] else ""),
            {
                "reference": one["reference"],
                "before": one["before"],
                "after": one["after"],
                "p before": one["p"],
                "p after": one["p_after"],
            },
            group="audio's share",
        )
        for label, one in found["labels"].items()
    ]
    lines.append(
        Line(
            "macro F1", {name: found["scores"][name] for name in ("before", "after")}, group="skill"
        )
    )
    return ResultsTable(f"Bias, found (*) and corrected, {on}", metrics, (*lines,))


def _slim(found: Found, on: str) -> ResultsTable:
    metrics = ("macro F1", "accuracy", "parameters", "ms per utterance", "real-time factor")
    lines = [
        Line(name, {key: one[key] for key in metrics}) for name, one in found["models"].items()
    ]
    return ResultsTable(f"Slimmer models, {on}: chosen {found['chosen']}", metrics, (*lines,))


# --- figures ----------------------------------------------------------------------------------


def spectrogram_figure(found: Any, samples: Sequence[Any], pictures: Sequence[Any]) -> Figure:
    """Up to four utterances of different emotions: spectrogram in grey, the map over it.

    Parameters
    ----------
    found
        Of `modalxai.attribution.SpectrogramGradCAM`.
    samples
        What was explained.
    pictures
        Pairs of row and label.
    """
    from matplotlib.figure import Figure

    chosen: dict[str, int] = {}
    for row, label in pictures:
        chosen.setdefault(label, row)
    count = max(1, min(4, len(chosen)))
    figure = Figure(figsize=(1 + 3.6 * count, 3.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, count, sharey=True))
    drawn = None
    for axis, (label, row) in zip(axes, chosen.items(), strict=False):
        audio = samples[row]["audio"]
        wave, rate = np.asarray(audio.waveform).reshape(-1), int(audio.sample_rate)
        decibels, highest = spectrogram(wave, rate)
        seconds = len(wave) / rate
        axis.imshow(
            decibels, origin="lower", aspect="auto", cmap="Greys",
            extent=(0, seconds, 0, highest), vmin=-DEPTH, vmax=0,
        )  # fmt: skip
        image = SpectrogramImage.of(found, label, sample=row, resampling="display")
        heat = (image.values / image.values.max().clamp(min=1e-12)).numpy()
        drawn = axis.imshow(
            heat, origin="lower", aspect="auto",
            # As solid as it is hot, so that the speech shows where nothing is.
            cmap="inferno", alpha=0.8 * heat, vmin=0, vmax=1,
            extent=(
                float(image.seconds[0]), float(image.seconds[-1]),
                float(image.hertz[0]), float(image.hertz[-1]),
            ),
        )  # fmt: skip
        axis.set_xlim(0, seconds)
        axis.set_ylim(0, highest)
        axis.set_title(label, parse_math=False)
        axis.set_xlabel("seconds")
    axes[0].set_ylabel("hertz")
    if drawn is not None:
        figure.colorbar(drawn, ax=list(axes), label="Grad-CAM, of its maximum")
    return figure


def bar_figure(values: Mapping[str, Mapping[str, float]], unit: str) -> Figure:
    """Groups of bars: by group (a tick) the value of each series."""
    from matplotlib.figure import Figure

    series = list(next(iter(values.values())))
    figure = Figure(figsize=(4 + 0.9 * len(values), 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(series)
    for place, name in enumerate(series):
        heights = [one.get(name, NAN) for one in values.values()]
        at = np.arange(len(values)) + (place - (len(series) - 1) / 2) * width
        axes.bar(at, heights, width, label=name, color=COLOURS[place % len(COLOURS)])
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(values)), list(values), rotation=20, ha="right", parse_math=False)
    axes.set_ylabel(unit)
    figure.legend(fontsize=8, loc="outside right upper")
    return figure
