"""Two processes: DDP, FSDP2 and Accelerate explain while they train, and nobody waits for ever.

Scenes share one pair of processes, of which most is importing torch twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.loop.loops import differences
from tests.support.toys import vector_model, vector_samples

import modalxai as mx

ROOT = Path(__file__).resolve().parents[2]
TIME = 240
"""Seconds after which ranks that wait for each other are ended."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank found, by scene."""
    folder = tmp_path_factory.mktemp("ranks")
    return played(folder, "distributed", "sharded", "outermost", "stale", "an_error")


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Scenes of which one is enough now and then."""
    folder = tmp_path_factory.mktemp("more")
    scenes = ("accumulating", "saved", "mixed", "corpus", "accelerated", "example")
    found = played(folder, *scenes)
    found[0]["folder"] = folder
    return found


def played(folder: Path, *scenes: str) -> list[dict[str, Any]]:
    """Start two ranks, wait for them, read what they wrote."""
    logs = [(folder / f"log{rank}").open("w+") for rank in range(2)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.loop.ranks", str(folder), str(rank), *scenes],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        for one in running:
            one.wait(TIME)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for one in running:
            one.kill()
            one.wait()
    said = [(folder / f"log{rank}").read_text()[-3000:] for rank in range(2)]
    for log in logs:
        log.close()
    assert [one.returncode for one in running] == [0, 0], "\n\n".join(said)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)]


def test_ddp_trains_the_same_when_the_ranks_explain_unequally(ranks: list[dict]) -> None:
    for found in ranks:
        scene = found["distributed"]
        assert list(differences(scene["plain"], scene["explained"])) == []
    one, two = (found["distributed"] for found in ranks)
    weights = {key for key in one["plain"] if "norm" not in key and key != "generator"}
    for key in weights:
        assert torch.equal(one["plain"][key], two["plain"][key]), key


def test_ranks_that_lack_different_modalities_explain_a_sharded_model(ranks: list[dict]) -> None:
    """They call its parts unequally often: with FSDP's own hooks they would wait for ever."""
    for found in ranks:
        for removal in ("absent", "edited"):
            sharded, whole = found["sharded"][f"{removal} as the whole"]
            assert torch.equal(sharded, whole), removal


def test_a_sharded_model_trains_the_same_when_it_is_explained(ranks: list[dict]) -> None:
    for found in ranks:
        scene = found["sharded"]
        assert list(differences(scene["plain"], scene["explained"])) == []
        assert torch.equal(*scene["at the end"])
        assert torch.equal(*scene["predicted"])
        assert not torch.equal(scene["at the end"][0], scene["absent as the whole"][0])
        assert scene["kept sharded"]
        assert not scene["trace"], "weights, hooks and attributes are the same objects again"
    for name, weight in ranks[0]["sharded"]["plain"].items():
        assert torch.equal(weight, ranks[1]["sharded"]["plain"][name]), name


def test_a_sharded_objective_is_explained_as_the_model_in_it(ranks: list[dict]) -> None:
    for found in ranks:
        scene = found["outermost"]
        assert list(differences(scene["plain"], scene["explained"])) == []
        assert torch.equal(*scene["before"])
        assert torch.equal(*scene["after"])
        assert not torch.equal(scene["before"][0], scene["after"][0])


@pytest.mark.full
def test_a_sharded_model_accumulates_the_same_when_it_is_explained(more: list[dict]) -> None:
    for found in more:
        scene = found["accumulating"]
        assert list(differences(scene["plain"], scene["explained"])) == []


@pytest.mark.full
def test_one_rank_saves_a_sharded_model(more: list[dict]) -> None:
    for found in more:
        assert torch.equal(*found["saved"]["draws"])


def test_attributors_ask_a_gathered_model(ranks: list[dict]) -> None:
    for found in ranks:
        owen, difference, plain_owen, plain_difference = found["sharded"]["attributed"]
        assert torch.equal(owen, plain_owen)
        assert torch.equal(difference, plain_difference)


def test_a_game_of_a_sharded_model_knows_its_weights(ranks: list[dict]) -> None:
    for found in ranks:
        assert torch.equal(*found["stale"]["values"])
        assert "weights have changed" in found["stale"]["error"]


@pytest.mark.full
def test_mixed_precision_of_the_shards_changes_nothing(more: list[dict]) -> None:
    for found in more:
        assert torch.equal(*found["mixed"]["draws"])
        assert torch.equal(*found["mixed"]["predicted"])


def test_an_error_leaves_the_model_sharded(ranks: list[dict]) -> None:
    for found in ranks:
        assert found["an_error"] == {"same": True, "graded": True}


@pytest.mark.full
def test_both_ranks_of_a_sharded_model_explain_a_corpus(more: list[dict]) -> None:
    for found in more:
        assert found["corpus"]["complete"]
        torch.testing.assert_close(*found["corpus"]["draws"], rtol=1e-5, atol=1e-5)


@pytest.mark.full
def test_accelerate_trains_the_same_when_one_process_explains(more: list[dict]) -> None:
    for found in more:
        scene = found["accelerated"]
        assert scene["processes"] == 2
        assert list(differences(scene["plain"], scene["explained"])) == []
    seen = [{name for ids in f["accelerated"]["plain"]["seen"] for name in ids} for f in more]
    assert len(seen[0] | seen[1]) == 12
    assert not seen[0] & seen[1]


@pytest.mark.full
def test_the_example_for_accelerate_runs_in_two_processes(more: list[dict]) -> None:
    said = [found["example"]["said"] for found in more]
    assert "Contribution of each modality" in said[0]
    assert said[1] == ""
    saved = mx.EmotionModel.from_pretrained(more[0]["folder"] / "m")
    assert saved.modalities == ("audio", "text")


def test_what_tensor_parallelism_has_split_stays_split() -> None:
    """Its hooks turn inputs into shares, which whole weights would not go with."""
    # Who has imported it need not have used it.
    import torch.distributed.fsdp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    model, samples = vector_model(2).eval(), vector_samples(3)
    expected = mx.explain(model, samples).draws
    layers = [name for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)]
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        plan = {layers[-1]: ColwiseParallel(output_layouts=Replicate())}
        parallelize_module(model, init_device_mesh("cpu", (1,)), plan)
        split = model.get_parameter(f"{layers[-1]}.weight")
        assert isinstance(split, DTensor)
        torch.testing.assert_close(mx.explain(model, samples).draws, expected)
        assert model.get_parameter(f"{layers[-1]}.weight") is split
    finally:
        torch.distributed.destroy_process_group()
