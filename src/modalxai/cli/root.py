"""The command itself: its options, how it prints, and how an error ends it."""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modalxai.errors import InputError, ModalxaiError

BAD, MISTAKE, BUG, STOPPED = 1, 2, 3, 130
"""Exit codes: done but something in the data is bad; a mistake to mend; our error; Ctrl-C."""
PATIENCE = "2"
"""Seconds before a progress bar appears."""

AsJson = Annotated[bool, typer.Option("--json", help="Print json, and no progress.")]


class Plain(TyperGroup):
    """A group that says plainly what went wrong: a traceback helps only against bugs."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see `BAD` and the others for how it may end."""
        try:
            with _patient_bars():
                return super().invoke(ctx)
        except ModalxaiError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(MISTAKE) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(STOPPED) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has had enough: `| head`
                raise
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(MISTAKE) from error
        except Exception as error:
            if isinstance(error, typer.Abort) or hasattr(error, "exit_code"):
                raise  # a way to end that typer knows
            traceback.print_exc()
            typer.echo(
                "error: nobody expected this. If it was no plugin or part of yours that failed, "
                "please report it to modalxai, with the lines above.",
                err=True,
            )
            raise typer.Exit(BUG) from error


@contextmanager
def _patient_bars() -> Iterator[None]:
    """No progress bar for what takes no time, of ours or of others ("Loading weights")."""
    name = "TQDM_DELAY"  # read when tqdm is imported, which no command has done yet
    before = os.environ.get(name)
    os.environ.setdefault(name, PATIENCE)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def put(text: str, record: Mapping[str, Any], as_json: bool) -> None:
    """Print a result: as text, or as one json object."""
    typer.echo(json.dumps(record, ensure_ascii=False, indent=2) if as_json else text)


app = typer.Typer(
    cls=Plain,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""What does a multimodal emotion model listen to: the words or the voice?

First steps, the second and third with what the first wrote:

    modalxai demo --out demo

    modalxai explain demo/model demo/clips.csv --out demo/run

    modalxai report demo/run --recordings --out demo/run.html

Every command says more: modalxai COMMAND --help. explain, recipe and bench go on where they were
stopped.

Exit codes: 0 done; 1 done, and something in the data, or a plugin, is bad; 2 a mistake, and the
message says how to mend it; 3 an error of modalxai or of a plugin; 130 stopped by Ctrl-C.
""",
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
