"""Versions of protocols, descriptions, and the commands over them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.test_plugins import install, offers, over
from typer.testing import CliRunner

from modalxai import plugins, testing
from modalxai.cli import app
from modalxai.errors import InputError, PluginError
from modalxai.plugins import api
from modalxai.plugins.registry import Registry

runner = CliRunner()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def registered() -> Iterator[Any]:
    """Registers plugins with the running process, and takes them out again."""
    before = dict(plugins._registry._registered)
    yield plugins.register
    plugins._registry._registered.clear()
    plugins._registry._registered.update(before)


def _offered(site: Path, name: str, source: str, target: str = "Part") -> Registry:
    install(site, f"{name}-tools", offers(part=f"{name}:{target}"), **{name: source})
    return over(site)


# Versions.


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Part: ...", None),
        ("class Part:\n    modalxai_api = 1", 1),
        ("modalxai_api = 1\nclass Part: ...", 1),
        ("modalxai_api = 9\nclass Part:\n    modalxai_api = 1", 1),
        ("def Part(): ...\nPart.modalxai_api = 1", 1),
    ],
)
def test_a_version_that_is_known_is_loaded(site: Path, source: str, said: int | None) -> None:
    name = f"known{abs(hash(source))}"
    found = _offered(site, name, source)
    made = found.load("encoders", "part")
    assert api.stated(made) == said
    assert found.describe("encoders", "part").api == 1


@pytest.mark.parametrize(
    "source", ["class Part:\n    modalxai_api = 2", "modalxai_api = 2\nclass Part: ..."]
)
def test_a_later_version_is_refused_and_says_what_to_update(site: Path, source: str) -> None:
    found = _offered(site, f"later{abs(hash(source))}", source)
    with pytest.raises(PluginError) as caught:
        found.load("encoders", "part")
    for part in ("written for a later version of encoders", "modalxai_api = 2", "update modalxai"):
        assert part in str(caught.value)
    with pytest.raises(PluginError, match="later version"):
        found.create("encoders", "part")


def test_an_earlier_version_is_refused_once_it_is_no_longer_known(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = MappingProxyType({**api.API, "encoders": api.Versions(2, 3)})
    monkeypatch.setattr(api, "API", known)
    found = _offered(site, "earlier", "modalxai_api = 1\nclass Part: ...")
    with pytest.raises(PluginError) as caught:
        found.load("encoders", "part")
    for part in ("an earlier version", "2 to 3", "update earlier-tools"):
        assert part in str(caught.value)


@pytest.mark.parametrize("said", ["'1'", "True", "0", "1.0"])
def test_what_is_no_version_is_refused(site: Path, said: str) -> None:
    found = _offered(site, f"odd{abs(hash(said))}", f"class Part:\n    modalxai_api = {said}")
    with pytest.raises(PluginError, match="states no version"):
        found.load("encoders", "part")


def test_a_base_class_does_not_speak_for_its_subclass() -> None:
    class Base:
        modalxai_api = 9

    class Part(Base): ...

    assert api.stated(Base) == 9
    assert api.stated(Part) is None


def test_a_registered_plugin_is_held_to_it_too(registered: Any) -> None:
    class Part:
        modalxai_api = 2

    with pytest.raises(PluginError, match="later version"):
        registered("encoders", "part-of-tomorrow", Part)
    assert "part-of-tomorrow" not in plugins.available("encoders")


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_every_built_in_states_its_version(group: str) -> None:
    assert set(plugins.API) == set(plugins.GROUPS)
    for name in plugins.available(group):
        found = plugins.load(group, name)
        assert api.stated(found) == plugins.API[group].newest, name
        assert plugins.describe(group, name).api == plugins.API[group].newest


def test_versions_are_not_for_changing() -> None:
    with pytest.raises(TypeError):
        plugins.API["encoders"] = api.Versions(1, 2)  # type: ignore[index]


# Descriptions.


def test_a_description_has_options_and_offers() -> None:
    found = plugins.describe("encoders", "byte-text")
    assert found.summary
    assert found.checkpoints
    assert "dim" in [option.name for option in found.options]
    dim = next(option for option in found.options if option.name == "dim")
    assert (dim.kind, dim.default) == ("int", "64")
    assert str(dim) == "dim: int = 64"
    assert "mask" in found.offers["removals"]
    needed = [o.name for o in plugins.describe("fusion", "shallow").options if o.default is None]
    assert needed == ["dims", "labels"]
    assert "efficiency" in plugins.describe("attribution", "owen").offers["axioms"]
    with pytest.raises(FrozenInstanceError):
        found.api = 2  # type: ignore[misc]


def test_a_name_is_found_in_every_group_that_has_it() -> None:
    assert [info.group for info in plugins.find("owen")] == ["attribution"]
    both = plugins.find("transformers")
    assert [info.group for info in both] == ["transcribers", "translators"]
    with pytest.raises(PluginError, match="did you mean 'owen'") as caught:
        plugins.find("owne")
    assert "encoders: " in str(caught.value)


# check_plugin and the commands.


def test_a_plugin_is_checked_by_its_name() -> None:
    report = testing.check_plugin("attribution", "modality-shapley")
    report.raise_for_failures()
    assert report.subject == "modality-shapley (ModalityShapley)"
    small = testing.check_plugin("fusion", "shallow")
    assert small.subject == "shallow (ShallowFusion, at its smallest)"
    small.raise_for_failures()
    scaled = testing.check_plugin("attribution", "modality-shapley", options={"scale": "raw"})
    assert scaled.count("skipped") == 1
    with pytest.raises(InputError, match="no checks for transcribers"):
        testing.check_plugin("transcribers", "simulated")
    with pytest.raises(InputError, match="does not take 'scael'"):
        testing.check_plugin("attribution", "owen", options={"scael": "raw"})


def test_show_as_json_is_the_description() -> None:
    done = runner.invoke(app, ["plugins", "show", "late", "--json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert (row["info"]["name"], row["api"], row["checkpoints"]) == ("late", 1, True)
    assert [option["name"] for option in row["options"]][:2] == ["dims", "labels"]


def test_show_says_what_a_part_offers() -> None:
    done = runner.invoke(app, ["plugins", "show", "byte-text"])
    assert "api: 1" in done.stdout
    assert "removals: mask" in done.stdout
    both = runner.invoke(app, ["plugins", "show", "transformers"]).stdout
    assert both.count("\noptions:") == 2
    one = runner.invoke(app, ["plugins", "show", "transformers", "--group", "translators"]).stdout
    assert one.count("\noptions:") == 1
    assert "group: translators" in one


def test_check_passes_with_exit_code_0_and_says_how_many() -> None:
    done = runner.invoke(app, ["plugins", "check", "modality-ablation"])
    assert done.exit_code == 0, done.output
    assert "modality-ablation (ModalityAblation): 24 checks made (24 passed" in done.stdout


def test_check_fails_with_exit_code_1_and_names_the_promise(registered: Any) -> None:
    from broken_attributors import CentresOverTheBatch

    registered("attribution", "centred", CentresOverTheBatch)
    done = runner.invoke(app, ["plugins", "check", "centred", "--json"])
    assert done.exit_code == 1
    (report,) = json.loads(done.stdout)
    assert not report["passed"]
    failed = [check for check in report["checks"] if check["outcome"] == "failed"]
    assert [check["name"] for check in failed] == ["a sample alone is its row"]
    assert all(check["why"] and check["mend"] for check in failed)
    known = ["--expect", "a sample alone is its row=it centres, as its paper does"]
    known += ["--expect", "parts merge to the whole=for the same reason"]
    again = runner.invoke(app, ["plugins", "check", "centred", *known])
    assert again.exit_code == 0, again.output
    assert "expected failure  a sample alone is its row" in again.stdout
    assert "it centres, as its paper does" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["owne"], "did you mean 'owen'"),
        (["simulated"], "there are no checks for transcribers"),
        (["owen", "--set", "budget"], "an option that cannot be read"),
        (["owen", "--set", "scael=raw"], "does not take 'scael'"),
        (["owen", "--set", "budget=0"], "budget"),
        (["owen", "--expect", "it flies=no"], "expected failures that are no checks"),
        (["owen", "--group", "fusion"], "there is no plugin 'owen' in 'fusion'"),
        (["owen", "--group", "methods"], "unknown group"),
    ],
)
def test_a_users_error_is_exit_code_2(arguments: list[str], said: str) -> None:
    done = runner.invoke(app, ["plugins", "check", *arguments])
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not done.stdout


def test_options_are_read_as_json_where_they_are() -> None:
    options = ["--set", "scale=contrast", "--set", "against=joy"]
    done = runner.invoke(app, ["plugins", "check", "modality-shapley", *options, "--json"])
    assert done.exit_code == 0, done.output


def test_what_edits_voices_is_tried_on_spoken_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def check(group: str, name: str, **settings: Any) -> Any:
        asked.append(settings["game"]())
        return testing.Conformance(name, (testing.Check("it stands", "passed"),))

    monkeypatch.setattr(testing.plugin, "check_plugin", check)
    monkeypatch.setattr(testing, "check_plugin", check, raising=False)
    assert runner.invoke(app, ["plugins", "check", "prosody"]).exit_code == 0
    (game,) = asked
    assert game.modalities == ("audio", "text")
    assert game.present.tolist() == [[True, True], [True, False], [True, True]]


@pytest.mark.full
@pytest.mark.parametrize("group", ["encoders", "fusion", "attribution"])
def test_every_built_in_passes_by_its_name_alone(group: str) -> None:
    for name in plugins.available(group):
        done = runner.invoke(app, ["plugins", "check", name, "--group", group, "--json"])
        assert done.exit_code == 0, done.output
        (report,) = json.loads(done.stdout)
        assert report["made"] >= 19, name
