"""The contest itself: who is asked what, what it costs, and that gates close."""

import json
from dataclasses import replace

import pytest
import torch

import modalxai as mx
from modalxai import plugins
from modalxai.benchmark.tonebench import arenas, command, contest, systems, tables
from modalxai.benchmark.tonebench.contestant import Answer, Method, installed
from modalxai.benchmark.tonebench.contestants import DEFAULT, everybody
from modalxai.benchmark.tonebench.contestants.controls import attention_mass
from modalxai.benchmark.tonebench.contestants.ours import Plugin
from modalxai.benchmark.tonebench.counting import counted
from modalxai.benchmark.tonebench.settings import MOST_FAILED, Settings
from modalxai.benchmark.tonebench.whole import WholeModel
from modalxai.datasets import tonebench
from modalxai.errors import CheckpointError, InputError, PluginError
from modalxai.stages import plain

TINY = Settings(
    families=("NULL", "SUM"),
    seeds=1,
    samples=6,
    clips=24,
    texts=24,
    teacher_epochs=1,
    epochs=1,
    dim=8,
    channels=8,
    rendering=0,
)
EXACT = ("captum/ShapleyValues", "shapiq/ExactComputer")


def arena_of(family):
    made = tonebench.FAMILIES[family]
    torch.manual_seed(0)
    model = systems.build(made, TINY).eval()
    for weight in model.fusion.parameters():
        weight.data *= 2
    for weight in model.fusion.missing.values():
        weight.data.normal_()
    samples, donors = arenas.explained(made, 0, TINY), arenas.donors(made, 0)
    table = tonebench.factorial(
        lambda mixed: model.predict(list(mixed)), samples, model.modalities, donors=donors
    )
    return contest.Arena(
        family=family,
        seed=0,
        model=model,
        samples=samples,
        background=donors,
        gold=torch.from_numpy(table.shapley()),
        kinds=torch.from_numpy(table.types()[:, :, 0, 1].copy()),
        dummies=(),
        tracks=arenas.tracks(tuple(made.modalities)),
    )


@pytest.fixture(scope="module")
def two():
    return arena_of("CONFLICT")


@pytest.fixture(scope="module")
def three():
    return arena_of("PARITY")


def question(arena, track=0):
    return contest._question(arena, arena.tracks[track], arena.predicted())


def asked(name):
    return next(one for one in everybody() if one.name == name)


@pytest.mark.parametrize("which", ["two", "three"])
@pytest.mark.parametrize("track", [0, 1, 2])
def test_a_whole_model_says_what_the_game_says_without_knowing_its_parts(which, track, request):
    ask = question(request.getfixturevalue(which), track)
    whole = WholeModel(ask)
    table = mx.explain(ask.model, list(ask.samples), **ask.removal()).values("clr").mean(0)
    for row in range(len(table)):
        masks = torch.tensor([[row >> m & 1 for m in range(whole.players)]] * len(ask.samples))
        assert torch.allclose(whole(masks, whole.rows), table[row], atol=1e-5)


def test_rows_are_those_that_reach_the_encoders_and_repeated_ones_are_charged(two):
    ask = question(two)
    whole, samples = WholeModel(ask), len(ask.samples)
    draws = len(two.background) ** 2
    with counted(ask.model) as rows:
        ask.rows.encoded = rows.encoded
        whole(whole.on, whole.rows)
    assert ask.rows.encoded == dict.fromkeys(ask.modalities, samples)
    assert ask.rows.total == 2 * samples
    repeated = question(two)
    again = WholeModel(repeated)
    with counted(ask.model) as rows:
        repeated.rows.encoded = rows.encoded
        again(again.off, again.rows)
        again(again.off, again.rows)
    assert repeated.rows.total == 2 * 2 * samples * draws
    assert not any(encoder._forward_hooks for encoder in ask.model.encoders.values())


