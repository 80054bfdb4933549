"""Small inventories of other projects, so that the documentation builds without a network.

An inventory (``objects.inv``) tells Sphinx on which page of another project's documentation a name
is explained. The whole ones are large, change daily and lie on the network. Those here hold the
names that our pages use and nothing else. They are written from the table below, whose addresses
follow each project's own rule:

- Python: the page of the library, the name as anchor (``library/pathlib.html#pathlib.Path``).
- numpy: ``reference/generated/NAME.html#NAME``; types of annotations have one page.
- torch: ``generated/NAME.html#NAME``; tensors, devices and types have pages of their own.

A name that is missing makes ``make docs`` fail and say so: add it here, then run
``python docs/inventories/make.py``. ``tests/test_docs.py`` compares the files with this table.
"""

from __future__ import annotations

import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent

# project: [(name, kind, address, "$" stands for the name)]
NAMES: dict[str, list[tuple[str, str, str]]] = {
    "python": [
        *[(n, "class", "library/functions.html#$") for n in ("bool", "float", "int", "object")],
        *[(n, "class", "library/stdtypes.html#$") for n in ("dict", "list", "str", "tuple")],
        *[(n, "class", "library/stdtypes.html#$") for n in ("bytes", "set", "frozenset")],
        ("type", "class", "library/functions.html#$"),
        ("property", "class", "library/functions.html#$"),
        ("None", "data", "library/constants.html#$"),
        *[
            (n, "exception", "library/exceptions.html#$")
            for n in (
                "Exception", "ValueError", "TypeError", "RuntimeError", "LookupError",
                "ImportError", "IndexError", "KeyError", "AssertionError", "AttributeError",
                "OSError", "FileNotFoundError", "NotImplementedError",
            )
        ],
        *[
            (f"collections.abc.{n}", "class", "library/collections.abc.html#$")
            for n in (
                "Callable", "Collection", "Iterable", "Iterator", "Mapping", "MutableMapping",
                "Sequence", "Set", "Sized", "Hashable",
            )
        ],
        *[
            (f"typing.{n}", "data", "library/typing.html#$")
            for n in ("Any", "Literal", "NoReturn", "Self", "Union", "Optional", "ClassVar")
        ],
        *[
            (f"typing.{n}", "class", "library/typing.html#$")
            for n in ("Generic", "NamedTuple", "Protocol", "TypeVar", "TypedDict")
        ],
        ("abc.ABC", "class", "library/abc.html#$"),
        ("contextlib.AbstractContextManager", "class", "library/contextlib.html#$"),
        ("dataclasses.dataclass", "function", "library/dataclasses.html#$"),
        ("datetime.datetime", "class", "library/datetime.html#$"),
        ("enum.Enum", "class", "library/enum.html#$"),
        ("fractions.Fraction", "class", "library/fractions.html#$"),
        ("importlib.metadata.Distribution", "class", "library/importlib.metadata.html#$"),
        ("pathlib.Path", "class", "library/pathlib.html#$"),
        ("functools.partial", "function", "library/functools.html#$"),
        ("itertools.combinations", "function", "library/itertools.html#$"),
        ("random.Random", "class", "library/random.html#$"),
        ("str.format", "method", "library/stdtypes.html#$"),
        ("types.ModuleType", "class", "library/types.html#$"),
    ],
    "numpy": [
        *[(f"numpy.{n}", "class", "reference/generated/$.html#$") for n in ("ndarray", "dtype")],
        ("numpy.random.Generator", "class", "reference/random/generator.html#$"),
        ("numpy.random.default_rng", "function", "reference/random/generator.html#$"),
        ("numpy.typing.NDArray", "data", "reference/typing.html#$"),
        ("numpy.typing.ArrayLike", "data", "reference/typing.html#$"),
        *[
            (f"numpy.{n}", "class", "reference/arrays.scalars.html#$")
            for n in ("float64", "float32", "int64", "integer", "bool_")
        ],
    ],
    "torch": [
        ("torch.Tensor", "class", "tensors.html#$"),
        ("torch.device", "class", "tensor_attributes.html#$"),
        ("torch.dtype", "class", "tensor_attributes.html#$"),
        ("torch.Generator", "class", "generated/$.html#$"),
        *[
            (f"torch.nn.{n}", "class", "generated/$.html#$")
            for n in ("Module", "ModuleDict", "ModuleList", "Parameter", "ParameterDict", "Linear",
                      "GRU", "Conv1d", "Conv2d", "Sequential", "LayerNorm", "Dropout")
        ],
        ("torch.OutOfMemoryError", "exception", "generated/$.html#$"),
        ("torch.compile", "function", "generated/$.html#$"),
        ("torch.optim.Optimizer", "class", "optim.html#$"),
        ("torch.utils.data.Dataset", "class", "data.html#$"),
        ("torch.utils.data.DataLoader", "class", "data.html#$"),
        ("torch.utils.data.Sampler", "class", "data.html#$"),
    ],
}  # fmt: skip


def inventory(project: str) -> bytes:
    """The file, version 2 of the format: four lines of heading, the rest compressed."""
    rows = [
        f"{name} py:{kind} 1 {address.replace('$', name)} -\n"
        for name, kind, address in NAMES[project]
    ]
    heading = (
        "# Sphinx inventory version 2\n"
        f"# Project: {project}\n"
        "# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    return heading.encode() + zlib.compress("".join(rows).encode(), 9)


if __name__ == "__main__":
    for project in NAMES:
        (HERE / f"{project}.inv").write_bytes(inventory(project))
        print(f"{project}.inv: {len(NAMES[project])} names")
