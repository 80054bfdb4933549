"""The command itself: its options, and how an error of ours ends it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modalxai.errors import InputError, ModalxaiError


class Plain(TyperGroup):
    """A group that turns a `ModalxaiError` into its message: a traceback helps no user."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit code 2 after an error of ours."""
        try:
            return super().invoke(ctx)
        except ModalxaiError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=Plain,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What does a multimodal emotion model listen to: the words or the voice?",
)


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


def usable(device: str) -> str:
    """A device's name, or an `InputError` where there is no such device."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"the device {device!r} cannot be used",
            expected="cpu, or a device of this machine: cuda, cuda:1, mps, ...",
            got=str(error).splitlines()[0],
            mend="leave --device out for the CPU",
        ) from error
    return device
