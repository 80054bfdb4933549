"""The API pages are made from what the modules say is public; nothing is listed by hand.

``.. public-room:: modalxai.attribution`` documents every name of the module's ``__all__``, or
every class and function that a module without one defines. An object with two public names is
documented once, in the first room of ``public_api_rooms`` that has it, and the others link there.

Names in the docstrings' single backticks are resolved as a reader of the code would: in the class,
then in its module, then in the whole library. A name that exists but is not public is shown as
code; one that does not exist is a warning, which ``make docs`` turns into an error.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.ext.intersphinx import resolve_reference_detect_inventory
from sphinx.ext.napoleon.docstring import NumpyDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

PACKAGE = "modalxai"
OUTSIDE = {
    # Where an annotation says another name than the other project's documentation.
    "Tensor": "torch.Tensor",
    "device": "torch.device",
    "torch._C.device": "torch.device",
    "nn.Module": "torch.nn.Module",
    "torch.nn.modules.module.Module": "torch.nn.Module",
    "np.ndarray": "numpy.ndarray",
    "NDArray": "numpy.typing.NDArray",
    "np.float64": "numpy.float64",
    "np.int64": "numpy.int64",
    "numpy._typing._array_like.NDArray": "numpy.typing.NDArray",
    "Path": "pathlib.Path",
    "pathlib._local.Path": "pathlib.Path",
    "numpy.random._generator.Generator": "numpy.random.Generator",
    "numpy.bool": "numpy.bool_",
}


def public_names(module: ModuleType) -> list[str]:
    """What a module offers: its ``__all__``, or the classes and functions that it defines."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not name.startswith("__")]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


def _named(value: object) -> bool:
    """Whether it can be told by its identity: strings and numbers are shared by all."""
    return inspect.isclass(value) or callable(value)


def homes(rooms: list[str]) -> dict[str, str]:
    """By public name (room and name) the public name under which it is documented."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for room in rooms:
        module = importlib.import_module(room)
        for name in public_names(module):
            value = getattr(module, name)
            if isinstance(value, ModuleType):
                continue
            full = f"{room}.{name}"
            found[full] = first.setdefault(id(value), full) if _named(value) else full
    return found


class PublicRoom(SphinxDirective):
    """A table of a module's names, then each of them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes of the page."""
        room = self.arguments[0]
        module = importlib.import_module(room)
        known = homes(self.config.public_api_rooms)
        lines = [f".. py:module:: {room}", ""]
        below: list[str] = []
        table: list[str] = []
        for name in public_names(module):
            value, full = getattr(module, name), f"{room}.{name}"
            if isinstance(value, ModuleType):
                continue
            home = known[full]
            table.append(f"   * - :py:obj:`{name} <{home}>`")
            table.append(f"     - {_first_line(value, module, name)}")
            if home == full:
                below += _entry(full, value, _said(module, name), self.config)
        if table:
            lines += [".. list-table::", "   :widths: 30 70", "   :class: api-table", "", *table]
        lines += ["", *below]
        place = nodes.section()
        place.document = self.state.document
        self.state.nested_parse(StringList(lines, source=self.get_location()), 0, place)
        return place.children


def _entry(full: str, value: object, said: str, config: Config) -> list[str]:
    if inspect.isclass(value):
        bases = [] if value.__bases__ == (object,) else ["   :show-inheritance:"]
        return [f".. autoclass:: {full}", "   :members:", *bases, ""]
    room, _, name = full.rpartition(".")
    if inspect.isfunction(value):
        return [f".. autofunction:: {full}", ""]
    if inspect.isroutine(value):  # a method of an object that the module holds
        text = NumpyDocstring(inspect.cleandoc(value.__doc__ or ""), config).lines()
        head = [f".. py:function:: {name}{inspect.signature(value)}", f"   :module: {room}", ""]
        return [*head, *(f"   {line}".rstrip() for line in text), ""]
    return [f".. py:data:: {name}", f"   :module: {room}", "", f"   {said}", ""]


def _first_line(value: object, module: ModuleType, name: str) -> str:
    if inspect.isclass(value) or inspect.isroutine(value):
        text = (inspect.getdoc(value) or "").split("\n\n")[0]
        return " ".join(text.split()).replace("::", ":")
    return _said(module, name)


