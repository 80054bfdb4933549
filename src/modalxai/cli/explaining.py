"""``modalxai explain`` and ``modalxai report``: a saved model and a manifest to a page."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modalxai.cli.root import usable
from modalxai.errors import InputError

if TYPE_CHECKING:
    from modalxai.attribution import Explanation
    from modalxai.games import Draws

COLUMN = "The manifest's own name of a column: audio=path, or id= if it has none; repeatable."


class Rows(StrEnum):
    """What a row of a written table is."""

    shares = "shares"
    samples = "samples"


def explain(
    model: Annotated[Path, typer.Argument(help="A folder that save_pretrained wrote.")],
    manifest: Annotated[
        Path, typer.Argument(help="A csv, JSON lines or Parquet file with an audio or text column.")
    ],
    out: Annotated[Path, typer.Option(help="A folder; a run that was killed goes on there.")],
    removal: Annotated[
        str | None,
        typer.Option(
            help="What 'without' means: one name, or text=mask,audio=silence. "
            "absent for a model trained with modality dropout."
        ),
    ] = None,
    background: Annotated[
        Path | None,
        typer.Option(help="Another manifest, for the removals mean and marginal."),
    ] = None,
    draws: Annotated[str, typer.Option(help="Of a random removal; a number, or all.")] = "1",
    level: Annotated[str, typer.Option(help="input, or features.")] = "input",
    columns: Annotated[list[str] | None, typer.Option("--column", help=COLUMN)] = None,
    batch_size: Annotated[int, typer.Option(help="Samples encoded at once.")] = 16,
    chunk: Annotated[int, typer.Option(help="Samples in a part of the output.")] = 512,
    workers: Annotated[int, typer.Option(help="Processes that read recordings.")] = 0,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    strict: Annotated[bool, typer.Option("--strict", help="End at the first bad sample.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print json, no progress.")] = False,
) -> None:
    """Score every coalition of modalities for a corpus, into Parquet.

    Exit code 1 if samples were bad: quarantine-*.jsonl says why. Under torchrun, processes share
    the work. Next: modalxai report OUT --out report.html
    """
    from torch.utils.data import DataLoader

    from modalxai import EmotionModel, explain_corpus
    from modalxai.datasets import ManifestCorpus
    from modalxai.datasets.checking import named_columns

    loaded = EmotionModel.from_pretrained(model).to(usable(device)).eval()
    naming = named_columns(columns or ())
    corpus = ManifestCorpus(manifest, **naming)
    others = None if background is None else list(ManifestCorpus(background, **naming))
    run = explain_corpus(
        loaded,
        DataLoader(corpus, batch_size=batch_size, collate_fn=loaded.collate, num_workers=workers),
        out,
        removal=_removal(removal),
        level=level,
        background=others,
        draws=_draws(draws),
        seed=seed,
        chunk=chunk,
        on_error="raise" if strict else "quarantine",
        progress=not as_json,
    )
    bad = run.quarantine()
    if as_json:
        found = {
            "folder": str(run.folder),
            "explained": run.explained,
            "quarantined": len(bad),
            "parts": len(run.parts),
            "complete": run.complete,
        }
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(run.summary())
        for one in bad[:5]:
            typer.echo(f"bad: {one.id or one.index}: {one.stage}: {one.reason}", err=True)
    if bad:
        raise typer.Exit(1)


def report(
    folder: Annotated[
        Path, typer.Argument(help="What modalxai explain or Explanation.save wrote.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="A .html page, or a .csv, .json or .parquet table.")
    ] = None,
    truth: Annotated[
        str, typer.Option(help="labels, a column of the samples, or none for unknown.")
    ] = "labels",
    by: Annotated[
        str, typer.Option(help="What a row is: predicted, true, correct, or a column.")
    ] = "predicted",
    cluster: Annotated[
        str, typer.Option(help="What intervals are over: a column, or none for each sample.")
    ] = "speaker",
    alternatives: Annotated[
        list[Path] | None,
        typer.Option("--alternative", help="The same samples under another removal; repeatable."),
    ] = None,
    rows: Annotated[
        Rows, typer.Option(help="Of a table: shares by emotion, or evidence of each sample.")
    ] = Rows.shares,
    scale: Annotated[str, typer.Option(help="clr, contrast, log-odds, probability or raw.")] = (
        "clr"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the shares as json.")] = False,
) -> None:
    """Turn explanations into shares per emotion: a page, a table, or text."""
    from modalxai.report import Report
    from modalxai.report.rows import flat, write_rows

    explanation = _load(folder)
    if out is not None and rows is Rows.samples:
        frame = explanation.shapley(scale=scale).to_frame()
        write_rows(out, frame.to_dict("records"))
        typer.echo(f"written: {out}")
        return
    made = Report(
        explanation,
        truth=None if truth == "none" else truth,
        by=by,
        cluster=None if cluster == "none" else cluster,
        alternatives=[_load(one) for one in alternatives or ()],
        scale=scale,
    )
    if as_json:
        typer.echo(json.dumps([flat(row) for row in made.shares()], ensure_ascii=False, indent=2))
    if out is None:
        if not as_json:
            typer.echo(made.table())
        return
    if out.suffix.lower() in (".html", ".htm"):
        made.save_html(out)
    else:
        write_rows(out, [flat(row) for row in made.shares()])
    typer.echo(f"written: {out}", err=as_json)


def _load(folder: Path) -> Explanation:
    from modalxai.attribution import Explanation
    from modalxai.corpus_run import CorpusRun
    from modalxai.corpus_run.identity import NAME

    if (folder / NAME).is_file():
        run = CorpusRun(folder)
        if run.complete is False:
            typer.echo(f"warning: not finished: {run.summary()}", err=True)
        return run.explanation()
    return Explanation.load(folder)


def _removal(given: str | None) -> str | dict[str, str] | None:
    if given is None or "=" not in given:
        return given
    found: dict[str, str] = {}
    for one in given.split(","):
        modality, sign, how = one.strip().partition("=")
        if not (modality and sign and how) or modality in found:
            raise InputError(
                f"{given!r} says no removal",
                expected="one for every modality, each once: text=mask,audio=silence",
                got=repr(one),
                mend="write modality=removal, joined by commas, without spaces",
            )
        found[modality] = how
    return found


def _draws(given: str) -> Draws:
    if given == "all":
        return "all"
    if not given.isdecimal():
        raise InputError(
            "draws that cannot be counted", expected="a number, or all", got=given, mend="16, say"
        )
    return int(given)
