"""``modalxai convert``: published pickles to safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modalxai.cli.root import AsJson, put


def convert(
    encoder: Annotated[
        str, typer.Argument(help="The encoder that is to read them: hanbert, kobert, ...")
    ],
    folder: Annotated[Path, typer.Argument(help="The folder as it was published.")],
    as_json: AsJson = False,
) -> None:
    """Turn weights that exist only as a pickle into safetensors, once; reads tensors only.

    modalxai convert hanbert HanBert-54kN-torch
    """
    from modalxai.encoders import conversion

    written = conversion.convert(encoder, folder)
    put(f"written: {written}", {"written": str(written)}, as_json)