def _said(module: ModuleType, name: str) -> str:
    """The string below an assignment, wherever the name was first assigned."""
    value = getattr(module, name)
    for place in _modules():
        if vars(place).get(name) is value or vars(place).get(name) == value:
            docs = ModuleAnalyzer.for_module(place.__name__).find_attr_docs()
            if ("", name) in docs:
                return " ".join(docs["", name]).strip()
    return ""


@cache
def _modules() -> tuple[ModuleType, ...]:
    package = importlib.import_module(PACKAGE)
    found = [package]
    for info in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if info.name.endswith("__main__"):
            continue
        try:
            found.append(importlib.import_module(info.name))
        except ImportError:  # an optional package is not installed
            continue
    return tuple(found)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
) -> nodes.Node | None:
    """A reference that Sphinx has not found: another name of something, or no public thing."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].lstrip("~.").removesuffix("()")
    target = f"{PACKAGE}{target[2:]}" if target.startswith("mx.") else target
    # Whatever kind of thing it is there: annotations call everything a class.
    node["reftarget"], node["reftype"] = OUTSIDE.get(target, target), "obj"
    elsewhere = resolve_reference_detect_inventory(env, node, shown)
    if elsewhere is not None:
        return elsewhere
    node["reftarget"] = target
    exists, value = _look_up(target, node.get("py:module"), node.get("py:class"))
    if not exists:
        return None
    domain = env.domains["py"]
    for name in _public_names_of(app, value, target):
        if name in domain.objects:
            entry = domain.objects[name]
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, shown, name
            )
    return shown


def _public_names_of(app: Sphinx, value: object, target: str) -> list[str]:
    """Names under which a value, or the member of a class, may be documented."""
    found = []
    for full, home in homes(app.config.public_api_rooms).items():
        room, _, name = full.rpartition(".")
        public = getattr(importlib.import_module(room), name)
        if _named(value) and public is value:
            return [home]
        if not _named(value) and full.rpartition(".")[2] == target.rpartition(".")[2]:
            found.append(home)
        qualified = getattr(value, "__qualname__", "")
        if inspect.isclass(public) and qualified.startswith(f"{public.__name__}."):
            member = qualified.removeprefix(f"{public.__name__}.")
            if getattr(public, member, None) is value:
                found.append(f"{home}.{member}")
    return found


def _look_up(target: str, module: str | None, cls: str | None) -> tuple[bool, Any]:
    """Whether a name means something, and what: in a class, its module, the library."""
    starts: list[Any] = []
    if module and cls:
        owner = _walk(importlib.import_module(module), cls)
        if owner is not None:
            starts += [owner, importlib.import_module(owner.__module__)]
    if module:
        starts.append(importlib.import_module(module))
    for start in starts:
        value = _walk(start, target)
        if value is not None:
            return True, value
        if target in getattr(start, "__annotations__", {}) or _field(start, target):
            return True, target
    if target == PACKAGE or target.startswith(f"{PACKAGE}."):
        parts = target.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                place = importlib.import_module(".".join(parts[:cut]))
            except ImportError:
                continue
            if cut == len(parts):
                return True, place
            value = _walk(place, ".".join(parts[cut:]))
            return (True, value) if value is not None else (_field(place, parts[-1]), target)
    for place in _modules():
        value = _walk(place, target)
        if value is not None:
            return True, value
    return False, None


def _walk(start: Any, path: str) -> Any | None:
    for name in path.split("."):
        try:
            start = getattr(start, name)
        except AttributeError:
            return None
    return start


def _field(start: Any, name: str) -> bool:
    """Whether a class, or any of its parents, annotates the name: a field without a default."""
    return inspect.isclass(start) and any(
        name in getattr(parent, "__annotations__", {}) for parent in start.__mro__
    )


def _text(docstring: Any) -> list[str]:
    """All lines of a property's docstring as they are.

    napoleon takes what stands before a colon in the first line for a type. Ours have their types
    in the annotations, and colons where a sentence has them.
    """
    return list(docstring._consume_to_end())


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    NumpyDocstring._parse_attribute_docstring = _text
    app.add_config_value("public_api_rooms", [], "env", list)
    app.add_directive("public-room", PublicRoom)
    app.connect("missing-reference", resolve, priority=900)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
