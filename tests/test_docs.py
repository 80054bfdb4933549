"""The documentation tells the truth: examples run, menus lead somewhere, nothing is left out.

`make docs` builds the site; here is what can be asked without building it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer

import modalxai

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST_EXAMPLE = 15
"""Lines of the example of a how-to page."""
EXTENSION_POINTS = (
    "encoder fusion attributor dataset removal division transcriber translator".split()
)
WRITTEN_LATER = {"tonebench", "speed"}
"""Pages that a command writes."""
COMMANDS = ("modalxai.cli", "modalxai.recipes.", "modalxai.benchmark.")
"""What commands are made of; some of it has a page all the same."""
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts and BLOCK.search(path.read_text(encoding="utf-8"))
)


def named(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


def run(text: str, path: Path, name: str) -> None:
    """Every block of a page in turn, in a module of its own, so that classes can be pickled."""
    page = ModuleType(name)
    sys.modules[name] = page
    try:
        for block in BLOCK.finditer(text):
            above = "\n" * (text.count("\n", 0, block.start()) + 1)
            exec(compile(above + block[1], str(path), "exec"), page.__dict__)
    finally:
        del sys.modules[name]


@pytest.fixture
def plugins_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = modalxai.plugins.create.__self__
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_python_block_of_a_page_runs(path, tmp_path, monkeypatch, plugins_as_before):
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        run(path.read_text(encoding="utf-8"), path, f"page_{path.stem}")


def test_a_block_that_fails_is_noticed(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run("text\n\n```python\n1 / 0\n```\n", tmp_path / "page.md", "page_that_fails")
    assert "page_that_fails" not in sys.modules


@pytest.mark.parametrize("name", EXTENSION_POINTS)
def test_each_extension_point_has_a_complete_example_of_few_lines(name):
    blocks = BLOCK.findall((DOCS / "how_to" / f"{name}.md").read_text(encoding="utf-8"))
    example = [line for line in blocks[1].splitlines() if line.strip()]
    assert any(line.startswith("class ") for line in example)
    assert len(example) <= LONGEST_EXAMPLE
    assert max(map(len, example)) <= 100


def entries(path: Path) -> list[str]:
    """What the menus of a page name."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
    if path.suffix == ".rst":
        blocks = re.findall(r"\.\. toctree::\n((?: {3}.*\n|\n)*)", text)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [re.sub(r".*<(.+)>", r"\1", line) for line in lines if line and not line.startswith(":")]


def exists(page: Path, entry: str) -> bool:
    place = (page.parent / entry).resolve()
    if place.parent == DOCS / "tutorials":
        source = ROOT / "examples" / "tutorials"
        return entry.endswith("/index") or (source / f"{place.name}.py").is_file()
    return any(place.with_name(place.name + end).is_file() for end in (".md", ".rst"))


def test_every_menu_leads_somewhere_and_every_page_is_in_one():
    found: set[Path] = set()
    pages = [
        path
        for path in (*DOCS.rglob("*.md"), *DOCS.rglob("*.rst"))
        if not {"_build", "tutorials", "_ext", "inventories"} & set(path.relative_to(DOCS).parts)
    ]
    for page in pages:
        for entry in entries(page):
            if entry in WRITTEN_LATER and not exists(page, entry):
                continue
            assert exists(page, entry), f"{named(page)} names {entry}, which is not there"
            found.add((page.parent / entry).resolve())
    left = {named(path) for path in pages if path.with_suffix("") not in found} - {"index.md"}
    assert left == set()


def test_links_between_pages_lead_somewhere():
    for page in DOCS.rglob("*.md"):
        if "_build" in page.parts:
            continue
        for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", page.read_text("utf-8")):
            assert exists(page, target), f"{named(page)} links to {target}, which is not there"


