"""A corpus in parts: the same numbers as in one go, whatever is killed, bad or shared out."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import modalxai as mx
from modalxai.corpus_run import CorpusRun, explain_corpus, parquet
from modalxai.errors import CheckpointError, InputError, RemovalError
from modalxai.games.run import BatchExplainer

SMALL_MEL = {"dim": 8, "mels": 8, "channels": 8, "layers": 2, "strides": (2, 2), "heads": 2}
LABELS = mx.labels("anger", "joy", "sadness") + mx.labels("valence", kind="dimensional")


def make_model(dropout=0.1):
    torch.manual_seed(3)
    parts = {
        "audio": mx.plugins.create("encoders", "mel-cnn", **SMALL_MEL),
        "text": mx.plugins.create("encoders", "byte-text", dim=8, layers=1, heads=2),
    }
    dims = {name: part.dim for name, part in parts.items()}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=LABELS)
    return mx.EmotionModel(parts, fusion=fusion, modality_dropout=dropout)


def make_sample(place):
    noise = torch.randn(2000 + 37 * (place % 11), generator=torch.Generator().manual_seed(place))
    return {
        "id": f"u{place}",
        "audio": None if place % 13 == 5 else mx.Audio(0.1 * noise, 16_000),
        "text": None if place % 17 == 3 else "well " * (1 + place % 3),
        "labels": {"anger": 1} if place % 2 else {"joy": 1},
        "speaker": f"s{place % 4}",
        "turn": place,
    }


SHARED = {"removal": {"audio": "silence", "text": "mask"}}
"""Removals whose encodings samples of a chunk share."""


class Clips(Dataset):
    """Counts what is read; places in ``broken`` cannot be, ``stop`` ends the process."""

    def __init__(self, count=40, broken=(), stop=None):
        self.count, self.broken, self.stop, self.read = count, broken, stop, []

    def __len__(self):
        return self.count

    def __getitem__(self, place):
        self.read.append(place)
        if place == self.stop:
            raise KeyboardInterrupt
        if place in self.broken:
            raise OSError("no such disk")
        return make_sample(place)


@pytest.fixture(scope="module")
def model():
    return make_model()


def content(folder):
    """What every part holds, bit for bit."""
    found = {}
    for path in CorpusRun(folder).parts:
        part = parquet.read(path)
        found[path.name] = (
            part.sample_ids,
            part.draws.numpy().tobytes(),
            part.targets.values.numpy().tobytes(),
            part.columns,
            part.provenance,
        )
    return found


def test_the_parts_together_are_what_explain_says(model, tmp_path) -> None:
    run = explain_corpus(model, Clips(), tmp_path / "run", chunk=16, batch_size=5)
    whole = mx.explain(model, [make_sample(place) for place in range(40)])
    found = run.explanation()
    assert [len(part.sample_ids) for part in run] == [16, 16, 8]
    assert (run.explained, run.complete, run.quarantine()) == (40, True, [])
    assert found.sample_ids == whole.sample_ids
    torch.testing.assert_close(found.draws, whole.draws, rtol=1e-5, atol=1e-6)
    assert torch.equal(found.present, whole.present)
    assert torch.equal(found.targets.mask, whole.targets.mask)
    assert (found.columns, found.provenance) == (whole.columns, whole.provenance)


@pytest.mark.parametrize(
    "settings",
    [
        {"removal": {"audio": "silence", "text": "mask"}},
        {"removal": "marginal", "draws": 3},
        {"removal": "noise", "draws": 2},
    ],
    ids=str,
)
def test_every_removal_is_read_back(model, tmp_path, settings) -> None:
    if settings["removal"] == "noise":
        settings = {**settings, "removal": {"audio": "noise", "text": "mask"}}
    if settings["removal"] == "marginal":
        settings = {**settings, "background": [make_sample(place) for place in range(50, 58)]}
    samples = [make_sample(place) for place in range(12)]
    run = explain_corpus(model, samples, tmp_path / "run", chunk=5, **settings)
    whole = mx.explain(model, samples, **settings)
    torch.testing.assert_close(run.explanation().draws, whole.draws, rtol=1e-5, atol=1e-6)


def test_a_part_is_a_table_that_needs_no_modalxai(model, tmp_path) -> None:
    pandas = pytest.importorskip("pandas")
    run = explain_corpus(model, Clips(9), tmp_path / "run")
    frame = pandas.read_parquet(run.parts[0])
    evidence = run.explanation().shapley()
    assert list(frame["id"]) == [f"u{place}" for place in range(9)]
    assert list(frame["turn"]) == list(range(9))
    for k, label in enumerate(evidence.labels):
        for m, modality in enumerate(evidence.modalities):
            column = frame[f"evidence/{label.name}/{modality}"]
            assert column.tolist() == pytest.approx(evidence.totals[:, k, m].tolist())
    best = run.explanation().scores[-1][:, :3].argmax(-1).tolist()
    assert list(frame["predicted"]) == [LABELS[place].name for place in best]


def test_a_stopped_run_goes_on_and_ends_as_an_unbroken_one(model, tmp_path) -> None:
    explain_corpus(model, Clips(), tmp_path / "whole", chunk=8, **SHARED)
    places = random.Random(5)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            explain_corpus(
                model, Clips(stop=places.randrange(30, 40)), tmp_path / "broken", chunk=8, **SHARED
            )
    again = Clips()
    run = explain_corpus(model, again, tmp_path / "broken", chunk=8, **SHARED)
    assert min(again.read) >= 24, "finished parts are not even read"
    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    assert run.complete
    finished = Clips()
    explain_corpus(model, finished, tmp_path / "broken", chunk=8, **SHARED)
    assert finished.read == []


def test_any_number_of_processes_makes_the_same_parts(model, tmp_path) -> None:
    explain_corpus(model, Clips(), tmp_path / "one", chunk=6)
    read = []
    for number in range(3):
        clips = Clips()
        run = explain_corpus(model, clips, tmp_path / "many", chunk=6, shard=(number, 3))
        read += clips.read
        assert run.complete is (number == 2)
    assert sorted(read) == list(range(40)), "each sample is read by one process, once"
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_torchrun_says_which_process_this_is(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = explain_corpus(model, Clips(), tmp_path / "run", chunk=10)
    assert [path.name for path in run.parts] == ["part-000001.parquet", "part-000003.parquet"]
    monkeypatch.setenv("RANK", "two")
    with pytest.raises(InputError, match="which process"):
        explain_corpus(model, Clips(), tmp_path / "run", chunk=10)
    with pytest.raises(InputError, match="no such process"):
        explain_corpus(model, Clips(), tmp_path / "run", chunk=10, shard=(2, 2))


def test_a_killed_process_loses_nothing(tmp_path) -> None:
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        import os, signal, torch
        torch.set_num_threads(1)
        from tests.corpus_run.test_explain_corpus import Clips, make_model
        from modalxai.corpus_run import explain_corpus, parquet
        kill = int(sys.argv[2])
        real = parquet.write
        def write(path, explanation):
            global kill
            real(path, explanation)
            kill -= 1
            if not kill:
                os.kill(os.getpid(), signal.SIGKILL)
        parquet.write = write
        explain_corpus(make_model(), Clips(), sys.argv[1], chunk=8)
        """
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for kill, code in (("2", -9), ("0", 0)):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "killed"), kill],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
    explain_corpus(make_model(), Clips(), tmp_path / "whole", chunk=8)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"chunk": 7}, "settings"),
        ({"batch_size": 3}, "settings"),
        ({"seed": 1}, "settings"),
        ({"removal": {"text": "mask", "audio": "silence"}}, "settings"),
        ({"data": 41}, "samples"),
        ({"model": 1}, "model"),
    ],
    ids=str,
)
def test_another_run_does_not_go_on_in_the_folder(model, tmp_path, change, what) -> None:
    explain_corpus(model, Clips(20), tmp_path / "run", chunk=8)
    before = content(tmp_path / "run")
    other = make_model()
    if change.pop("model", None):
        with torch.no_grad():
            next(other.parameters()).add_(1e-4)
    clips = Clips(change.pop("data", 20))
    with pytest.raises(CheckpointError, match=f"differs in.*{what}"):
        explain_corpus(other, clips, tmp_path / "run", **{"chunk": 8, **change})
    assert (content(tmp_path / "run"), clips.read) == (before, [])