def test_the_default_encodes_once_with_and_once_without(two):
    ask = question(two, track=1)
    with counted(ask.model) as rows:
        asked(DEFAULT).answer(ask)
    assert rows.total == 2 * len(ask.samples)


@pytest.mark.parametrize("which", ["two", "three"])
@pytest.mark.parametrize(
    "names",
    [
        (DEFAULT, *EXACT),
        # SHAP compiles for half a minute.
        pytest.param(
            ("shap/Exact", "shap/Kernel", "shap/Permutation", "shap/Partition"),
            marks=pytest.mark.full,
        ),
    ],
)
def test_exact_methods_find_the_gold_under_its_own_removal(which, names, request):
    arena = request.getfixturevalue(which)
    at = torch.arange(len(arena.samples)), arena.predicted()
    if which == "three":  # a tree, and one permutation of three, are no Shapley values
        names = [name for name in names if name not in ("shap/Permutation", "shap/Partition")]
    for name in names:
        answer = asked(name).answer(question(arena))
        answer.check(question(arena))
        assert torch.allclose(answer.contributions[at].double(), arena.gold[at], atol=1e-4), name
        assert answer.residual[at].abs().max() < 1e-4


def test_types_of_interaction_agree_with_the_gold(two):
    at = torch.arange(len(two.samples)), two.predicted()
    for name in (DEFAULT, "shapiq/ExactComputer"):
        assert (asked(name).answer(question(two)).kinds[at] == two.kinds[at]).all()


def test_everybody_answers_or_says_why_not(two, monkeypatch):
    monkeypatch.setattr(contest, "reparametrisation", lambda *rest: None)
    field = [one for one in everybody() if one.origin != "SHAP"]
    record = contest.compete(two, field, without=command.RENDERING)
    assert json.loads(json.dumps(plain(record)))["family"] == "CONFLICT"
    alone = {"owen", "unit-shapley", "mm-shap", "shap-over-units"}
    for removal, answers in record["answers"].items():
        refused = {name for name, one in answers.items() if one["status"] == contest.REFUSED}
        assert refused == (set() if removal == "mask, silence" else alone)
        assert {one["status"] for one in answers.values()} <= {contest.REFUSED, contest.ANSWERED}
    lines = tables.lines([record], DEFAULT, lambda name: True)
    same = {one.contestant: one for one in lines if one.track == "same"}
    assert same[DEFAULT].share_error.value < 0.01
    assert same[DEFAULT].rank == 1
    assert all(same[name].rank == 1 for name in EXACT)


@pytest.mark.parametrize(
    ("name", "moves"),
    [(DEFAULT, False), ("feature-difference", False), ("grad-cam", True), ("norm-share", True)],
)
def test_the_reparametrisation_gap_tells_functions_from_the_way_they_are_written(two, name, moves):
    gap = contest.reparametrisation(two, asked(name), two.predicted())
    assert (gap > 0.1) if moves else (gap < 0.01)


def test_a_perfect_contestant_scores_nothing_and_a_planted_bad_one_scores_bad(two):
    def method(name, values):
        return Method(name, "test", "", "", lambda ask: Answer(values.float(), nats=True))

    field = [
        asked(DEFAULT),
        method("perfect", two.gold),
        method("swapped", two.gold.flip(-1)),
        method("against", -two.gold),
    ]
    record = contest.compete(replace(two, tracks=two.tracks[:1]), field)
    found = {one.contestant: one for one in tables.lines([record], DEFAULT, lambda name: True)}
    assert found["perfect"].share_error.value < 1e-4
    assert found["perfect"].nats_error.value < 1e-6
    assert found["perfect"].signs.value == 1
    assert found["swapped"].share_error.value > 5
    assert found["swapped"].against_default.value > 5
    assert found["against"].share_error.value < 1e-4  # magnitudes are right, signs are not
    assert found["against"].signs.value == 0


def test_maps_are_scored_where_it_is_known_what_decides():
    arena = arena_of("LOCAL")
    ask = question(arena)
    features = ask.model.encode(ask.model.collate(list(ask.samples)))
    from modalxai.benchmark.tonebench.contestants.controls import as_map

    units = {}
    for name, one in features.items():
        where = torch.tensor([sample["where"][name] for sample in ask.samples])
        centre = (one.spans.start + one.spans.end) / 2
        inside = (centre >= where[:, :1]) & (centre < where[:, 1:])
        units[name] = inside.float()[:, None].expand(-1, len(ask.labels), -1)
    perfect = Answer(None, maps=as_map(ask, features, units, "test"))
    found = contest._found(arena, perfect, arena.predicted())
    assert min(found["text"]["auc"]) == 1
    worst = {name: 1 - values for name, values in units.items()}
    bad = Answer(None, maps=as_map(ask, features, worst, "test"))
    assert max(contest._found(arena, bad, arena.predicted())["text"]["auc"]) == 0
    assert set(found) == {"audio", "text"}


def test_attention_mass_is_the_length_share_where_attention_is_even(two):
    ask = question(two, track=1)
    block = ask.model.fusion.blocks[0].query_key_value
    before = block.weight.data.clone(), block.bias.data.clone()
    try:
        block.weight.data[:16] = 0  # queries and keys
        block.bias.data[:16] = 0
        answer = attention_mass(ask)
    finally:
        block.weight.data, block.bias.data = before
    at = torch.arange(len(ask.samples)), ask.predicted
    mass = answer.contributions[at]
    lengths = asked("length-share").answer(ask).contributions[at]
    assert torch.allclose(mass, lengths / lengths.sum(-1, keepdim=True), atol=1e-5)


def test_answers_to_another_question_are_refused(two):
    ask = question(two)
    good = two.gold.float()
    Answer(good).check(ask)
    holed = good.clone()
    holed[0] = torch.nan
    for wrong in (Answer(good[:2]), Answer(holed), Answer(-good.abs(), signed=False)):
        with pytest.raises(InputError, match="cannot be scored"):
            wrong.check(ask)


def test_an_attributor_enters_by_its_entry_point(two, tmp_path, monkeypatch):
    (tmp_path / "guest_attributor.py").write_text(
        "from modalxai.attribution import ModalityShapley\n\n"
        "class Guest(ModalityShapley):\n"
        "    nats = True\n"
    )
    info = tmp_path / "guest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[modalxai.attribution]\nguest-shapley = guest_attributor:Guest\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins.refresh()
    try:
        guest = asked("guest-shapley")
        assert guest.origin == "guest"
        record = contest.compete(replace(two, tracks=two.tracks[:1]), [asked(DEFAULT), guest])
    finally:
        monkeypatch.undo()
        plugins.refresh()
    found = {one.contestant: one for one in tables.lines([record], DEFAULT, lambda name: True)}
    assert found["guest-shapley"].share_error.value < 0.01
    assert found["guest-shapley"].nats_error.value < 1e-4
    assert all(one.name != "guest-shapley" for one in everybody())


def test_two_contestants_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(
        "modalxai.benchmark.tonebench.contestants.plugins_in", lambda: (Plugin("50/50", "guest"),)
    )
    with pytest.raises(PluginError, match="50/50"):
        everybody()


def test_a_missing_package_is_said_and_the_contest_goes_on(two):
    missing = Method("other/Method", "other", "", "", lambda ask: 1 / 0, package="no_such_package")
    assert not installed(missing)
    record = contest.compete(replace(two, tracks=two.tracks[:1]), [asked(DEFAULT), missing])
    answers = record["answers"]["as in the gold"]
    assert answers["other/Method"]["status"] == contest.MISSING
    assert answers[DEFAULT]["status"] == contest.ANSWERED
    line = tables.lines([record], DEFAULT, lambda name: True)[1]
    assert (line.status, line.share_error) == (contest.MISSING, None)


def test_donors_hold_every_state_equally_often():
    for name in ("SUM", "SPUR", "PERCLASS", "BIO"):
        family = tonebench.FAMILIES[name]
        rows = arenas.donors(family, 0)
        assert len({one["id"] for one in rows}) == len(rows)
        for factors in family.channels.values():
            columns = [f"{one}_state" if one in family.rule().signals else one for one in factors]
            states = [tuple(row[column] for column in columns) for row in rows]
            counts = {state: states.count(state) for state in set(states)}
            sizes = [len(family.rule().factors[one]) for one in factors]
            assert len(counts) == torch.tensor(sizes).prod()
            assert len(set(counts.values())) == 1


def test_a_closed_gate_keeps_a_model_out_and_the_next_one_takes_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(arenas, "PROBED", 128)
    learnt = []
    learn, gate = systems.learn, tonebench.gate

    def counting(family, seed, *rest):
        learnt.append((family.name, seed))
        return learn(family, seed, *rest)

    def third(family, *rest):
        found = gate(family, *rest)
        return replace(found, passed=True, why="") if learnt[-1] == ("SUM", 2) else found

    monkeypatch.setattr(systems, "learn", counting)
    monkeypatch.setattr(tonebench, "gate", third)
    some = [asked(name) for name in (DEFAULT, "50/50", "captum/FeatureAblation")]
    monkeypatch.setattr(command, "everybody", lambda: some)
    # So few samples prove nothing of a probe: here it is asked whether a gate closes, not when.
    monkeypatch.setattr(tonebench.Probe, "passed", property(lambda one: True))
    path = command.run(TINY, tmp_path / "run", quiet=True)
    all_of_them = [("NULL", 0), ("SUM", 0), ("SUM", 1), ("SUM", 2)]
    assert learnt == all_of_them
    found = json.loads(path.read_text(encoding="utf-8"))
    passed = [(one["family"], one["seed"], one["passed"]) for one in found["gates"]]
    assert passed == [("NULL", 0, True), ("SUM", 0, False), ("SUM", 1, False), ("SUM", 2, True)]
    assert all("accuracy" in one["why"] for one in found["gates"][1:3])
    assert {(one["family"], one["seeds"]) for one in found["lines"]} == {("NULL", 1), ("SUM", 1)}
    assert found["digests"]["SUM"] == tonebench.FAMILIES["SUM"].digest()
    text = (tmp_path / "run" / "tonebench.md").read_text(encoding="utf-8")
    assert "SUM, seed 1: factorial accuracy" in text
    assert "1 of 3" in text
    before = (tmp_path / "run" / "results.csv").read_text(encoding="utf-8")
    monkeypatch.setattr(command, "compete", None)
    command.run(TINY, tmp_path / "run", quiet=True)
    assert learnt == all_of_them
    assert (tmp_path / "run" / "results.csv").read_text(encoding="utf-8") == before
    with pytest.raises(CheckpointError, match="samples = 7"):
        command.run(replace(TINY, samples=7), tmp_path / "run", quiet=True)


def test_a_family_whose_gates_stay_closed_is_given_up(tmp_path, monkeypatch):
    tried = []

    def closed(family, seed, *rest):
        tried.append(seed)
        return None, {"family": family, "passed": False, "accuracy": 0.5, "probes": [], "why": "x"}

    monkeypatch.setattr(command, "arena", closed)
    path = command.run(replace(TINY, families=("SUM",), seeds=2), tmp_path, quiet=True)
    assert tried == list(range(2 + MOST_FAILED))
    assert json.loads(path.read_text(encoding="utf-8"))["lines"] == []


@pytest.mark.parametrize(
    "wrong", [{"families": ("NOPE",)}, {"families": ()}, {"seeds": 0}, {"samples": 1.5}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="mend:"):
        Settings(**wrong)
