"""``modalxai bench``: who is right, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from modalxai.cli.root import AsJson, put, usable

app = typer.Typer(
    no_args_is_help=True, help="Compare attributors: are they right, and what do they cost?"
)
OUT = "A folder for results, page and pictures; a killed run goes on there."


@app.command()
def tonebench(
    out: Annotated[Path, typer.Option(help=OUT)],
    families: Annotated[
        list[str] | None, typer.Option("--family", help="TONE, SUM, ...; repeatable, else all.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Models of each family, else 5.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two families, to see it work; figures mean little.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but the result.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score every installed attributor, and Captum, SHAP and shapiq, against planted truths.

        modalxai bench tonebench --out build/tonebench --quick

    Hours on two cores in full. An attributor of an installed plugin takes part by its entry point.
    """
    from modalxai.benchmark.tonebench import Settings, run

    settings = Settings.quick() if quick else Settings()
    if families:
        settings = replace(settings, families=tuple(families))
    if seeds is not None:
        settings = replace(settings, seeds=seeds)
    written = run(settings, out, quiet=quiet or as_json)
    put(f"written: {written}", {"written": str(written)}, as_json)


@app.command()
def speed(
    out: Annotated[Path, typer.Option(help=OUT)],
    quick: Annotated[
        bool, typer.Option("--quick", help="Small models, to see it work; figures mean little.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but the result.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what explaining costs, in units of predicting, beside Captum, SHAP and shapiq.

        modalxai bench speed --out build/speed --quick

    Half an hour in full. What was measured before is not measured again.
    """
    from modalxai.benchmark.speed import Settings, run

    settings = Settings(quick=quick, device=usable(device))
    written = run(settings, out, quiet=quiet or as_json)
    put(f"written: {written}", {"written": str(written)}, as_json)
