"""``modalxai explain`` and ``modalxai report``: a saved model and a manifest to a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modalxai.cli import recordings as heard
from modalxai.cli.root import BAD, AsJson, put, usable
from modalxai.errors import InputError

if TYPE_CHECKING:
    from modalxai.attribution import Explanation
    from modalxai.games import Draws
    from modalxai.types import Attribution

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
    as_json: AsJson = False,
) -> None:
    """Explain a corpus: score every coalition of modalities, into Parquet (needs pyarrow).

    A sample is a row: id, audio (the path of a recording), text, and where they are known label
    and speaker; a corpus may be one clip. Other names are told by --column:

        modalxai explain MODEL clips.csv --out run --column audio=path --column id=

    What "without a modality" means is for you to choose, see --removal:

        modalxai explain MODEL clips.csv --out run --removal text=mask,audio=silence

    Exit code 1 if samples were bad: quarantine-*.jsonl says why. A run that was stopped goes on
    when it is called again, and under torchrun processes share it. Then: modalxai report run
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
    heard.remember(run.folder, manifest, columns or ())
    bad = run.quarantine()
    found = {
        "folder": str(run.folder),
        "explained": run.explained,
        "quarantined": len(bad),
        "parts": len(run.parts),
        "complete": run.complete,
    }
    put(f"{run.summary()}\nnext: modalxai report {run.folder}", found, as_json)
    if not as_json:
        for one in bad[:5]:
            typer.echo(f"bad: {one.id or one.index}: {one.stage}: {one.reason}", err=True)
    if bad:
        raise typer.Exit(BAD)


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
    recordings: Annotated[
        bool,
        typer.Option(
            "--recordings",
            help="Draw the recordings of the utterances shown, and put their sound into the page.",
        ),
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Where the recordings are listed, if not where explain found them."),
    ] = None,
    columns: Annotated[list[str] | None, typer.Option("--column", help=COLUMN)] = None,
    units: Annotated[
        list[str] | None,
        typer.Option(
            "--units",
            help="Words and moments to show: a folder that Attribution.save wrote, or "
            "TITLE=FOLDER; repeatable.",
        ),
    ] = None,
    shown: Annotated[int, typer.Option(min=0, help="Utterances that the page shows.")] = 12,
    as_json: AsJson = False,
) -> None:
    """Turn explanations into shares per emotion: a page, a table, or text.

    Without --out the shares are printed.

        modalxai report run --out report.html

    One utterance at a time, drawn over time and to be listened to. The sound is inside the page:
    give it only to those who may hear it.

        modalxai report run --out report.html --recordings --units owen/

    Tables: one row for each emotion, or one for each sample, label and modality.

        modalxai report run --out shares.csv

        modalxai report run --out samples.csv --rows samples
    """
    from modalxai.report import Report
    from modalxai.report.rows import flat, sample_rows, write_rows

    page = out is not None and out.suffix.lower() in (".html", ".htm")
    _only_of_a_page(page, recordings=recordings, manifest=manifest, column=columns, units=units)
    if rows is Rows.samples and (page or out is None):
        raise InputError(
            "--rows samples without a table",
            expected="--out with a name that ends in .csv, .json or .parquet",
            got="a page" if page else "no --out",
            mend="write a table: --out samples.csv",
        )
    if columns and not (recordings or manifest):
        raise InputError(
            "--column without recordings",
            expected="--recordings or --manifest, whose columns it names",
            got="neither",
            mend="say --recordings too, or leave --column out",
        )
    explanation = _load(folder)
    written = {"written": str(out)}
    if out is not None and rows is Rows.samples:
        write_rows(out, sample_rows(explanation.shapley(scale=scale)))
        put(f"written: {out}", written, as_json)
        return
    made = Report(
        explanation,
        truth=None if truth == "none" else truth,
        by=by,
        cluster=None if cluster == "none" else cluster,
        alternatives=[_load(one) for one in alternatives or ()],
        scale=scale,
        samples_shown=shown,
    )
    if as_json:
        typer.echo(json.dumps([flat(row) for row in made.shares()], ensure_ascii=False, indent=2))
    if out is None:
        if not as_json:
            typer.echo(made.table())
        return
    if page:
        made.save_html(
            out,
            recordings=heard.find(folder, manifest, columns or ())
            if recordings or manifest is not None
            else None,
            units=_units(units or ()),
            progress=not as_json,
        )
    else:
        write_rows(out, [flat(row) for row in made.shares()])
    typer.echo(f"written: {out}", err=as_json)


def _only_of_a_page(page: bool, **given: object) -> None:
    asked = [f"--{name}" for name, value in given.items() if value]
    if asked and not page:
        raise InputError(
            f"{' and '.join(asked)} without a page",
            expected="--out with a name that ends in .html",
            got="another --out, or none",
            mend="write a page: --out report.html",
        )


def _units(given: Sequence[str]) -> dict[str, Attribution] | None:
    from modalxai.types import Attribution

    found: dict[str, Attribution] = {}
    for one in given:
        title, sign, folder = one.partition("=")
        # A folder's name may hold the sign itself.
        title, folder = (title, folder) if sign and not Path(one).is_dir() else ("", one)
        result = Attribution.load(folder)
        title = title or result.provenance.attributor
        if title in found:
            raise InputError(
                f"two units are called {title!r}",
                expected="a title for each",
                got=str(list(given)),
                mend="write TITLE=FOLDER",
            )
        found[title] = result
    return found or None


def _load(folder: Path) -> Explanation:
    from modalxai.attribution import Explanation
    from modalxai.corpus_run import CorpusRun
    from modalxai.corpus_run.identity import NAME

    if (folder / NAME).is_file():
        run = CorpusRun(folder)
        if run.complete is False:
            typer.echo(f"warning: not finished: {run.summary()}", err=True)
        return run.explanation()
    if not (folder / "explanation.json").is_file():
        found = sorted(one.name for one in folder.iterdir())[:5] if folder.is_dir() else "no folder"
        raise InputError(
            f"{folder} holds no explanations",
            expected="a folder that modalxai explain, explain_corpus or Explanation.save wrote",
            got=str(found),
            mend=f"make some: modalxai explain MODEL MANIFEST.csv --out {folder}",
        )
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
