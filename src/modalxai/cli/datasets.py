"""``modalxai datasets``: what is in a corpus, and what a recogniser hears in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modalxai.cli.root import BAD, AsJson, put

app = typer.Typer(no_args_is_help=True, help="Look into corpora.")


@app.command("check")
def check_dataset(
    name: Annotated[str, typer.Argument(help="meld, kemdy19, kemdy20, aihub or manifest.")],
    folder: Annotated[Path, typer.Argument(help="Its folder as unpacked; a manifest's file.")],
    as_json: AsJson = False,
    audio: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Read the recordings and clips too.")
    ] = True,
    partial: Annotated[
        bool, typer.Option("--partial", help="Only a part of the corpus is meant to be there.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column", help="A manifest's own name: audio=path, or id= if it has none; repeatable."
        ),
    ] = None,
) -> None:
    """Read a corpus once: what is there, what is broken, what was left out and why.

        modalxai datasets check meld MELD/

        modalxai datasets check manifest my.csv --column audio=path --column label=emotion

    Exit code 1 if anything is broken, or not as many as published.
    """
    from modalxai.datasets.checking import check

    report = check(name, folder, audio, columns or ())
    put(str(report), report.to_dict(), as_json)
    if not report.sound or not (report.complete or partial):
        raise typer.Exit(BAD)


@app.command("transcribe")
def transcribe_dataset(
    manifest: Annotated[
        Path, typer.Argument(help="A csv file or JSON lines with an audio column.")
    ],
    transcriber: Annotated[str, typer.Option(help="Its name in the list of plugins.")],
    out: Annotated[Path, typer.Option(help="The file to write, .csv or .jsonl.")],
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the transcriber, name=value; as often as needed."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of answers: the next run asks for the rest only.")
    ] = None,
    column: Annotated[str, typer.Option(help="Name of the new column.")] = "recognised",
    as_json: AsJson = False,
) -> None:
    """Write a manifest with what a recogniser heard.

        modalxai datasets transcribe my.csv --transcriber simulated --set cer=0.2 --out heard.csv

    Exit code 1 if it failed for a sample.
    """
    from modalxai.datasets.transcribers.listed import transcribe_manifest

    heard = transcribe_manifest(
        manifest, transcriber, out, options=options or (), cache=cache, column=column
    )
    record = {
        "written": str(out),
        "asked": heard.asked,
        "failures": {failure.id: failure.reason for failure in heard.failures},
    }
    put(heard.summary(), record, as_json)
    for failure in heard.failures:
        typer.echo(f"failed: {failure.id}: {failure.reason}", err=True)
    if heard.failures:
        raise typer.Exit(BAD)
