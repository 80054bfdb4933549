"""Names to classes: installed plugins and those registered by hand."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable
from functools import reduce
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from modalxai.errors import InputError, ModalxaiError, PluginError
from modalxai.paths import possible
from modalxai.plugins.api import check_api
from modalxai.plugins.description import Description, describe
from modalxai.plugins.discovery import GROUPS, REGISTERED, PluginInfo, Scan, installed, scan
from modalxai.plugins.options import check_options


class Registry:
    """The plugins of one environment and those registered by hand; the module holds one.

    Parameters
    ----------
    distributions
        Returns the distributions to read, in order of precedence. Called at first use and after
        each `refresh`.
    """

    def __init__(self, distributions: Callable[[], Iterable[Distribution]] = installed) -> None:
        self._distributions = distributions
        self._scan: Scan | None = None
        self._registered: dict[PluginInfo, Callable[..., Any]] = {}

    def available(self, group: str) -> list[str]:
        """Names of a group, sorted; imports nothing of any plugin.

        Raises
        ------
        PluginError
            ``group`` is none of `GROUPS`.
        """
        return sorted({info.name for info in self.infos(group)})

    def infos(self, group: str) -> tuple[PluginInfo, ...]:
        """Everything that claims a name in a group, a name claimed twice included."""
        if group not in GROUPS:
            raise PluginError(
                "unknown group of plugins",
                expected=f"one of {list(GROUPS)}",
                got=repr(group),
                mend="use the short name of the group",
            )
        return tuple(info for info in self._everything() if info.group == group)

    def inspect(self, group: str, name: str) -> PluginInfo:
        """Which package offers a name, from metadata alone.

        Raises
        ------
        PluginError
            Nothing offers the name, or two packages do.
        """
        claims = [info for info in self.infos(group) if info.name == name]
        if len(claims) == 1:
            return claims[0]
        if claims:
            raise PluginError(
                f"{len(claims)} plugins claim the name {name!r} in {group!r}",
                expected="one",
                got=" and ".join(map(str, claims)),
                mend="uninstall one of them, or ask its author to rename its plugin",
            )
        known = self.available(group)
        near = difflib.get_close_matches(str(name), known, n=1)
        raise PluginError(
            f"there is no plugin {name!r} in {group!r}",
            expected=f"one of {known}",
            got=repr(name),
            mend=(f"did you mean {near[0]!r}? Otherwise " if near else "")
            + "install the package that offers it and call mx.plugins.refresh(), "
            "or use mx.plugins.register(...)"
            + "".join(f"; {problem}" for problem in self.problems()),
        )

    def load(self, group: str, name: str) -> Callable[..., Any]:
        """Import a plugin: its class or factory.

        Raises
        ------
        PluginError
            The name is unknown or claimed twice; the plugin's module cannot be imported, then the
            original error is its cause; or it was written for a version of the protocol that this
            modalxai does not know, see `modalxai.plugins.API`.
        """
        info = self.inspect(group, name)
        if info in self._registered:
            return self._registered[info]
        module, _, attributes = info.target.partition(":")
        try:
            found = reduce(getattr, attributes.split("."), importlib.import_module(module))
        except (Exception, SystemExit) as error:
            got = f"{type(error).__name__}: {error}"
            mend = f"repair, update or uninstall {info.package}"
            if isinstance(error, ModalxaiError):  # such an error knows its mend
                got, mend = error.wrong, error.mend
            raise PluginError(
                f"the plugin {name!r} of {info.package} {info.version} cannot be imported",
                expected=f"{info.target} to import",
                got=got,
                mend=mend,
            ) from error
        if not callable(found):
            raise PluginError(
                f"the plugin {name!r} of {info.package} {info.version} makes nothing",
                expected=f"{info.target} to be a class or a function",
                got=type(found).__name__,
                mend=f"update {info.package}, or report it to its author",
            )
        check_api(group, name, info.package, found)
        made: Callable[..., Any] = found
        return made

    def describe(self, group: str, name: str) -> Description:
        """What a plugin is and takes; imports it.

        Raises
        ------
        PluginError
            See `load`.
        """
        info, found = self.inspect(group, name), self.load(group, name)
        return describe(info, check_api(group, name, info.package, found), found)

    def find(self, name: str) -> tuple[PluginInfo, ...]:
        """The plugins of that name, at most one in each group; imports nothing.

        Raises
        ------
        PluginError
            No group has the name, or two packages offer it in one group.
        """
        groups = [group for group in GROUPS if name in self.available(group)]
        if not groups:
            known = {group: self.available(group) for group in GROUPS}
            everything = sorted({one for names in known.values() for one in names})
            near = difflib.get_close_matches(str(name), everything, n=1)
            raise PluginError(
                f"there is no plugin {name!r}",
                expected="; ".join(
                    f"{group}: {', '.join(names)}" for group, names in known.items()
                ),
                got=repr(name),
                mend=(f"did you mean {near[0]!r}? Otherwise " if near else "")
                + "install the package that offers it"
                + "".join(f"; {problem}" for problem in self.problems()),
            )
        return tuple(self.inspect(group, name) for group in groups)

    def create(
        self, group: str, name: str, /, checkpoint: str | Path | None = None, **options: Any
    ) -> Any:
        """Make a part from its name.

        Parameters
        ----------
        group, name
            What to make, see `available`.
        checkpoint
            A name or folder for the part's ``from_pretrained``; without one, its class is called.
        **options
            Passed on. They are compared with the signature first; an error that the part raises
            itself passes through.

        Raises
        ------
        InputError
            An option that the part does not take, or one that it needs and did not get; a
            checkpoint that can be no path.
        PluginError
            See `load`; or a checkpoint for a part that loads none.
        """
        build = self.load(group, name)
        if checkpoint is None:
            check_options(name, build, (), options)
            return build(**options)
        load = getattr(build, "from_pretrained", None)
        if load is None:
            raise PluginError(
                f"the plugin {name!r} loads no checkpoints",
                expected="a class with from_pretrained",
                got=str(self.inspect(group, name)),
                mend="leave checkpoint out",
            )
        check_options(name, load, (checkpoint,), options)
        possible(checkpoint)
        return load(checkpoint, **options)

    def register(
        self, group: str, name: str, factory: Callable[..., Any], *, replace: bool = False
    ) -> None:
        """Add a plugin to the running process.

        Parameters
        ----------
        group, name
            What `create` will call it.
        factory
            A class, or a function that makes the part. Only a class is found by `origin`.
        replace
            Take the name from an earlier registration (a notebook cell that is run again); never
            from an installed plugin.

        Raises
        ------
        PluginError
            An installed plugin or another registration has the name, or it states a version of
            the protocol that this modalxai does not know.
        InputError
            An empty name, or a factory that cannot be called.
        """
        if not (isinstance(name, str) and name and callable(factory)):
            raise InputError(
                "this cannot be registered as a plugin",
                expected="a name and a class or function",
                got=f"{name!r} and {factory!r}",
                mend='write mx.plugins.register("encoders", "my-encoder", MyEncoder)',
            )
        if group in GROUPS:
            check_api(group, name, "this process", factory)
        attribute = getattr(factory, "__qualname__", type(factory).__qualname__)
        target = f"{getattr(factory, '__module__', type(factory).__module__)}:{attribute}"
        info = PluginInfo(group, name, REGISTERED, "", target)
        claims = [claim for claim in self.infos(group) if claim.name == name]
        held = [claim for claim in claims if claim in self._registered]
        if any(self._registered.get(claim) is not factory for claim in claims) and not (
            replace and held == claims
        ):
            raise PluginError(
                f"the name {name!r} is taken in {group!r}",
                expected="a free name",
                got=f"{info}, and {' and '.join(map(str, claims))} has the name",
                mend="register under another name"
                + (", or with replace=True" if held == claims else ""),
            )
        for claim in held:
            del self._registered[claim]
        self._registered[info] = factory

    def refresh(self) -> None:
        """Read the environment again at the next use; registrations stay."""
        importlib.invalidate_caches()
        self._scan = None

    def problems(self) -> tuple[str, ...]:
        """What kept plugins of installed packages from being listed, one sentence each."""
        return self._found().problems

    def origin(self, part: object) -> PluginInfo:
        """The plugin that an object's class is, found without importing anything.

        Raises
        ------
        PluginError
            No plugin is this class; a subclass of a plugin's class is another class.
        """
        cls = part if isinstance(part, type) else type(part)
        for info in self._everything():
            if info.target == f"{cls.__module__}:{cls.__qualname__}" or _present(info) is cls:
                return self.inspect(info.group, info.name)
        raise PluginError(
            f"{cls.__module__}.{cls.__qualname__} is not a plugin's class, "
            "so that nobody could rebuild this part by name",
            expected="the class of an installed or registered plugin",
            got=cls.__qualname__,
            mend=f'name it: mx.plugins.register("encoders", "my-name", {cls.__name__}), '
            "with the group that it belongs to",
        )

    def _found(self) -> Scan:
        if self._scan is None:
            self._scan = scan(self._distributions())
        return self._scan

    def _everything(self) -> tuple[PluginInfo, ...]:
        return self._found().plugins + tuple(self._registered)


def _present(info: PluginInfo) -> object:
    """What the target names if its module is imported already: a class may be re-exported."""
    module, _, attributes = info.target.partition(":")
    found: object = sys.modules.get(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute, None)
    return found
