"""Full disks, folders that may not be written to, two runs at once, clocks, locales, dead ranks."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.corpus_run.test_explain_corpus import SHARED, Clips, content, make_model, make_sample

import modalxai as mx
from modalxai.corpus_run import CorpusRun, explain_corpus
from modalxai.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> mx.EmotionModel:
    return make_model()


@pytest.fixture(scope="module")
def whole(model: mx.EmotionModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed run writes."""
    folder = tmp_path_factory.mktemp("whole")
    explain_corpus(model, Clips(24, broken=(9,)), folder / "run", chunk=6, **SHARED)
    return told(folder / "run")


def told(folder: Path) -> dict[str, Any]:
    """Every part and the quarantine, bit for bit."""
    return content(folder) | {"bad": CorpusRun(folder).quarantine()}


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_full_disk_ends_the_run_and_loses_nothing(
    model: Any, whole: dict, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the file of one part."""
    import pyarrow.parquet

    real, written = pyarrow.parquet.write_table, []

    def write_table(table: Any, target: Path) -> None:
        if len(written) == at:
            real(table, target)
            target.write_bytes(target.read_bytes()[:300])
            full()
        written.append(target)
        real(table, target)

    monkeypatch.setattr(pyarrow.parquet, "write_table", write_table)
    with pytest.raises(CheckpointError, match=r"part-00000\d.parquet cannot be written") as caught:
        explain_corpus(model, Clips(24, broken=(9,)), tmp_path / "run", chunk=6, **SHARED)
    assert "No space left" in caught.value.got
    assert left_over(tmp_path / "run") == []
    kept = content(tmp_path / "run")
    assert kept == {name: whole[name] for name in list(whole)[:at]}
    monkeypatch.undo()
    again = Clips(24, broken=(9,))
    explain_corpus(model, again, tmp_path / "run", chunk=6, **SHARED)
    assert min(again.read) == 6 * at, "finished parts are not done again"
    assert told(tmp_path / "run") == whole


def test_a_full_disk_for_the_quarantine_loses_no_bad_sample(
    model: Any, whole: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (full if b.suffix == ".jsonl" else real)(a, b))
    with pytest.raises(CheckpointError, match=r"quarantine-000001.jsonl cannot be written"):
        explain_corpus(model, Clips(24, broken=(9,)), tmp_path / "run", chunk=6, **SHARED)
    monkeypatch.undo()
    # The part is not there without its quarantine, which would make the sample vanish.
    assert [path.name for path in CorpusRun(tmp_path / "run").parts] == ["part-000000.parquet"]
    explain_corpus(model, Clips(24, broken=(9,)), tmp_path / "run", chunk=6, **SHARED)
    assert told(tmp_path / "run") == whole


def test_a_disk_that_is_full_at_the_start_leaves_a_folder_to_begin_in(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("json.dump", full)
    with pytest.raises(CheckpointError, match="cannot be written to"):
        explain_corpus(model, Clips(4), tmp_path / "run")
    monkeypatch.undo()
    assert list((tmp_path / "run").iterdir()) == []
    assert explain_corpus(model, Clips(4), tmp_path / "run").complete


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """The system itself refuses: what a quota does, and the end of a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_files_that_the_system_cuts_short_are_no_files(
    model: Any, whole: dict, tmp_path: Path
) -> None:
    """Parquet, safetensors and json each say so in words of their own."""
    with no_file_above(2000), pytest.raises(CheckpointError, match="cannot be written"):
        explain_corpus(model, Clips(24, broken=(9,)), tmp_path / "run", chunk=6, **SHARED)
    assert (content(tmp_path / "run"), left_over(tmp_path / "run")) == ({}, [])
    explain_corpus(model, Clips(24, broken=(9,)), tmp_path / "run", chunk=6, **SHARED)
    assert told(tmp_path / "run") == whole

    first = mx.explain(model, [make_sample(0)])
    first.save(tmp_path / "saved")
    other = mx.explain(model, [make_sample(place) for place in range(20)])
    with no_file_above(500), pytest.raises(CheckpointError, match="cannot be written"):
        other.save(tmp_path / "saved")
    assert left_over(tmp_path / "saved") == []
    assert torch.equal(mx.Explanation.load(tmp_path / "saved").draws, first.draws)
    with no_file_above(500), pytest.raises(CheckpointError, match="cannot be written"):
        model.save_pretrained(tmp_path / "model")


@pytest.mark.full
def test_a_disk_that_really_is_full(model: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        (disk / "theirs").write_bytes(bytes(220_000))
        with pytest.raises(CheckpointError, match="cannot be written") as caught:
            explain_corpus(model, Clips(), disk / "run", chunk=4)
        assert "No space left" in caught.value.got
        there = content(disk / "run")
        (disk / "theirs").unlink()
        clips = Clips()
        run = explain_corpus(model, clips, disk / "run", chunk=4)
        assert 0 < len(there) < len(run.parts) == 10
        assert min(clips.read) == 4 * len(there)
        assert {
            name: part for name, part in content(disk / "run").items() if name in there
        } == there
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_folders_that_may_not_be_written_to_are_named(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (Path("/proc/run"), tmp_path / "file", tmp_path / "file" / "run"):
        clips = Clips(4)
        with pytest.raises(CheckpointError, match="cannot be written to"):
            explain_corpus(model, clips, place)
        assert clips.read == [], "said before anything was computed"
    assert (tmp_path / "file").read_text() == "mine"

    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    done = explain_corpus(model, Clips(4), tmp_path / "done", chunk=2)
    (tmp_path / "empty").mkdir()
    # Whoever runs the tests may be allowed everything: so what a system says is said here.
    monkeypatch.setattr(tempfile, "mkstemp", forbidden)
    with pytest.raises(CheckpointError, match="empty cannot be written to"):
        explain_corpus(model, Clips(4), tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    # A finished run in an archive that nobody may write to is read, and nothing more.
    assert explain_corpus(model, Clips(4), tmp_path / "done", chunk=2).complete
    done.parts[1].unlink()
    with pytest.raises(CheckpointError, match=r"part-000001.parquet cannot be written"):
        explain_corpus(model, Clips(4), tmp_path / "done", chunk=2)
    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(CheckpointError, match="cannot be written to"):
        explain_corpus(model, Clips(4), tmp_path / "empty")


def test_two_runs_on_one_folder_at_once_end_with_the_right_content(
    model: Any, whole: dict, tmp_path: Path
) -> None:
    """A second one starts inside the first, does everything, and is overtaken."""
    inner = []

    class Meanwhile(Clips):
        def __getitem__(self, place: int) -> Any:
            if place == 14 and not inner:
                inner.append(None)
                run = explain_corpus(
                    model, Clips(24, broken=(9,)), tmp_path / "run", chunk=6, **SHARED
                )
                inner.append(run.complete)
                before = told(tmp_path / "run")
                with pytest.raises(CheckpointError, match="holds another run"):
                    explain_corpus(model, Clips(24), tmp_path / "run", chunk=5, **SHARED)
                assert told(tmp_path / "run") == before
            return super().__getitem__(place)

    clips = Meanwhile(24, broken=(9,))
    run = explain_corpus(model, clips, tmp_path / "run", chunk=6, **SHARED)
    assert inner == [None, True]
    assert told(tmp_path / "run") == whole
    assert run.explained == 23
    assert sorted(clips.read) == list(range(18)), "what the other has done is not done again"


def test_clocks_that_jump_change_nothing(
    model: Any, whole: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(2_000_000_000, 0, -86_400))
    for name in ("time", "monotonic"):
        monkeypatch.setattr(time, name, lambda: float(next(now)))
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    clips = Clips(24, broken=(9,), stop=13)
    with pytest.raises(KeyboardInterrupt):
        explain_corpus(model, clips, tmp_path / "run", chunk=6, **SHARED)
    for path in (tmp_path / "run").iterdir():
        os.utime(path, (0, 0))  # written in 1970, says the clock
    monkeypatch.setenv("TZ", "America/Adak")
    explain_corpus(model, Clips(24, broken=(9,)), tmp_path / "run", chunk=6, **SHARED)
    assert told(tmp_path / "run") == whole


PROGRAM = textwrap.dedent(
    """
    import locale, os, signal, sys
    locale.setlocale(locale.LC_ALL, "")
    sys.path.insert(0, sys.argv[1])
    import torch
    torch.set_num_threads(1)
    from tests.corpus_run.test_explain_corpus import SHARED, Clips, make_model
    from modalxai.corpus_run import explain_corpus, parquet
    class Mine(Clips):
        def __getitem__(self, place):
            if place == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            sample = super().__getitem__(place)
            return {**sample, "text": sample["text"] and "참 잘했다 Iı İi 0,5", "Größe": place / 8}
    explain_corpus(make_model(), Mine(24, broken=(9,)), sys.argv[2], chunk=6, **SHARED)
    """
)


def started(folder: Path, stop: int = -1, **environment: str) -> subprocess.Popen[str]:
    program = folder.parent / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(program), str(ROOT), str(folder), str(stop)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> int:
    _, said = process.communicate(timeout=300)
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode


@pytest.mark.full
def test_locales_change_nothing(tmp_path: Path) -> None:
    """Commas for points, dotless i, and no UTF-8 at all."""
    assert ended(started(tmp_path / "here")) == 0
    expected = told(tmp_path / "here")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert ended(started(tmp_path / "plain", **plain)) == 0
    assert told(tmp_path / "plain") == expected
    if shutil.which("localedef") is None:
        pytest.skip("needs localedef")
    for name, charmap in (("tr_TR", "UTF-8"), ("de_DE", "ISO-8859-1")):
        made = tmp_path / "locales" / f"{name}.{charmap}"
        made.parent.mkdir(exist_ok=True)
        done = subprocess.run(
            ["localedef", "-c", "-i", name, "-f", charmap, str(made)], check=False
        )
        if done.returncode > 1 or not made.exists():
            pytest.skip(f"{name} cannot be made here")
        environment = {"LOCPATH": str(made.parent), "LC_ALL": made.name, "PYTHONUTF8": "0"}
        assert ended(started(tmp_path / name, **environment)) == 0
        assert told(tmp_path / name) == expected


@pytest.mark.full
def test_a_process_of_the_group_that_dies_takes_nothing_with_it(tmp_path: Path) -> None:
    assert ended(started(tmp_path / "whole")) == 0
    ranks = [
        started(tmp_path / "run", stop=20, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)
    ]
    assert [ended(one) for one in ranks] == [0, -signal.SIGKILL]
    run, expected = CorpusRun(tmp_path / "run"), told(tmp_path / "whole")
    names = [path.name for path in run.parts]
    assert names == ["part-000000.parquet", "part-000001.parquet", "part-000002.parquet"]
    assert content(run.folder) == {name: expected[name] for name in names}
    assert run.complete is False
    assert ended(started(tmp_path / "run")) == 0
    assert told(tmp_path / "run") == expected


@pytest.mark.full
def test_two_processes_on_one_folder_at_once_end_with_the_right_content(tmp_path: Path) -> None:
    both = [started(tmp_path / "run") for _ in range(2)]
    assert ended(started(tmp_path / "whole")) == 0
    assert [ended(one) for one in both] == [0, 0]
    assert told(tmp_path / "run") == told(tmp_path / "whole")
    assert left_over(tmp_path / "run") == []
