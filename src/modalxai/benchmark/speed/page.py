"""The page of the speed table, written from the results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modalxai.benchmark.speed.floors import Floor
from modalxai.benchmark.speed.growth import doubling, exponent
from modalxai.benchmark.speed.pictures import GROWTH, PARETO
from modalxai.benchmark.speed.table import markdown, number
from modalxai.benchmark.speed.units import OURS, cost_at

Rows = Sequence[Mapping[str, Any]]


def page(results: Mapping[str, Any], lines: Sequence[Floor]) -> str:
    """Everything a reader needs to believe it, or to measure it again."""
    parts = [
        _head(results),
        _floors(lines),
        _modality(results["modality"]),
        _cells(results["modality"]),
    ]
    if results["units"]:
        parts.append(_units(results["units"], results["recorded"], results["toy"]["accuracy"]))
    if results["growth"] and all(results["growth"].values()):
        parts.append(_growth(results["growth"]))
    if results["training"]:
        parts.append(_training(results["training"]))
    if results["padding"]:
        parts.append(_padding(results["padding"]))
    parts.append(HOW)
    return "\n".join(part.strip() + "\n" for part in parts)


def _head(results: Mapping[str, Any]) -> str:
    machine, versions = results["machine"], results["versions"]
    named = ", ".join(f"{name} {one or 'not installed'}" for name, one in versions.items())
    quick = (
        "\n**This is the quick form: one pair of each timing, small encoders only. "
        "Its figures prove nothing.**\n"
        if results["quick"]
        else ""
    )
    recorded = results["recorded"]
    other = (
        f"shapiq {recorded}, on Python 3.12, was recorded with the same games; "
        if recorded
        else "No record of the newest shapiq, which needs Python 3.12, is there; "
    )
    return f"""
# What explaining costs

Written by `modalxai bench speed` ({results["date"]}): this library beside Captum, SHAP and shapiq
on the same models and inputs, in one run of {results["cpu_seconds"]} CPU seconds. Its
`results.json` holds every figure. {_pieces(results.get("pieces", {}))}
{quick}
{machine["system"]}, {machine["processor"]}, GPU: {machine["gpu"] or "none"}, Python
{machine["python"]}. {named}. {other}what is marked "not installed" was not there.
"""


def _pieces(pieces: Mapping[str, Mapping[str, Any]]) -> str:
    """When they were measured, and what ran beside them."""
    dates = sorted({piece["date"] for piece in pieces.values() if piece["date"]})
    loads = sorted(piece["load"] for piece in pieces.values() if piece["load"] is not None)
    if not loads:
        return ""
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    unknown = len(pieces) - len(loads)
    told = (
        f"Of its {len(pieces)} pieces {len(loads)} were begun ({when}) at a load of "
        f"{loads[0]:.1f} to {loads[-1]:.1f} processes, this one and others"
    )
    return told + (f"; of the others ({unknown}) it is not known." if unknown else ".")


def _floors(lines: Sequence[Floor]) -> str:
    rows = [
        [
            line.what,
            number(line.measured),
            ("≤ " if line.most else "≥ ") + number(line.wanted),
            {True: "yes", False: "**no**", None: "not measured"}[line.held],
            line.note,
        ]
        for line in lines
    ]
    return "## What must hold\n\n" + markdown(["", "measured", "wanted", "held", ""], rows)


COLUMNS = ["", "question", "labels", "FLOPs", "rows", "calls", "CPU time", "MiB", "difference"]


def _modality(rows: Rows) -> str:
    found = []
    for size, count, fusion, removal in dict.fromkeys(
        (r["size"], r["modalities"], r["fusion"], r["removal"])
        for r in sorted(rows, key=lambda r: r["size"])
    ):
        mine = [
            row
            for row in rows
            if (row["size"], row["modalities"], row["fusion"], row["removal"])
            == (size, count, fusion, removal)
            and row["seconds"] == 3.0
            and row["batch"] == 1
        ]
        how = "absent" if removal == "absent" else "mask, silence, resting value"
        model = "wav2vec2-base + DistilBERT" if size == "base" else "both encoders 64 wide"
        found.append(
            f"### M = {count}, {fusion} fusion, {how}; {model}\n\n"
            + markdown(COLUMNS, [_line(row) for row in mine])
        )
    return (
        "## Whole modalities\n\n"
        "One clip of 3 s and 26 tokens, 7 labels. FLOPs and CPU time are over one prediction's; "
        "rows and calls are the encoders', of all modalities together; MiB is the peak of what "
        "torch held beyond weights and inputs. The difference is from our exact answer, relative; "
        "SHAP Partition's tree asks for nested Owen values, which are others from three modalities "
        "on.\n\n" + "\n".join(found)
    )


def _line(row: Mapping[str, Any]) -> list[Any]:
    if "note" in row:
        return [row["contestant"], row["note"], "", "", "", "", "", "", ""]
    labels = {True: "all", False: "one", None: ""}[row.get("labels_at_once")]
    ratio, time, error = row.get("flops_ratio"), row.get("time_ratio"), row.get("error")
    return [
        row["contestant"],
        row.get("estimand", ""),
        labels,
        f"{ratio:.4g} x" if ratio else f"{row['flops'] / 1e9:.3g} GFLOP",
        row["encoder_rows"],
        row["encoder_calls"],
        f"{time:.2f} x" if time else "",
        f"{row['peak_mib']:.1f}" if row.get("peak_mib") is not None else "",
        f"{error:.1e}" if error is not None else "",
    ]


def _cells(rows: Rows) -> str:
    mine = [
        row
        for row in rows
        if row["size"] == "small" and row["modalities"] == 2 and row["fusion"] == "pooled"
        and row["removal"] == "absent" and row["contestant"] != "one prediction"
        and "note" not in row and (row["batch"] > 1 or row["seconds"] != 3.0)
    ]  # fmt: skip
    if not mine:
        return ""
    table = [
        [row["seconds"], row["batch"], row["contestant"], f"{row['flops_ratio']:.4g} x",
         f"{row['time_ratio']:.2f} x", f"{row['peak_mib']:.1f}"]
        for row in mine
    ]  # fmt: skip
    return (
        "## Other lengths and batches\n\nSmall encoders, M = 2, pooled fusion, absent.\n\n"
        + markdown(["seconds", "batch", "", "FLOPs", "CPU time", "MiB"], table)
    )


def _units(rows: Rows, recorded: str | None, accuracy: float) -> str:
    table = []
    for units in dict.fromkeys(row["units"] for row in rows):
        here = [row for row in rows if row["units"] == units]
        own, _ = cost_at([row for row in here if row["contestant"] == OURS])
        for name in dict.fromkeys(row["contestant"] for row in here):
            mine = [row for row in here if row["contestant"] == name]
            measured = [row for row in mine if "error" in row]
            if not measured:
                table.append([units, name, mine[0].get("note", "-"), "", "", ""])
                continue
            other = mine[0].get("estimand", "Shapley") != "Shapley"
            cost, reached = cost_at(measured)
            last = max(measured, key=lambda row: row["encoder_flops"])
            least = min(measured, key=lambda row: row["encoder_flops"])
            table.append(
                [
                    units,
                    name,
                    "another question" if other else ("" if reached else "> ") + _flops(cost),
                    "" if other else ("" if reached else "> ") + f"{cost / own:.3g} x",
                    f"{least['error']:.3f} at {number(round(least['encoder_rows']))}",
                    f"{last['error']:.1e} at {number(round(last['encoder_rows']))}",
                ]
            )
    head = ["players", "", "FLOPs at 5 %", "of ours", "least rows: error", "most rows: error"]
    right = 100 * (accuracy or 0)
    newest = "" if recorded else " The newest shapiq is missing here."
    return f"""
