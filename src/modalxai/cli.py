"""The command ``modalxai``. An error of ours is printed plainly and ends with exit code 2."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modalxai import plugins
from modalxai.errors import ModalxaiError, PluginError


class _Plain(TyperGroup):
    """A group that turns a `ModalxaiError` into its message: a traceback helps no user."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModalxaiError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Plain,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What does a multimodal emotion model listen to: the words or the voice?",
)
plugin_app = typer.Typer(no_args_is_help=True, help="List and show installed parts.")
app.add_typer(plugin_app, name="plugins")
dataset_app = typer.Typer(no_args_is_help=True, help="Look into corpora.")
app.add_typer(dataset_app, name="datasets")


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


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"modalxai {version('modalxai')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hold the options of the command itself."""


@plugin_app.command("list")
def list_plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print json.")] = False,
) -> None:
    """List every installed encoder, fusion and attribution method; imports none of them."""
    found = [info for group in plugins.GROUPS for info in plugins.infos(group)]
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in found], indent=2))
    else:
        width = max((len(info.name) for info in found), default=0)
        for group in plugins.GROUPS:
            typer.echo(f"{group}:")
            for info in plugins.infos(group):
                typer.echo(f"  {info.name:{width}}  {info}")
    for problem in plugins.problems():
        typer.echo(f"warning: {problem}", err=True)


@plugin_app.command("show")
def show_plugin(name: Annotated[str, typer.Argument(help="Its name in the list.")]) -> None:
    """Show where a plugin comes from, what it is and which options it takes; imports it."""
    names = {group: plugins.available(group) for group in plugins.GROUPS}
    groups = [group for group in plugins.GROUPS if name in names[group]]
    if not groups:
        raise PluginError(
            f"there is no plugin {name!r}",
            expected="; ".join(f"{group}: {', '.join(known)}" for group, known in names.items()),
            got=repr(name),
            mend="use a listed name, or install the package that offers it",
        )
    for group in groups:
        info = plugins.inspect(group, name)
        typer.echo("\n".join(f"{key}: {value}" for key, value in asdict(info).items()))
        part = plugins.load(group, name)
        typer.echo(f"summary: {(inspect.getdoc(part) or 'none').splitlines()[0]}")
        typer.echo("options:")
        for option in inspect.signature(part).parameters.values():
            default = "" if option.default is option.empty else f" = {option.default!r}"
            kind = inspect.formatannotation(option.annotation).strip("'")  # annotations are strings
            typer.echo(f"  {option.name}: {kind}{default}")


@dataset_app.command("check")
def check_dataset(
    name: Annotated[str, typer.Argument(help="meld, kemdy19, kemdy20, aihub or manifest.")],
    folder: Annotated[Path, typer.Argument(help="Its folder as unpacked; a manifest's file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print json, every finding.")] = False,
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
    """Read a corpus once; exit code 1 if anything is broken, or not as many as published."""
    from modalxai.datasets.checking import check

    report = check(name, folder, audio, columns or ())
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        typer.echo(str(report))
    if not report.sound or not (report.complete or partial):
        raise typer.Exit(1)


@dataset_app.command("transcribe")
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
) -> None:
    """Write a manifest with what a recogniser heard; exit code 1 if it failed for a sample."""
    from modalxai.datasets.transcribers.listed import transcribe_manifest

    heard = transcribe_manifest(
        manifest, transcriber, out, options=options or (), cache=cache, column=column
    )
    typer.echo(heard.summary())
    for failure in heard.failures:
        typer.echo(f"failed: {failure.id}: {failure.reason}", err=True)
    if heard.failures:
        raise typer.Exit(1)


@app.command()
def convert(
    encoder: Annotated[
        str, typer.Argument(help="The encoder that is to read them: hanbert, kobert, ...")
    ],
    folder: Annotated[Path, typer.Argument(help="The folder as it was published.")],
) -> None:
    """Turn weights that exist only as a pickle into safetensors, once; reads tensors only."""
    from modalxai.encoders import conversion

    typer.echo(f"wrote {conversion.convert(encoder, folder)}")


@app.command()
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
) -> None:
    """Rebuild a published system: train, evaluate, explain; metrics, tables, figures, report."""
    from modalxai.recipes import Options, run_recipe

    options = Options(
        out, data, checkpoints, encoder_size.value, seeds=seeds, quick=quick, device=device
    )
    typer.echo(f"written: {run_recipe(name, options)}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The page to write, or a folder for it.")] = Path(
        "report.html"
    ),
    seed: Annotated[int, typer.Option(help="Another seed, other recordings.")] = 0,
    rules: Annotated[
        Rules, typer.Option(help="Shuffled: another table of which modality decides.")
    ] = Rules.plain,
    labels: Annotated[
        TrainingLabels, typer.Option(help="Shuffled: nothing can be learnt.")
    ] = TrainingLabels.true,
) -> None:
    """Train on synthetic speech with a planted truth, explain, and write a report."""
    from modalxai.recipes.demo import run

    run(out, seed=seed, rules=rules.value, labels=labels.value)
