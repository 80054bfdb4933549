"""The page: what is measured, what must show, tables by family, pictures, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from modalxai.attribution.interaction_types import KINDS
from modalxai.benchmark.tonebench.claims import claims, shown
from modalxai.benchmark.tonebench.contestants import DEFAULT
from modalxai.benchmark.tonebench.pictures import averaged
from modalxai.benchmark.tonebench.results import Results
from modalxai.benchmark.tonebench.tables import Line
from modalxai.datasets.tonebench import FAMILIES

INTRODUCTION = """\
A model is trained on synthetic speech whose rule is known, and its own answer to every mixture of
texts, recordings and bodies is tabulated by plain forward calls. From that table follow the exact
Shapley values of its modalities when each lost modality is lent by donors of its own: the gold. It
is the truth of this model, not of the rule, and none of modalxai's code for explanations is used
to find it. Everybody is then asked what the modalities contributed to the predicted label.

- **share error**: points of share that lie with the wrong modality; a label's share is the ratio of
  mean magnitudes over its samples; mean over labels whose gold has a share.
- **nats**: mean |found - gold| of contributions, of those who claim nats of clr.
- **signs**: part of the contributions above 0.05 nats in the gold whose sign is right.
- **kinds**: part of the samples whose type of interaction (additive, conflict, synergy, redundancy,
  suppression) is right.
- **leak**: part of the magnitude on modalities that decide nothing.
- **completeness**: mean |prediction - reference - sum of contributions|, nats.
- **rows**: encoder rows for each sample, counted by hooks on the encoders, those of the prediction
  included. Libraries that know whole models only are charged a row of every encoder for each donor
  and coalition that they ask for; inputs asked again are answered from memory, and charged alike.
- **gap**: the largest change of a sample's share, points, when constants move between encoders and
  fusion and the function stays the same.

Intervals are 95 %, over seeds and speakers; no two seeds share a speaker. Ranks: 1 + how many
others have a smaller error beyond the interval of the paired difference. There is no composite
score."""

SEEDS = 5
"""Fewer are a beginning: intervals over seeds are wide, or over speakers only."""

LIMITS = """\
- Synthetic voices, small models, six tones, short texts: a method that fails here fails where the
  truth is known; one that succeeds has shown no more than that.
- The gold is one definition of "contributed": Shapley values under independent donors. Methods
  that answer another question (what is lost without, gradients at a point) are scored by it all the
  same; the list of contestants says what each computes.
- Under the removal of the gold exact methods agree with it by mathematics, and ties among them are
  expected: the table shows that they compute what they say, what the others miss, and what each
  costs. The other removals show how far the answer depends on what stands for "off".
- The encoders of voices and texts learn once and are shared by all models, as pre-trained ones are;
  what differs between families and seeds is the rule, the draw of the training set, the fusion
  (`fusion-transformer`, which attends over the vectors of all modalities), the body's encoder, and
  the speakers and utterances that are explained.
- Models learn with modalities absent, never with masked texts or silent recordings: under "mask,
  silence" the errors of exact methods are what such inputs, unheard of in training, do to a model.