## Words and moments

Error of Shapley values of words and segments against the exact ones, from all coalitions of a small
model that was trained with masked units: two transformers, a fusion with a hidden layer, 7 labels,
evidence of every order; {right:.0f} % right where chance is 14 %. Everybody is asked about
the same table of scores. Medians over samples, draws and labels of the Euclidean error over the
players, relative. A row of a function of masks costs one row of each encoder; the grid costs the
rows it encodes, and splits its budget by what they cost. FLOPs are those of wav2vec2-base and
DistilBERT for these rows. Methods of one label are charged for one: with the same seed their
coalitions are the same for every label. Coalitions asked for twice are charged once. Intervals are
Student's, over the samples, of the logarithm of what a method costs over ours in each.{newest}

![Error against the encoders' cost](pictures/{PARETO})

""" + markdown(head, table)


def _flops(value: float) -> str:
    return f"{value / 1e12:.3g} TFLOP" if value == value else "-"


def _growth(curves: Mapping[str, Rows]) -> str:
    def over(name: str, key: str, fit: Any = exponent, after: int = 0) -> float:
        rows = curves[name][after:]
        return float(fit([row["x"] for row in rows], [row[key] for row in rows]))

    def reach(name: str) -> str:
        return f"{number(curves[name][0]['x'])} to {number(curves[name][-1]['x'])}"

    def extra(rows: Rows, key: str) -> str:
        return (
            f"{rows[0][key] / rows[0]['predict']:.3f} to {rows[-1][key] / rows[-1]['predict']:.3f}"
        )

    table = [
        ["clip, seconds", reach("seconds"), "FLOPs of predicting", over("seconds", "predict"), ""],
        ["", "", "FLOPs of the table", over("seconds", "table"),
         f"{extra(curves['seconds'], 'table')} x predicting"],
        ["", "", "FLOPs of the table + Grad-CAM", over("seconds", "table_and_cam"),
         f"{extra(curves['seconds'], 'table_and_cam')} x predicting"],
        ["labels", reach("labels"), "FLOPs of the table", over("labels", "table"),
         f"{extra(curves['labels'], 'table')} x predicting"],
        ["", "", "FLOPs of the table + Grad-CAM", over("labels", "table_and_cam"),
         f"{extra(curves['labels'], 'table_and_cam')} x predicting"],
        ["modalities", reach("modalities"), "encoder rows, ours",
         over("modalities", "encoder_rows"), ""],
        ["", "", "FLOPs of the table", over("modalities", "table"),
         f"{extra(curves['modalities'], 'table')} x predicting"],
        ["clips", reach("corpus"), "FLOPs / predicting, references shared",
         over("corpus", "flops_ratio"),
         f"{curves['corpus'][0]['flops_ratio']:.3f} to {curves['corpus'][-1]['flops_ratio']:.3f}"],
    ]  # fmt: skip
    powers = markdown(["of", "range", "what", "exponent", ""], table)
    doublings = markdown(
        ["one more", "range", "what", "doublings"],
        [
            ["word and segment", reach("players"), "encoder rows, ours",
             over("players", "encoder_rows", doubling)],
            ["", "", "encoder rows, a function of masks",
             over("players", "every_coalition", doubling)],
            ["modality", reach("modalities"), "encoder rows, every coalition",
             over("modalities", "every_coalition", doubling)],
            ["", "", "encoder rows, every order", over("modalities", "every_order", doubling)],
        ],
    )  # fmt: skip
    return f"""
## Growth

Fitted slopes on logarithmic axes: 1 is proportional, 2 quadratic. Length of a clip: wav2vec2-base +
DistilBERT, wide fusion transformer; labels and modalities: small encoders, the same fusion;
clips of a corpus: 2 to 8 s, mask + silence.

![Growth of cost](pictures/{GROWTH})

{powers}
Slopes over the number itself: 1 is a factor of two for each one more.

{doublings}"""


def _training(rows: Rows) -> str:
    table = []
    for row in rows:
        if "note" in row:
            table.append([row["what"], row["against"], row["note"], "", "", ""])
            continue
        table.append(
            [
                row["what"],
                row["against"],
                f"{row['time_ratio']:.3f} x",
                f"{row['milliseconds']:.1f} ms",
                f"{row['peak_mib']:.1f}",
                f"{row['peak_mib_against']:.1f}",
            ]
        )
    return """
## Training

A step (forward, backward, AdamW) of mel-cnn + byte-text, 8 clips of 1 to 2 s, in CPU time beside
the same modules called by hand. Peaks of memory in MiB.

""" + markdown(["", "against", "CPU time", "theirs", "MiB", "MiB, theirs"], table)


def _padding(found: Mapping[str, Any]) -> str:
    return f"""
## No neighbours: the exact group-norm path

wav2vec2-base normalises over a padded row, so that a padded run changes a clip's vectors by
{100 * found["changed_by_padding"]:.0f} % ({found["changed_by_neighbours"]:.0e} here). Running the
front end once per length and padding its frames costs {found["time_ratio"]:.2f} x the padded run's
CPU time ({found["time_low"]:.2f} to {found["time_high"]:.2f} in {found["pairs"]} pairs):
{found["clips"]} clips of 2 to 8 s, {found["seconds"]:.0f} s of speech, padded to
{found["padded_seconds"]:.0f} s; {found["size"]} size with {found["layers"]} transformer layer,
which both runs share.
"""


HOW = """
## How it was measured

- FLOPs by `torch.utils.flop_counter`: matrix products, convolutions and attention, backward passes
  too. The tests compare it with counts by hand. The counter sees nothing of fused attention, so
  counting takes the unfused one; timing and memory take what a user gets.
- Rows and calls by hooks on the encoders.
- Time is CPU time of one process on one thread, each contestant in turns with a prediction; the
  median of the ratios. CPU time suffers less than the clock when other programs run, and turns let
  both sides suffer alike; caches are still shared with them.
- A run goes on where a killed one was; other programs may have run beside its pieces.
- Memory by torch's allocator (peak of live tensors), the same on every machine.
- Captum, SHAP and shapiq get a function of masks whose inputs were collated, and whose removed
  inputs were made, beforehand; each call is one batch. An absent modality is a missing row, for
  which the front end of the speech encoder does nothing. Captum's methods get batches as large as
  they take. Whole modalities: methods that sample get as many rows as enumerating takes.
- Grad-CAM is asked before the table of the same game, which takes the prediction's scores from it.
  The other way round the fusion runs on the whole samples once more.
- Captum's Grad-CAM and integrated gradients are also given the fusion alone, the encodings computed
  once: what a user can write who knows that no gradient must enter an encoder.
- With small encoders a prediction takes milliseconds, and the fixed cost of a game and of its
  results, some ten milliseconds, shows in the time; at the published sizes it does not.
- Every exact answer was compared with ours; where it differs, it answers another question, and the
  table says so.
- At the published sizes, rows that would take hours on a CPU are counted on small encoders and
  costed by the FLOPs of one row of the published size.
"""