def test_every_command_that_a_page_names_is_there():
    from modalxai.cli import app

    known = set(typer.main.get_command(app).commands)
    for page in (*DOCS.rglob("*.md"), ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"):
        if "_build" in page.parts:
            continue
        text = page.read_text(encoding="utf-8")
        blocks = "".join(re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        named_here = set(re.findall(r"^modalxai ([a-z]+)\b", blocks, re.MULTILINE))
        named_here |= set(re.findall(r"`modalxai ([a-z]+)\b", text))
        assert named_here <= known, page.name


def test_every_tutorial_has_a_place_and_is_short_and_none_reads_the_network():
    scripts = {path.name: path for path in (ROOT / "examples" / "tutorials").glob("plot_*.py")}
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        order = importlib.import_module("tutorial_order").ORDER
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    assert set(scripts) == set(order)
    for path in scripts.values():
        text = path.read_text(encoding="utf-8")
        compile(text, str(path), "exec")
        assert len(text.splitlines()) < 200
        assert "http" not in text
        assert "# %%" in text


def test_inventories_are_what_their_table_says():
    sys.path.insert(0, str(DOCS / "inventories"))
    try:
        make = importlib.import_module("make")
    finally:
        sys.path.remove(str(DOCS / "inventories"))
        sys.modules.pop("make", None)
    for project, names in make.NAMES.items():
        assert (DOCS / "inventories" / f"{project}.inv").read_bytes() == make.inventory(project)
        assert len({name for name, *_ in names}) == len(names)


def setting(name: str) -> object:
    """A literal of conf.py, which is not run: it changes numpy for the build."""
    tree = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))
    found = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]
    return ast.literal_eval(found[0])


def rooms_with_pages() -> list[str]:
    pages = (DOCS / "api").glob("*.rst")
    return [
        room
        for page in pages
        for room in re.findall(r"public-room:: (\S+)", page.read_text(encoding="utf-8"))
    ]


def public(module: ModuleType) -> dict[str, object]:
    return {
        name: getattr(module, name)
        for name in getattr(module, "__all__", ())
        if not isinstance(getattr(module, name), ModuleType)
    }


def test_every_room_has_a_page_and_every_public_name_a_room():
    rooms = rooms_with_pages()
    assert sorted(rooms) == sorted(setting("public_api_rooms"))
    assert len(set(rooms)) == len(rooms)
    documented: set[int] = set()
    for room in rooms:
        module = importlib.import_module(room)
        documented |= {id(value) for value in public(module).values()}
        if not hasattr(module, "__all__"):
            documented |= {id(value) for value in vars(module).values()}
    hidden = []
    for info in pkgutil.walk_packages(modalxai.__path__, "modalxai."):
        private = any(part.startswith("_") for part in info.name.split("."))
        if not info.ispkg or private or info.name.startswith(COMMANDS):
            continue
        for name, value in public(importlib.import_module(info.name)).items():
            if id(value) not in documented:
                hidden.append(f"{info.name}.{name}")
    assert hidden == []


def test_every_public_class_and_function_says_what_it_is():
    silent = []
    for room in rooms_with_pages():
        for name, value in public(importlib.import_module(room)).items():
            if (inspect.isclass(value) or inspect.isroutine(value)) and not (
                getattr(value, "__doc__", None) or ""
            ).strip():
                silent.append(f"{room}.{name}")
    assert silent == []


@pytest.fixture
def pages_of_the_api() -> Iterator[ModuleType]:
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        yield importlib.import_module("public_api")
    finally:
        sys.path.remove(str(DOCS / "_ext"))
        sys.modules.pop("public_api", None)


def test_every_public_constant_says_what_it_is(pages_of_the_api):
    silent = []
    for room in rooms_with_pages():
        module = importlib.import_module(room)
        for name, value in public(module).items():
            if inspect.isclass(value) or inspect.isroutine(value):
                continue
            if not pages_of_the_api._said(module, name):
                silent.append(f"{room}.{name}")
    assert silent == []


def test_changelog_fragments_can_be_collected():
    done = subprocess.run(
        [sys.executable, str(ROOT / "changelog.d" / "collect.py")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## next")


def test_versions_and_licence_agree():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', pyproject, re.MULTILINE)[1]
    for name in ("CITATION.cff", "docs/cite.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert version in text, name
        assert "Apache-2.0" in text, name


def test_the_workflow_and_the_issue_forms_are_yaml_and_name_every_python():
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    ends = workflow["jobs"]["versions"]["strategy"]["matrix"]["include"]
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lowest = re.search(r'"torch>=([\d.]+),', pyproject)[1]
    assert f"torch=={lowest} " in ends[0]["packages"]
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(form.read_text(encoding="utf-8"))


@pytest.mark.full
def test_the_site_builds_without_warnings_runs_its_tutorials_and_asks_nobody(
    tmp_path, pages_of_the_api
):
    pytest.importorskip("sphinx_gallery")
    from sphinx.util.inventory import InventoryFile

    site = tmp_path / "html"
    command = ["-m", "sphinx", "-n", "-W", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [sys.executable, *command, str(DOCS), str(site)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    names = {name for kind in inventory.data.values() for name in kind}
    homes = pages_of_the_api.homes(setting("public_api_rooms"))
    assert set(homes.values()) - names == set()
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text("utf-8")
        )
        assert [one for one in loaded if "canonical" not in one] == [], page