def test_other_samples_of_the_same_number_are_told_apart(model, tmp_path) -> None:
    explain_corpus(model, [make_sample(place) for place in range(4)], tmp_path / "run")
    with pytest.raises(CheckpointError, match="differs in ids"):
        explain_corpus(model, [make_sample(place) for place in range(1, 5)], tmp_path / "run")


def test_a_folder_with_other_files_is_left_alone(model, tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CheckpointError, match="holds other files"):
        explain_corpus(model, Clips(3), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError):
        explain_corpus(model, Clips(3), tmp_path / "file")


class Choosy(nn.Module):
    """Fails or says NaN for some rows, told by how many frames they have."""

    def __init__(self, inner, wrong):
        super().__init__()
        self.inner, self.wrong, self.dim, self.collate = inner, wrong, inner.dim, inner.collate
        self.rows = []

    def forward(self, inputs):
        features = self.inner(inputs)
        self.rows.append(len(features.mask))
        return self.wrong(inputs, features)


def with_choosy(wrong):
    model = make_model()
    model.encoders["audio"] = Choosy(model.encoders["audio"], wrong)
    return model


def test_bad_samples_are_written_down_and_the_others_explained(tmp_path) -> None:
    class Bad(Clips):
        def __getitem__(self, place):
            sample = super().__getitem__(place)
            if place == 9:
                sample["audio"] = mx.Audio(torch.full((2000,), torch.nan), 16_000)
            if place == 11:
                sample["audio"] = mx.Audio(0.1 * torch.randn(1999), 16_000)
            return sample

    def wrong(inputs, features):
        if bool((inputs["length"] == 1999).any()):
            raise RuntimeError("a kernel failed")
        return features

    clips, model = Bad(24, broken=(2,)), with_choosy(wrong)
    run = explain_corpus(model, clips, tmp_path / "run", chunk=16, batch_size=8)
    assert [(one.index, one.id, one.stage) for one in run.quarantine()] == [
        (2, None, "read"),
        (9, "u9", "collate"),
        (11, "u11", "explain"),
    ]
    reasons = [one.reason for one in run.quarantine()]
    assert "no such disk" in reasons[0]
    assert "finite" in reasons[1]
    assert "a kernel failed" in reasons[2]
    assert run.explained == 21
    with pytest.raises(InputError, match="sample 2: read failed"):
        explain_corpus(model, clips, tmp_path / "strict", on_error="raise")


def test_scores_that_are_not_finite_are_no_result(model, tmp_path, monkeypatch) -> None:
    real = BatchExplainer.__call__

    def spoilt(explainer, batch):
        found = real(explainer, batch)
        if "u5" in batch.ids:
            found.draws[0, 1, batch.ids.index("u5"), 0] = torch.inf
        return found

    monkeypatch.setattr(BatchExplainer, "__call__", spoilt)
    run = explain_corpus(model, Clips(8), tmp_path / "run", chunk=4, batch_size=4)
    assert [(one.id, one.stage) for one in run.quarantine()] == [("u5", "scores")]
    assert run.explained == 7
    assert run.explanation().draws.isfinite().all()


def test_a_corpus_of_which_nothing_works_is_an_error(model, tmp_path) -> None:
    with pytest.raises(InputError, match="not one of 6 samples"):
        explain_corpus(model, Clips(6, broken=range(6)), tmp_path / "run", chunk=2)
    assert CorpusRun(tmp_path / "run").parts == []


def test_a_chunk_without_a_good_sample_is_finished_all_the_same(model, tmp_path) -> None:
    run = explain_corpus(model, Clips(6, broken=(2, 3)), tmp_path / "run", chunk=2)
    assert run.complete
    assert run.explanation().sample_ids == ("u0", "u1", "u4", "u5")
    assert [one.index for one in run.quarantine()] == [2, 3]


def test_settings_that_cannot_be_are_no_bad_samples(model, tmp_path) -> None:
    with pytest.raises(RemovalError):
        explain_corpus(model, Clips(4), tmp_path / "run", removal="melt")
    for wrong in ({"chunk": 0}, {"chunk": True}, {"on_error": "shrug"}):
        with pytest.raises(InputError):
            explain_corpus(model, Clips(4), tmp_path / "other", **wrong)
    with pytest.raises(InputError, match="share an id"):
        explain_corpus(model, [make_sample(1), make_sample(1)], tmp_path / "twice")


def test_too_large_a_batch_is_halved_and_says_the_same(tmp_path) -> None:
    def full(inputs, features):
        if len(features.mask) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return features

    run = explain_corpus(with_choosy(full), Clips(20), tmp_path / "run", batch_size=8)
    whole = mx.explain(make_model(), [make_sample(place) for place in range(20)])
    assert run.explanation().sample_ids == whole.sample_ids
    torch.testing.assert_close(run.explanation().draws, whole.draws, rtol=1e-5, atol=1e-6)


def test_loaders_are_read_in_order_or_refused(model, tmp_path) -> None:
    whole = explain_corpus(model, Clips(20), tmp_path / "list", chunk=8, batch_size=4)
    kinds = {
        "loader": DataLoader(Clips(20), batch_size=4, collate_fn=model.collate),
        "workers": DataLoader(Clips(20), batch_size=4, collate_fn=model.collate, num_workers=1),
        "batches": list(DataLoader(Clips(20), batch_size=4, collate_fn=model.collate)),
    }
    kinds["batches"] = iter(kinds["batches"])
    for name, data in kinds.items():
        run = explain_corpus(model, data, tmp_path / name, chunk=8, batch_size=4)
        assert content(run.folder) == content(whole.folder), name
    for wrong in (
        DataLoader(Clips(20), batch_size=4, collate_fn=model.collate, shuffle=True),
        DataLoader(Clips(20), batch_size=4, collate_fn=model.collate, drop_last=True),
        make_sample(0),
        iter([make_sample(0)]),
        7,
    ):
        with pytest.raises(InputError):
            explain_corpus(model, wrong, tmp_path / "wrong")


def test_a_stream_is_cut_where_it_holds_enough(model, tmp_path) -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([make_sample(place) for place in range(10)])

    loader = DataLoader(Stream(), batch_size=3, collate_fn=model.collate)
    run = explain_corpus(model, loader, tmp_path / "run", chunk=5)
    assert [len(part.sample_ids) for part in run] == [6, 4]
    assert run.complete is None


def test_the_model_s_training_goes_on_untouched(model, tmp_path) -> None:
    model.train()
    state = torch.get_rng_state()
    explain_corpus(model, Clips(6), tmp_path / "run")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    model.eval()


VALUE = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.tuples(st.integers(), st.text(max_size=3)),
)


@given(values=st.lists(VALUE, min_size=3, max_size=3))
def test_columns_come_back_as_they_went(values) -> None:
    import tempfile

    table = mx.Explanation(
        sample_ids=("a", "b", "c"),
        labels=mx.labels("x", "y"),
        modalities=("audio",),
        present=torch.ones(3, 1, dtype=torch.bool),
        draws=torch.randn(1, 2, 3, 2, dtype=torch.float64),
        targets=mx.types.Targets(torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool)),
        columns={"column": tuple(values)},
        provenance=mx.Provenance("t", {}, "raw", {"audio": "absent"}, "input", None, 0, {}),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.parquet"
        parquet.write(path, table)
        back = parquet.read(path)
    assert back.columns == table.columns
    assert [type(one) for one in back.columns["column"]] == [type(one) for one in values]
    assert torch.equal(back.draws, table.draws)


def test_columns_that_would_hide_ours_and_broken_files_are_refused(model, tmp_path) -> None:
    sample = {**make_sample(0), "predicted": "joy"}
    with pytest.raises(InputError, match="cannot be told from ours"):
        explain_corpus(model, [sample], tmp_path / "run")
    run = explain_corpus(model, Clips(4), tmp_path / "whole")
    run.parts[0].write_bytes(b"PAR1 not")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run.explanation()
    with pytest.raises(CheckpointError):
        CorpusRun(tmp_path / "nowhere")
