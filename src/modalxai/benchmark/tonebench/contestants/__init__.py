"""Everybody who takes part, in one list."""

from __future__ import annotations

from modalxai.benchmark.tonebench.contestant import Contestant
from modalxai.benchmark.tonebench.contestants.captum_methods import CAPTUM
from modalxai.benchmark.tonebench.contestants.controls import CONTROLS
from modalxai.benchmark.tonebench.contestants.ours import DEFAULT, plugins_in
from modalxai.benchmark.tonebench.contestants.practices import PRACTICES
from modalxai.benchmark.tonebench.contestants.shap_methods import SHAP
from modalxai.benchmark.tonebench.contestants.shapiq_methods import SHAPIQ
from modalxai.errors import PluginError

__all__ = ["DEFAULT", "everybody"]


def everybody() -> tuple[Contestant, ...]:
    """All of them: every installed attributor, and the practices and libraries beside it.

    An attributor enters by its entry point, group ``modalxai.attribution``, or by
    ``mx.plugins.register``; it is made from its name alone.

    Raises
    ------
    PluginError
        A plugin with the name of another contestant.
    """
    found = (*plugins_in(), *PRACTICES, *CONTROLS, *CAPTUM, *SHAP, *SHAPIQ)
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PluginError(
            f"two contestants are called {twice[0]!r}",
            expected="different names",
            got=str(twice),
            mend="rename the plugin",
        )
    return found
