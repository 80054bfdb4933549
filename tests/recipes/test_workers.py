"""Tasks dealt to processes: done once each, in the order given, and no error is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from modalxai.errors import InputError, ModalxaiError
from modalxai.recipes import Options, workers
from modalxai.recipes.workers import deal


class OddError(Exception):
    """One that pickle cannot rebuild."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def noting(folder):
    """What notes each task, with the process and its threads, in a file of its own."""

    def note(task):
        if task == "refused":
            raise InputError("no such thing", expected="a", got="b", mend="c")
        if task == "odd":
            raise OddError("no", "way back")
        if task == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "long":
            time.sleep(60)
        told = f"{os.getpid()} {torch.get_num_threads()}"
        (Path(folder) / f"{task}.txt").write_text(told)

    return note


def fails():
    raise FileNotFoundError("no corpus here")


def notes(folder):
    return {path.stem: path.read_text().split() for path in sorted(folder.glob("*.txt"))}


def test_one_process_does_all_in_order_and_gives_torch_its_threads_back(tmp_path):
    before = torch.get_num_threads()
    made = []
    deal(lambda: made.append, list("abc"), 1, threads=1)
    assert made == ["a", "b", "c"]
    torch.set_num_threads(2)
    try:
        deal(partial(noting, tmp_path), ["x"], 4, threads=1)
        assert torch.get_num_threads() == 2
        with pytest.raises(InputError):
            deal(partial(noting, tmp_path), ["refused"], 1, threads=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert notes(tmp_path)["x"] == [str(os.getpid()), "1"]


def test_without_tasks_nothing_is_made():
    deal(fails, [], 2)


@pytest.mark.slow
def test_two_processes_share_the_tasks_and_an_error_comes_back_whole(tmp_path):
    tasks = [f"t{number}" for number in range(8)]
    with pytest.raises(InputError, match="no such thing") as caught:
        deal(partial(noting, tmp_path), [*tasks, "refused"], 2, threads=1)
    assert (caught.value.expected, caught.value.mend) == ("a", "c")
    assert "in note" in caught.value.__notes__[0]  # where it was raised, over there
    assert not multiprocessing.active_children()
    found = {task: note for task, note in notes(tmp_path).items() if task != tasks[-1]}
    assert set(found) == set(tasks[:-1])  # the last one may have been cut off
    assert str(os.getpid()) not in {pid for pid, _ in found.values()}
    assert {threads for _, threads in found.values()} == {"1"}


@pytest.mark.slow
def test_an_error_that_cannot_travel_and_a_process_that_is_killed(tmp_path):
    begun = time.time()
    with pytest.raises(RuntimeError, match="no way back"):
        deal(partial(noting, tmp_path), ["long", "odd"], 2)
    with pytest.raises(ModalxaiError, match="ended before its tasks") as caught:
        deal(partial(noting, tmp_path), ["killed", "long"], 2)
    assert "-9" in caught.value.got
    assert time.time() - begun < 50  # nobody waited for the other one
    assert not multiprocessing.active_children()


SCRIPT = """
from functools import partial
from tests.recipes.test_workers import noting
from modalxai.recipes.workers import deal
if __name__ == "__main__":
    deal(partial(noting, {folder!r}), ["first", "second", "long", "long", "late"], 2)
"""


@pytest.mark.slow
def test_no_process_outlives_the_one_that_dealt(tmp_path):
    """Not even one that could say no goodbye."""
    psutil = pytest.importorskip("psutil")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(tmp_path)))
    root = Path(__file__).parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    running = subprocess.Popen([sys.executable, str(script)], cwd=root, env=env)
    try:
        until = time.time() + 90
        while len(notes(tmp_path)) < 2:
            assert time.time() < until
            assert running.poll() is None
            time.sleep(0.2)
        children = psutil.Process(running.pid).children(recursive=True)
        assert children
    finally:
        running.kill()
        running.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert "late" not in notes(tmp_path)


def test_how_many_processes_an_options_asks_for(tmp_path, monkeypatch):
    monkeypatch.setattr("modalxai.recipes.options.cores", lambda: 8)
    assert Options(tmp_path).processes == 2
    assert Options(tmp_path, quick=True).processes == 1
    assert Options(tmp_path, device="cuda").processes == 1
    assert Options(tmp_path, quick=True, workers=3).processes == 3
    monkeypatch.setattr("modalxai.recipes.options.cores", lambda: 1)
    assert Options(tmp_path).processes == 1
    assert "workers" not in Options(tmp_path, workers=2).deciding()
    with pytest.raises(InputError, match="no worker"):
        Options(tmp_path, workers=0)
    assert workers.cores() >= 1
