"""``modalxai plugins``: what is installed, what it takes, and whether it keeps its promises."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modalxai import plugins
from modalxai.cli.root import BAD, AsJson
from modalxai.errors import InputError

if TYPE_CHECKING:
    from modalxai.games import ModelGame

app = typer.Typer(no_args_is_help=True, help="List, show and check installed parts.")

Name = Annotated[str, typer.Argument(help="Its name in the list.")]
Group = Annotated[
    str | None, typer.Option("--group", help="encoders, fusion, ...: where a name is in several.")
]


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List every installed encoder, fusion, attribution method, recogniser and translator.

    Imports none of them, so that a broken one is listed too.
    """
    found = [info for group in plugins.GROUPS for info in plugins.infos(group)]
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in found], indent=2, ensure_ascii=False))
    else:
        width = max((len(info.name) for info in found), default=0)
        for group in plugins.GROUPS:
            typer.echo(f"{group}:")
            for info in plugins.infos(group):
                typer.echo(f"  {info.name:{width}}  {info}")
    for problem in plugins.problems():
        typer.echo(f"warning: {problem}", err=True)


@app.command("show")
def show_plugin(name: Name, group: Group = None, as_json: AsJson = False) -> None:
    """Show where a plugin comes from, what it is and which options it takes; imports it."""
    found = [plugins.describe(one, name) for one in _groups(name, group)]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        typer.echo("\n".join(f"{key}: {value}" for key, value in asdict(one.info).items()))
        typer.echo(f"api: {one.api}")
        typer.echo(f"summary: {one.summary or 'none'}")
        typer.echo(f"checkpoints: {'yes' if one.checkpoints else 'no'}")
        for what, names in one.offers.items():
            typer.echo(f"{what}: {', '.join(names)}")
        typer.echo("options:" + ("" if one.options else " none"))
        for option in one.options:
            typer.echo(f"  {option}")


@app.command("check")
def check_plugin(
    name: Name,
    group: Group = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="A folder or name to load it from; otherwise random weights.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the plugin, name=value; as often as needed."),
    ] = None,
    raws: Annotated[
        str | None,
        typer.Option(
            help="Of an encoder: what to try it on, package.module:name of three raw values of "
            "different lengths, or of a function that makes them."
        ),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", help="A check that will fail, and why: 'name of check=reason'."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a plugin, run the conformance kit on it, and say what it breaks and how to mend it.

        modalxai plugins check mel-cnn --set dim=32

        modalxai plugins check video-gru --raws my_package.video:examples

    Exit code 0: it keeps every promise. 1: it breaks one. 2: it could not be made or tried.
    """
    from tqdm import tqdm

    from modalxai import testing

    values = None if raws is None else _named(raws)
    chosen = {key: _read(value) for key, value in _pairs(options or (), "--set dim=8").items()}
    expected = _pairs(expect or (), "--expect 'padding is zero=why'")
    groups = _groups(name, group)
    with tqdm(desc=name, unit="check", leave=False, disable=None) as bar:  # on a terminal only

        def tell(check: str, place: int, total: int) -> None:
            bar.total, bar.n = total, place
            bar.set_postfix_str(check)

        with testing.watched(tell):
            reports = [
                testing.check_plugin(
                    one,
                    name,
                    checkpoint=checkpoint,
                    options=chosen,
                    expected=expected,
                    game=_voices,
                    raws=values,
                )
                for one in groups
            ]
    if as_json:
        rows = [report.to_dict() for report in reports]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for report in reports:
            typer.echo(str(report))
    if not all(report.passed for report in reports):
        raise typer.Exit(BAD)


def _groups(name: str, group: str | None) -> list[str]:
    """The groups in which to look: the one asked for, or all that have the name."""
    if group is not None:
        return [plugins.inspect(group, name).group]
    return [info.group for info in plugins.find(name)]


def _pairs(given: Sequence[str], example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            raise InputError(
                "an option that cannot be read",
                expected="name=value, each name once",
                got=repr(text),
                mend=f"write {example}, for example",
            )
        found[name] = value
    return found


def _named(place: str) -> list[Any]:
    """What lies under a name in a module, or what the function there returns."""
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"nothing is called {place!r}",
            expected="package.module:name, where Python can import the package",
            got=f"{type(error).__name__}: {error}",
            mend="install the package, and write my_package.video:examples, say",
        ) from error
    values = found() if callable(found) else found
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise InputError(
            f"{place} holds no raw values",
            expected="a list of what the encoder's collate takes",
            got=type(values).__name__,
            mend="give three of different lengths",
        )
    return list(values)


def _read(value: str) -> Any:
    """A json value where it is one, else the text itself."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _voices() -> ModelGame:
    """A small random model asked about spoken samples, for attributors that edit recordings."""
    import torch

    from modalxai.datasets import tonebench
    from modalxai.model import EmotionModel
    from modalxai.types import labels

    corpus = tonebench.ToneBench(tonebench.xor(), 3, speakers=range(3))
    samples = [{name: corpus[row][name] for name in ("id", "audio", "text")} for row in range(3)]
    samples[1]["text"] = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size: dict[str, Any] = {"dim": 8, "channels": 8, "layers": 2, "strides": (2, 2), "heads": 2}
        encoders = {
            "audio": plugins.create("encoders", "mel-cnn", mels=20, **size),
            "text": plugins.create("encoders", "byte-text", dim=8, layers=1, heads=2),
        }
        fusion = plugins.create(
            "fusion",
            "shallow",
            dims={modality: encoder.dim for modality, encoder in encoders.items()},
            labels=labels("anger", "joy", "sadness"),
        )
        model = EmotionModel(encoders, fusion)
    return model.game(samples)
