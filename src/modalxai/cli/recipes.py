"""``modalxai recipe`` and ``modalxai demo``: from data to a report by one command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from modalxai.cli.root import AsJson, put


class Rules(StrEnum):
    """Which planted rule table the demo uses."""

    plain = "plain"
    shuffled = "shuffled"


class TrainingLabels(StrEnum):
    """Whether the demo's labels follow the rules."""

    true = "true"
    shuffled = "shuffled"


class EncoderSize(StrEnum):
    """How large a recipe's encoders are."""

    base = "base"
    small = "small"


def recipe(
    name: Annotated[
        str,
        typer.Argument(
            help="s0 content-or-tone, s1 late-fusion, s2 consistency, s3 valence-arousal, "
            "s4 speecht5."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A folder; a killed run goes on there.")],
    data: Annotated[
        Path | None, typer.Option(help="The corpus as unpacked; without it, synthetic speech.")
    ] = None,
    checkpoints: Annotated[
        str, typer.Option(help="tiny, published, or a folder with one checkpoint per encoder.")
    ] = "tiny",
    encoder_size: Annotated[
        EncoderSize, typer.Option(help="Small: distilled or truncated encoders.")
    ] = EncoderSize.base,
    seeds: Annotated[int | None, typer.Option(help="How many; else the paper's number.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small part, to see it work; figures mean little.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    translator: Annotated[
        str | None,
        typer.Option(help="Of s4: a translators plugin; after a space, its settings as json."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Of s2: processes that train; else two, on two cores.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild a published system: train, evaluate, explain; metrics, tables, figures, report.

        modalxai recipe s0 --out run --quick

    Without --data the speech is synthetic, and nothing is downloaded. A run that was stopped goes
    on when it is called again.
    """
    from modalxai import storage
    from modalxai.recipes import Options, run_recipe

    options = Options(
        out,
        data,
        checkpoints,
        encoder_size.value,
        seeds=seeds,
        quick=quick,
        device=device,
        translator=translator,
        workers=workers,
        quiet=as_json,
    )
    found = run_recipe(name, options)
    record = {"written": str(found), "metrics": storage.read_json(found)}
    put(f"written: {found}", record, as_json)


def demo(
    out: Annotated[
        Path, typer.Option(help="A page to write; or a folder, for the model and some clips too.")
    ] = Path("report.html"),
    seed: Annotated[int, typer.Option(help="Another seed, other recordings.")] = 0,
    rules: Annotated[
        Rules, typer.Option(help="Shuffled: another table of which modality decides.")
    ] = Rules.plain,
    labels: Annotated[
        TrainingLabels, typer.Option(help="Shuffled: nothing can be learnt.")
    ] = TrainingLabels.true,
    as_json: AsJson = False,
) -> None:
    """Train on synthetic speech with a planted truth, explain, and write a report.

    Nothing is downloaded; two to four minutes on two cores.

        modalxai demo --out demo

    writes demo/report.html, and demo/model and demo/clips.csv to go on with: modalxai explain
    """
    from modalxai.recipes.demo import run
    from modalxai.report.rows import flat

    found = run(out, seed=seed, rules=rules.value, labels=labels.value, quiet=as_json)
    if as_json:
        record = {
            "report": str(found.path),
            "model": None if found.model is None else str(found.model),
            "clips": None if found.clips is None else str(found.clips),
            "shares": [flat(row) for row in found.report.shares()],
        }
        put("", record, as_json)