- Methods over words and moments cannot be asked under removals that take whole modalities away;
  they are listed as such."""


def page(results: Results, pictures: Mapping[str, Path]) -> str:
    """Markdown; pictures are linked as ``pictures/NAME``."""
    parts = [
        "# ToneBench: who is right about what a model listens to",
        "",
        _made(results),
        "",
        INTRODUCTION,
        "",
        *_section("What it must show", _claims(results)),
        *_section("Models and gates", _gates(results)),
        *_section("Contestants", _entrants(results)),
        *_section("Share error by family", _overview(results)),
        *_section("Error against cost", _pictures(pictures)),
        *_section("Family by family", _families(results)),
        *_section("Nothing to divide: NULL", _null(results)),
        *_section("Words and moments", _maps(results)),
        *_section("Types of interaction", _kinds(results)),
        *_section("How far the removal moves the answer", _spreads(results)),
        *_section("Limits", [LIMITS]),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _made(results: Results) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    record = results.record()
    return (
        f"Generated by `modalxai bench tonebench` on {results.date}: benchmark "
        f"{record['benchmark']}, generator {record['generator']}, {results.machine}, {versions}; "
        f"{_seeds(results.settings.seeds)}, {results.settings.samples} samples of each model; "
        f"encoders learn for {results.settings.teacher_epochs} epochs from "
        f"{results.settings.clips} recordings of every tone and others, fusions for "
        f"{results.settings.epochs} from {results.settings.texts} samples (interactions of M "
        "modalities for M times as many)."
    )


def _seeds(count: int) -> str:
    """How many, and whether those are enough."""
    said = f"{count} seed{'' if count == 1 else 's'}"
    return said if count >= SEEDS else f"{said} of the {SEEDS} that the benchmark asks for"


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _claims(results: Results) -> list[str]:
    said = {True: "yes", False: "**no**", None: "not asked"}
    return _table(
        ["claim", "holds", "found"],
        [[one.text, said[one.holds], one.found] for one in claims(results)],
    )


def _gates(results: Results) -> Iterator[str]:
    rows = []
    for family in results.settings.families:
        own = [one for one in results.gates if one["family"] == family]
        accuracies = ", ".join(
            "–" if one["accuracy"] is None or one["accuracy"] != one["accuracy"]
            else f"{100 * one['accuracy']:.1f}"
            for one in own
        )  # fmt: skip
        probes = "; ".join(
            f"{probe['modality']} {100 * probe['accuracy']:.0f} ({100 * probe['chance']:.0f})"
            for one in own
            for probe in one["probes"]
        )
        rows.append(
            [
                family,
                FAMILIES[family].shows,
                f"{sum(one['passed'] for one in own)} of {len(own)}",
                accuracies,
                probes,
                f"`{results.digests[family]}`",
            ]
        )
    head = ["family", "what it shows", "gates passed", "factorial accuracy, %"]
    yield from _table([*head, "probe accuracy, % (chance)", "digest of the gold's rule"], rows)
    yield ""
    failed = [one for one in results.gates if not one["passed"]]
    yield f"Gates not passed, and therefore not scored: {len(failed) or 'none'}."
    for one in failed:
        yield f"- {one['family']}, seed {one['seed']}: {one['why']}"
    for one in results.gates:
        if one.get("followed"):
            parts = ", ".join(
                f"{name} {100 * part:.0f} %" for name, part in one["followed"].items()
            )
            yield f"- REDUND, seed {one['seed']}: where channels disagree the model follows {parts}"


def _entrants(results: Results) -> list[str]:
    rows = [
        [
            f"`{name}`",
            one["origin"] if one["installed"] == "yes" else f"{one['origin']}: not installed",
            one["question"],
            one["cost"],
            _number(results.reparametrisation.get(name)),
        ]
        for name, one in results.entrants.items()
    ]
    return _table(["contestant", "origin", "computes", "asks of the model", "gap"], rows)


def _overview(results: Results) -> Iterator[str]:
    for removal in dict.fromkeys(one.removal for one in results.lines):
        own = [one for one in results.lines if one.removal == removal]
        families = [
            name for name in results.families
            if any(one.family == name and one.share_error is not None for one in own)
        ]  # fmt: skip
        if not families:
            continue
        means = averaged(results, removal)
        names = [
            name for name in dict.fromkeys(one.contestant for one in own)
            if any(one.contestant == name and one.share_error is not None for one in own)
        ]  # fmt: skip
        rows = []
        for name in sorted(names, key=lambda one: (means.get(one, (999.0, 0.0))[0], one)):
            cells = []
            for family in families:
                line = next(
                    (one for one in own if (one.contestant, one.family) == (name, family)), None
                )
                error = None if line is None else line.share_error
                cells.append("–" if error is None else _number(error.value))
            rows.append([f"`{name}`", *cells])
        yield f'Removal {removal} (track "{own[0].track}"), points:'
        yield ""
        yield from _table(["", *families], rows)
        yield ""


def _pictures(pictures: Mapping[str, Path]) -> list[str]:
    return [f"![{removal}](pictures/{path.name})" for removal, path in pictures.items()]


def _families(results: Results) -> Iterator[str]:
    removals = list(dict.fromkeys(one.removal for one in results.lines))
    for family in results.families:
        if not FAMILIES[family].share:
            continue
        first = results.of(family, removals[0])
        yield f"### {family}"
        yield ""
        yield FAMILIES[family].shows
        yield ""
        rows, cannot = [], []
        for line in first:
            if line.share_error is None:
                cannot.append(line)
                continue
            others = [_line(results, family, removal, line.contestant) for removal in removals[1:]]
            rows.append(
                [
                    str(line.rank),
                    f"`{line.contestant}`",
                    shown(line.share_error),
                    shown(line.against_default),
                    shown(line.nats_error, digits=3),
                    _percent(line.signs),
                    _percent(line.kinds),
                    _percent(line.leak),
                    "–" if line.completeness is None else f"{line.completeness.value:.3f}",
                    _number(line.rows),
                    *("–" if one is None else shown(one.share_error) for one in others),
                ]
            )
        head = ["rank", "contestant", "share error", f"less {DEFAULT}'s", "nats", "signs, %"]
        head += ["kinds, %", "leak, %", "completeness", "rows"]
        yield from _table([*head, *(f"error, {removal}" for removal in removals[1:])], rows)
        yield ""
        alone = [
            (line, one)
            for line in cannot
            for removal in removals[1:]
            if (one := _line(results, family, removal, line.contestant)) is not None
            and one.share_error is not None
        ]
        for line, one in alone:
            yield (
                f"- `{line.contestant}`: not under this removal ({line.why}); "
                f"{one.removal}: {shown(one.share_error)}, {_number(one.rows)} rows"
            )
        if alone:
            yield ""


def _null(results: Results) -> list[str]:
    rows = []
    for name in results.entrants:
        own = [
            one for one in results.lines
            if one.family == "NULL" and one.contestant == name and one.printed is not None
        ]  # fmt: skip
        if own:
            rows.append([f"`{name}`", *(f"{one.removal}: {one.printed:.1f}" for one in own[:1])])
    if not rows:
        return ["Not asked, or no gate passed."]
    return [
        "Labels of which a percentage is given where there is nothing to divide; 0 is right.",
        "",
        *_table(["contestant", "labels with a share"], rows),
    ]


def _maps(results: Results) -> list[str]:
    rows = [
        [
            line.family,
            f"`{line.contestant}`",
            line.removal,
            modality,
            shown(auc),
            shown((line.pointed or {}).get(modality), 100),
        ]
        for line in sorted(
            (one for one in results.lines if one.found),
            key=lambda one: (one.family, one.removal, one.contestant),
        )
        for modality, auc in (line.found or {}).items()
    ]
    if not rows:
        return ["Not asked, or no gate passed."]
    head = ["family", "contestant", "removal", "modality", "AUC", "largest unit right, %"]
    return _table(head, rows)


def _kinds(results: Results) -> Iterator[str]:
    if not results.confusions:
        yield "Not asked, or no gate passed."
    for name, table in results.confusions.items():
        yield f"`{name}`, rows: the gold's type, columns: what it says (samples of all families)."
        yield ""
        yield from _table(
            ["", *KINDS], [[true, *map(str, row.values())] for true, row in table.items()]
        )
        yield ""


def _spreads(results: Results) -> list[str]:
    families = [name for name in results.families if FAMILIES[name].share]
    rows = [
        [f"`{name}`", *(_number(found.get(family)) for family in families)]
        for name, found in results.spreads.items()
    ]
    return [
        "The largest difference of a label's share between two removals, points, mean over labels.",
        "",
        *_table(["", *families], rows),
    ]


def _line(results: Results, family: str, removal: str, contestant: str) -> Line | None:
    key = family, removal, contestant
    return next(
        (one for one in results.lines if (one.family, one.removal, one.contestant) == key), None
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(head), ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines]


def _percent(found: object) -> str:
    value = getattr(found, "value", None)
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    if value is None or value != value:
        return "–"
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )
