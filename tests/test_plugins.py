from __future__ import annotations

import importlib.metadata
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modalxai import plugins
from modalxai.errors import DependencyError, InputError, PluginError
from modalxai.plugins import PluginInfo, Registry

Environment = Callable[..., Registry]


def install(
    folder: Path,
    package: str,
    entry_points: str | bytes | None,
    version: str = "1.0",
    metadata: str | bytes | None = "",
    **modules: str,
) -> Path:
    """Lay out what an installer leaves: a dist-info folder and modules."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    if metadata is not None:
        text = metadata or f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        (info / "METADATA").write_bytes(text if isinstance(text, bytes) else text.encode())
    if entry_points is not None:
        text = entry_points
        (info / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return info


def offers(**targets: str) -> str:
    lines = "\n".join(f"{name} = {target}" for name, target in targets.items())
    return f"[modalxai.encoders]\n{lines}\n"


def over(*folders: Path) -> Registry:
    """A registry of exactly these folders, in this order."""
    path = [str(folder) for folder in folders]
    return Registry(lambda: importlib.metadata.distributions(path=path))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path, whose modules are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


ACME = """
class Encoder:
    'Says how wide it is.'
    class Inner:
        pass
    def __init__(self, dim=4, *, depth=1):
        if dim < 0:
            raise TypeError('dim below zero')
        self.dim, self.depth, self.source = dim, depth, None
    @classmethod
    def from_pretrained(cls, checkpoint, depth=1):
        made = cls(depth=depth)
        made.source = checkpoint
        return made

class Strict:
    def __init__(self, dims, labels): ...

def factory(dim=3):
    return Encoder(dim)

def swallows(**settings):
    return settings

number = 3
"""


@pytest.fixture
def acme(site: Path) -> Registry:
    targets = {
        "inner": "acme:Encoder.Inner",
        "made": "acme:factory",
        "number": "acme:number",
        "plain": "acme:Encoder",
        "strict": "acme : Strict [extra]",
        "swallows": "acme:swallows",
    }
    install(site, "acme-tools", offers(**targets), acme=ACME)
    return over(site)


def says(error: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    for part in parts:
        assert part in str(error.value)


# listing


def test_names_are_sorted_and_nothing_is_imported(acme: Registry) -> None:
    assert acme.available("encoders") == [
        "inner",
        "made",
        "number",
        "plain",
        "strict",
        "swallows",
    ]
    assert acme.available("fusion") == acme.available("attribution") == []
    assert "acme" not in sys.modules


def test_every_built_in_is_listed() -> None:
    assert {"byte-text", "distilbert", "mel-cnn", "transformers-text", "wav2vec2"} <= set(
        plugins.available("encoders")
    )
    assert {"late", "shallow"} <= set(plugins.available("fusion"))
    assert {"feature-difference", "grad-cam", "modality-ablation", "modality-shapley"} <= set(
        plugins.available("attribution")
    )


def test_inspect_reads_metadata_only(acme: Registry) -> None:
    expected = PluginInfo("encoders", "plain", "acme-tools", "1.0", "acme:Encoder")
    assert acme.inspect("encoders", "plain") == expected
    assert "acme" not in sys.modules


@pytest.mark.parametrize("verb", ["available", "infos"])
def test_an_unknown_group_lists_the_groups(acme: Registry, verb: str) -> None:
    with pytest.raises(PluginError) as error:
        getattr(acme, verb)("encoder")
    says(error, "'encoder'", "encoders", "fusion", "attribution")


def test_an_unknown_name_lists_what_is_installed_and_the_nearest(acme: Registry) -> None:
    for verb in (acme.inspect, acme.load, acme.create):
        with pytest.raises(PluginError) as error:
            verb("encoders", "plane")
        says(error, "'plane'", "did you mean 'plain'", "swallows", "made")


def test_a_healthy_environment_agrees_with_a_second_opinion(tmp_path: Path) -> None:
    import entrypoints

    rng = random.Random(0)
    expected: dict[str, set[tuple[str, str]]] = {group: set() for group in plugins.GROUPS}
    for number in range(12):
        text = ""
        for group in rng.sample(plugins.GROUPS, rng.randint(0, 3)):
            text += f"# parts\n[modalxai.{group}]\n"
            for part in range(rng.randint(1, 3)):
                text += f"p{number}-{part} = pack{number}.sub:Part{part}\n\n"
                expected[group].add((f"p{number}-{part}", f"pack{number}.sub:Part{part}"))
        install(tmp_path, f"pack{number}", text, version=f"0.{number}")
    registry = over(tmp_path)
    for group in plugins.GROUPS:
        second = entrypoints.get_group_all(f"modalxai.{group}", path=[str(tmp_path)])
        ours = {(info.name, info.target) for info in registry.infos(group)}
        assert ours == {(e.name, f"{e.module_name}:{e.object_name}") for e in second}
        assert ours == expected[group]
        assert {(i.name, i.version) for i in registry.infos(group)} == {
            (e.name, e.distro.version) for e in second
        }


# bad neighbours

BROKEN = {
    "a line without an equals sign": {"entry_points": "[modalxai.encoders]\nnonsense\n"},
    "bytes that are not UTF-8": {"entry_points": b"[modalxai.encoders]\nx = caf\xe9:Part\n"},
    "a target without an attribute": {"entry_points": offers(x="bad")},
    "an empty target": {"entry_points": "[modalxai.encoders]\nx =\n"},
    "a target that is no name": {"entry_points": offers(x="bad-module:Part")},
    "more than a target": {"entry_points": offers(x="bad:Part and more")},
    "no METADATA": {"entry_points": offers(x="bad:Part"), "metadata": None},
    "METADATA without a name": {
        "entry_points": offers(x="bad:Part"),
        "metadata": "Metadata-Version: 2.1\nVersion: 1.0\n",
    },
    "METADATA without a version": {
        "entry_points": offers(x="bad:Part"),
        "metadata": "Metadata-Version: 2.1\nName: bad\n",
    },
    "METADATA that is not UTF-8": {
        "entry_points": offers(x="bad:Part"),
        "metadata": b"Name: bad\nVersion: 1.0\nAuthor: Andr\xe9\n",
    },
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("first", ["aaa", "zzz"])
def test_a_broken_neighbour_costs_only_its_own_plugins(
    acme: Registry, site: Path, case: str, first: str
) -> None:
    install(site, first, **BROKEN[case])  # type: ignore[arg-type]
    assert acme.available("encoders") == ["inner", "made", "number", "plain", "strict", "swallows"]
    assert acme.create("encoders", "plain").dim == 4
    (problem,) = acme.problems()
    # It says what to look at, and an unknown name tells of it too.
    assert f"{first}-1.0.dist-info" in problem or f"{first} 1.0" in problem
    with pytest.raises(PluginError) as error:
        acme.load("encoders", "x")
    says(error, problem)


@pytest.mark.parametrize(
    "case",
    [
        {"entry_points": None, "metadata": None},
        {"entry_points": "", "metadata": b"\xff\xfe"},
        {"entry_points": "[console_scripts]\nx = bad-module\n", "metadata": None},
        {"entry_points": "[modalxai.encoders]\n[modalxai.other]\nx = bad:Part\n"},
    ],
)
def test_what_offers_nothing_is_no_problem(acme: Registry, site: Path, case: dict) -> None:
    install(site, "aaa", **case)
    assert "plain" in acme.available("encoders")
    assert acme.problems() == ()


def test_things_on_the_path_that_are_no_packages_are_passed_over(
    acme: Registry, site: Path, tmp_path: Path
) -> None:
    (site / "file-1.0.dist-info").write_text("not a folder")
    (site / "folder-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)
    (site / "folder-1.0.dist-info" / "METADATA").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK not a zip")
    registry = over(tmp_path / "nowhere", tmp_path / "broken.zip", site)
    assert "plain" in registry.available("encoders")
    assert registry.problems() == ()


def test_a_section_that_comes_twice_is_read_twice(site: Path) -> None:
    install(site, "acme", offers(a="acme:Encoder") + offers(b="acme:Strict"), acme=ACME)
    assert over(site).available("encoders") == ["a", "b"]


def test_the_same_line_twice_is_one_claim(site: Path) -> None:
    install(site, "acme", 2 * offers(x="acme:Encoder"), acme=ACME)
    assert over(site).create("encoders", "x").dim == 4


def test_a_finder_that_raises_costs_a_warning(
    acme: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        @staticmethod
        def find_spec(*_: object) -> None:
            return None

        @staticmethod
        def find_distributions(_: object) -> None:
            raise OSError("disk on fire")

    monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])
    with pytest.warns(UserWarning, match="disk on fire"):
        assert "plain" in Registry().available("encoders")


# who owns a name


def test_two_packages_with_one_name_are_listed_once_and_refused_by_both_names(site: Path) -> None:
    install(site, "one", offers(same="acme:Encoder", own="acme:Strict"), acme=ACME)
    install(site, "two", offers(same="acme:Strict"), version="2.5")
    registry = over(site)
    assert registry.available("encoders") == ["own", "same"]
    assert registry.inspect("encoders", "own").package == "one"
    for verb in (registry.inspect, registry.load, registry.create):
        with pytest.raises(PluginError) as error:
            verb("encoders", "same")
        says(error, "one 1.0", "two 2.5", "'same'")


def test_one_name_in_two_groups_is_no_clash(site: Path) -> None:
    text = "[modalxai.encoders]\nx = acme:Encoder\n[modalxai.fusion]\nx = acme:Strict\n"
    install(site, "acme", text, acme=ACME)
    assert over(site).inspect("encoders", "x").target == "acme:Encoder"
    assert over(site).inspect("fusion", "x").target == "acme:Strict"


def test_one_package_with_two_targets_for_a_name_is_refused(site: Path) -> None:
    install(site, "acme", offers(x="acme:Encoder") + "x = acme:Strict\n", acme=ACME)
    with pytest.raises(PluginError) as error:
        over(site).inspect("encoders", "x")
    says(error, "acme:Encoder", "acme:Strict")


def test_a_shadowed_copy_does_not_count(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    install(near, "acme-tools", offers(new="acme:Encoder", both="acme:New"), version="2.0")
    install(far, "Acme.Tools", offers(old="acme:Encoder", both="acme:Old"), version="1.0")
    for folders, names, version in (
        ((near, far, near), ["both", "new"], "2.0"),
        ((far, near), ["both", "old"], "1.0"),
    ):
        registry = over(*folders)
        assert registry.available("encoders") == names
        assert registry.inspect("encoders", "both").version == version
        assert registry.problems() == ()


def test_a_copy_without_plugins_shadows_one_with_plugins(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    install(near, "acme", None, version="2.0")
    install(far, "acme", offers(old="acme:Encoder"))
    assert over(near, far).available("encoders") == []


def test_two_versions_in_one_folder_are_a_problem(tmp_path: Path) -> None:
    install(tmp_path, "acme", offers(x="acme:X"), version="1.0")
    install(tmp_path, "acme", offers(x="acme:X"), version="2.0")
    registry = over(tmp_path)
    assert registry.available("encoders") == ["x"]
    assert len(registry.problems()) == 1
    assert "acme is installed twice" in registry.problems()[0]


# loading and creating


def test_load_gives_the_class_behind_the_name(acme: Registry) -> None:
    made = acme.load("encoders", "plain")
    assert made is sys.modules["acme"].Encoder  # type: ignore[attr-defined]
    assert acme.load("encoders", "inner") is made.Inner  # type: ignore[attr-defined]
    assert acme.load("encoders", "strict").__name__ == "Strict"


def test_create_passes_options_or_a_checkpoint(acme: Registry) -> None:
    assert acme.create("encoders", "plain", dim=7, depth=2).dim == 7
    made = acme.create("encoders", "plain", checkpoint="folder", depth=2)
    assert (made.source, made.depth) == ("folder", 2)
    assert acme.create("encoders", "made").dim == 3
    assert acme.create("encoders", "swallows", name=1, group=2) == {"name": 1, "group": 2}


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("plain", {"dimm": 1}, ["'dimm'", "['dim', 'depth']", "did you mean 'dim'"]),
        ("plain", {"dimm": 1, "checkpoint": "x"}, ["'dimm'", "['depth']"]),
        ("plain", {"dim": 1, "checkpoint": "x"}, ["'dim'", "['depth']"]),
        ("strict", {"dims": 1}, ["'labels'", "labels=..."]),
        ("inner", {"x": 1}, ["'x'", "no options"]),
    ],
)
def test_wrong_options_are_told_before_the_call(
    acme: Registry, name: str, options: dict, parts: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        acme.create("encoders", name, **options)
    says(error, *parts)


def test_an_error_inside_the_constructor_passes_through(acme: Registry) -> None:
    with pytest.raises(TypeError, match="dim below zero"):
        acme.create("encoders", "plain", dim=-1)


def test_a_checkpoint_for_a_part_that_loads_none_is_refused(acme: Registry) -> None:
    with pytest.raises(PluginError) as error:
        acme.create("encoders", "made", checkpoint="x")
    says(error, "loads no checkpoints", "acme-tools 1.0")


def test_a_plugin_that_is_no_class_or_function_is_refused(acme: Registry) -> None:
    with pytest.raises(PluginError) as error:
        acme.load("encoders", "number")
    says(error, "acme-tools 1.0", "int")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import nowhere_to_be_found", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("def", SyntaxError),
        ("Other = 1", AttributeError),
        ("raise SystemExit('bye')", SystemExit),
    ],
)
def test_a_plugin_that_fails_to_import_is_named_with_its_cause(
    acme: Registry, site: Path, source: str, cause: type[BaseException]
) -> None:
    install(site, "sick", offers(sick="sick:Part"), version="3.1", sick=source)
    assert acme.create("encoders", "plain").dim == 4
    with pytest.raises(PluginError) as error:
        acme.create("encoders", "sick")
    says(error, "sick 3.1", "sick:Part", cause.__name__)
    assert isinstance(error.value.__cause__, cause)


def test_the_mend_of_our_own_error_survives_a_failing_import(acme: Registry, site: Path) -> None:
    source = (
        "from modalxai.errors import DependencyError\n"
        "raise DependencyError('no match', expected='a', got='b', mend='install the pair')"
    )
    install(site, "sick", offers(sick="sick:Part"), sick=source)
    with pytest.raises(PluginError) as error:
        acme.load("encoders", "sick")
    assert (error.value.got, error.value.mend) == ("no match", "install the pair")
    assert isinstance(error.value.__cause__, DependencyError)


# a running process


class Mine:
    """A class of this process."""


class Other:
    """Another one."""


def test_a_registered_class_is_listed_created_and_found(acme: Registry) -> None:
    acme.register("encoders", "mine", Mine)
    acme.register("encoders", "mine", Mine)  # the same again changes nothing
    assert "mine" in acme.available("encoders")
    assert isinstance(acme.create("encoders", "mine"), Mine)
    assert acme.origin(Mine()) == acme.inspect("encoders", "mine")
    assert acme.inspect("encoders", "mine").package == "(registered)"


@pytest.mark.parametrize("replace", [False, True])
def test_an_installed_name_cannot_be_registered(acme: Registry, replace: bool) -> None:
    with pytest.raises(PluginError) as error:
        acme.register("encoders", "plain", Mine, replace=replace)
    says(error, "acme-tools 1.0", f"{__name__}:Mine")
    assert acme.load("encoders", "plain") is not Mine


def test_a_registered_name_is_replaced_only_when_asked(acme: Registry) -> None:
    acme.register("encoders", "mine", Mine)
    with pytest.raises(PluginError) as error:
        acme.register("encoders", "mine", Other)
    says(error, ":Mine", ":Other", "replace=True")
    assert acme.load("encoders", "mine") is Mine
    acme.register("encoders", "mine", Other, replace=True)
    assert acme.load("encoders", "mine") is Other
    assert acme.inspect("encoders", "mine").target == f"{__name__}:Other"


def test_two_functions_that_look_alike_are_not_the_same_plugin(acme: Registry) -> None:
    acme.register("encoders", "mine", lambda: 1)
    with pytest.raises(PluginError):
        acme.register("encoders", "mine", lambda: 2)


@pytest.mark.parametrize(("name", "factory"), [("", Mine), (3, Mine), ("mine", "not callable")])
def test_what_cannot_be_a_plugin_cannot_be_registered(
    acme: Registry, name: object, factory: object
) -> None:
    with pytest.raises(InputError):
        acme.register("encoders", name, factory)  # type: ignore[arg-type]


def test_refresh_sees_new_packages_and_keeps_registrations(acme: Registry, site: Path) -> None:
    acme.register("encoders", "mine", Mine)
    install(site, "late", offers(late="late:Part"), late="class Part: pass")
    assert "late" not in acme.available("encoders")
    acme.refresh()
    assert {"late", "mine", "plain"} <= set(acme.available("encoders"))
    assert acme.create("encoders", "late").__class__.__name__ == "Part"


def test_a_package_that_takes_a_registered_name_clashes_by_both_names(
    acme: Registry, site: Path
) -> None:
    acme.register("encoders", "mine", Mine)
    install(site, "late", offers(mine="late:Part"))
    acme.refresh()
    with pytest.raises(PluginError) as error:
        acme.load("encoders", "mine")
    says(error, "late 1.0", f"{__name__}:Mine")


# where a part comes from


def test_origin_is_the_plugin_whose_class_it_is(acme: Registry) -> None:
    part = acme.create("encoders", "plain")
    assert acme.origin(part) == acme.origin(type(part)) == acme.inspect("encoders", "plain")


def test_origin_finds_a_class_that_its_package_re_exports(site: Path) -> None:
    install(site, "front", offers(x="front:Encoder"), front="from acme import *", acme=ACME)
    registry = over(site)
    assert registry.origin(registry.create("encoders", "x")).target == "front:Encoder"


def test_origin_imports_nothing(acme: Registry) -> None:
    with pytest.raises(PluginError):
        acme.origin(Mine())
    assert "acme" not in sys.modules


def test_origin_of_a_strangers_class_says_how_to_name_it(acme: Registry) -> None:
    sub = type("Sub", (acme.load("encoders", "plain"),), {})  # type: ignore[arg-type, misc]
    with pytest.raises(PluginError) as error:
        acme.origin(sub())
    says(error, "Sub", "mx.plugins.register(")


def test_a_part_whose_name_is_claimed_twice_has_no_origin(site: Path) -> None:
    install(site, "one", offers(same="acme:Encoder"), acme=ACME)
    install(site, "two", offers(same="acme:Strict"))
    registry = over(site)
    import acme  # type: ignore[import-not-found]

    with pytest.raises(PluginError) as error:
        registry.origin(acme.Encoder())
    says(error, "one 1.0", "two 1.0")


def test_the_module_is_one_registry_and_light() -> None:
    code = (
        "import sys, modalxai.plugins as p; p.available('encoders'); p.inspect('fusion', 'late'); "
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
