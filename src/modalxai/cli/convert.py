"""``modalxai convert``: published pickles to safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    encoder: Annotated[
        str, typer.Argument(help="The encoder that is to read them: hanbert, kobert, ...")
    ],
    folder: Annotated[Path, typer.Argument(help="The folder as it was published.")],
) -> None:
    """Turn weights that exist only as a pickle into safetensors, once; reads tensors only."""
    from modalxai.encoders import conversion

    typer.echo(f"wrote {conversion.convert(encoder, folder)}")
