"""The command ``modalxai``. An error of ours is printed plainly and ends with exit code 2."""

from __future__ import annotations

from modalxai.cli import bench, convert, datasets, explaining, plugins, recipes
from modalxai.cli.root import app

__all__ = ["app"]

app.command()(recipes.demo)
app.command()(explaining.explain)
app.command()(explaining.report)
app.command()(recipes.recipe)
app.command()(convert.convert)
app.add_typer(bench.app, name="bench")
app.add_typer(plugins.app, name="plugins")
app.add_typer(datasets.app, name="datasets")
