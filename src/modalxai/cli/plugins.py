"""``modalxai plugins``: what is installed."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from typing import Annotated

import typer

from modalxai import plugins
from modalxai.errors import PluginError

app = typer.Typer(no_args_is_help=True, help="List and show installed parts.")


@app.command("list")
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


@app.command("show")
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
