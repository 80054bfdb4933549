"""What one rank of two does; ``python -m tests.loop.ranks FOLDER RANK SCENE...`` writes it down."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as group
from tests.loop.loops import labelled, look, objective
from tests.support.toys import speech_model, speech_samples
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai.attribution import FeatureDifference, Owen
from modalxai.corpus_run import CorpusRun, explain_corpus
from modalxai.games import gathered
from modalxai.model import EmotionModel

Found = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def shard(model: nn.Module, **settings: Any) -> nn.Module:
    """Every layer of the encoders, the encoders, and what is left: as users nest it."""
    mesh = init_device_mesh("cpu", (2,))
    for module in list(model.modules()):
        if type(module).__name__ in ("TransformerEncoderLayer", "MelCnnEncoder", "ByteTextEncoder"):
            fully_shard(module, mesh=mesh, **settings)
    return fully_shard(model, mesh=mesh, **settings)


def speech(fusion: str = "joint") -> EmotionModel:
    torch.manual_seed(0)
    return speech_model(fusion)


def lacking(rank: int) -> list[dict]:
    """The batch of one rank: rank 0 lacks texts, rank 1 lacks one recording and has two more."""
    samples = speech_samples(3 if rank == 0 else 5, seconds=0.1 if rank == 0 else 0.15)
    for place, sample in enumerate(samples):
        sample["id"] = f"rank {rank}, {place}"
        if rank == 0:
            sample["text"] = None
        elif place == 2:
            sample["audio"] = None
    return samples


REMOVALS: dict[str, Any] = {
    "absent": "absent",
    "edited": {"audio": "silence", "text": "mask"},
}


def distributed(rank: int, folder: Path) -> Found:
    """DDP over the objective; rank 0 explains more than rank 1, and oftener."""
    found: Found = {}
    for every in (None, 2):
        step = objective()
        wrapped = nn.parallel.DistributedDataParallel(step, find_unused_parameters=True)
        samples = labelled(8)[rank::2]
        optimizer = torch.optim.AdamW((p for p in step.parameters() if p.requires_grad), lr=0.05)
        torch.manual_seed(rank)
        wrapped.train()
        for number in range(4):
            loss = wrapped(**step.model.collate(samples))["loss"]
            if every and number % every == 0:
                for _ in range(2 - rank):
                    look(wrapped.module, labelled(8)[rank : 6 + rank])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        name = "explained" if every else "plain"
        found[name] = {key: one.clone() for key, one in step.state_dict().items()}
        found[name] |= {"generator": torch.get_rng_state()}
    found["draws"] = mx.explain(wrapped, labelled(6)).draws
    return found


def sharded(rank: int, folder: Path) -> Found:
    """FSDP2: explained between and inside training steps, each rank its own samples."""
    found: Found = {}
    whole, samples = speech(), lacking(rank)
    for every in (None, 1):
        model = shard(speech())
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        model.train()
        for name, removal in REMOVALS.items():
            if every:  # before the first forward, too
                explanation = mx.explain(model, samples, removal=removal)
                plain = mx.explain(whole, samples, removal=removal)
                found[f"{name} as the whole"] = [explanation.draws, plain.draws]
        for number in range(3):
            torch.manual_seed(10 * number + rank)
            loss = model(model.collate(samples)).scores.square().mean()
            if every:
                before = _state(model)
                mx.explain(model, samples)
                model.predict(samples[:2])
                found["trace"] = before != _state(model)
            loss.backward()
            if every:
                mx.explain(model, samples, removal=REMOVALS["edited"])
            optimizer.step()
            optimizer.zero_grad()
        kept = {name: one.full_tensor() for name, one in model.state_dict().items()}
        found["explained" if every else "plain"] = kept
    # Trained, and again like the whole one with the same weights.
    whole.load_state_dict(kept)
    found["at the end"] = [mx.explain(model, samples).draws, mx.explain(whole, samples).draws]
    found["kept sharded"] = all(isinstance(p, DTensor) for p in model.parameters())
    found["predicted"] = [model.predict(samples).scores, whole.predict(samples).scores]
    # Attributors ask as often as their samples need: so the weights are gathered around them.
    totals = []
    for one in (model, whole):
        with gathered(one):
            game = one.game(samples, removal=REMOVALS["edited"])
            totals.append(Owen(players={"text": "word"}).attribute(game).totals)
            game = one.game(samples, background=speech_samples(3))
            totals.append(FeatureDifference().attribute(game).totals)
    found["attributed"] = totals
    return found


def outermost(rank: int, folder: Path) -> Found:
    """Model and loss sharded together: the model's weights belong to a module around it."""
    found: Found = {}
    for every in (None, 1):
        whole, step = objective(), objective()
        fully_shard(step, mesh=init_device_mesh("cpu", (2,)))
        optimizer = torch.optim.AdamW((p for p in step.parameters() if p.requires_grad), lr=0.05)
        samples = labelled(8)[rank::2]
        torch.manual_seed(rank)
        step.train()
        for number in range(3):
            if every and number == 0:
                found["before"] = [mx.explain(one, samples).draws for one in (step, whole)]
            loss = step(**step.model.collate(samples))["loss"]
            if every:
                mx.explain(step, samples[rank:])
            loss.backward()
            if every:
                mx.explain(step, samples[rank:], removal="noise", draws=2)
            optimizer.step()
            optimizer.zero_grad()
        name = "explained" if every else "plain"
        with gathered(step):
            found[name] = {key: one.detach().clone() for key, one in step.named_parameters()}
    plain = objective()
    plain.load_state_dict(found[name], strict=False)
    plain.model.load_state_dict(
        {key: one for key, one in step.model.state_dict().items() if not isinstance(one, DTensor)},
        strict=False,
    )
    found["after"] = [mx.explain(one, samples).draws for one in (step, plain)]
    return found


def accumulating(rank: int, folder: Path) -> Found:
    """FSDP2 that keeps weights gathered and gradients whole until the last part of a step."""
    found: Found = {}
    samples = lacking(rank)
    for every in (None, 1):
        model = shard(speech("shallow"))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        model.train()
        torch.manual_seed(rank)
        for number in range(4):
            last = number % 2 == 1
            model.set_requires_gradient_sync(last)
            model.set_reshard_after_backward(last)
            loss = model(model.collate(samples[number % 2 :])).scores.square().mean()
            if every:
                mx.explain(model, samples)
            loss.backward()
            if every:
                mx.explain(model, samples[:2])
            if last:
                optimizer.step()
                optimizer.zero_grad()
        kept = {name: one.full_tensor() for name, one in model.state_dict().items()}
        found["explained" if every else "plain"] = kept
    return found


def saved(rank: int, folder: Path) -> Found:
    """One rank writes the whole model."""
    model = shard(speech("shallow"))
    with gathered(model):
        if rank == 0:
            model.save_pretrained(folder / "sharded")
    group.barrier()
    again = EmotionModel.from_pretrained(folder / "sharded")
    samples = speech_samples(3)
    return {"draws": [mx.explain(one, samples).draws for one in (model, again)]}


def stale(rank: int, folder: Path) -> Found:
    """A game of a sharded model outlives forward passes, not steps of the optimizer."""
    model, samples = shard(speech("shallow")), speech_samples(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    game = model.game(samples)
    loss = model(model.collate(samples)).scores.square().mean()
    first = game.encode("audio").values
    loss.backward()
    second = game.encode("audio").values
    optimizer.step()
    try:
        game.encode("audio")
    except mx.errors.StaleGameError as error:
        return {"values": [first, second], "error": str(error)}
    return {"values": [first, second], "error": ""}


def mixed(rank: int, folder: Path) -> Found:
    """Under a mixed precision policy; explained in the weights' own precision."""
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    model, whole, samples = shard(speech(), mp_policy=policy), speech(), speech_samples(3)
    model(model.collate(samples))  # and FSDP holds some weights gathered, in bfloat16
    predicted = [one.predict(samples).scores for one in (model, whole)]
    return {
        "predicted": predicted,
        "draws": [mx.explain(model, samples).draws, mx.explain(whole, samples).draws],
    }


def corpus(rank: int, folder: Path) -> Found:
    """A corpus in parts, by both ranks of a sharded model; begun by one that was not sharded."""
    model = shard(speech("shallow"))
    if rank == 0:
        explain_corpus(
            speech("shallow"), speech_samples(5), folder / "corpus", chunk=1, shard=(4, 5)
        )
    group.barrier()
    explain_corpus(model, speech_samples(5), folder / "corpus", chunk=1)
    group.barrier()
    whole = mx.explain(speech("shallow"), speech_samples(5))
    run = CorpusRun(folder / "corpus")
    return {"draws": [run.explanation().draws, whole.draws], "complete": run.complete}


def an_error(rank: int, folder: Path) -> Found:
    """What fails inside leaves the model sharded, and training goes on."""
    model, samples = shard(speech("shallow")), speech_samples(3)
    before = _state(model)
    fused = model.fusion.join
    model.fusion.join = _raise
    with contextlib.suppress(ZeroDivisionError):
        mx.explain(model, samples)
    model.fusion.join = fused
    del model.fusion.join
    same = before == _state(model)
    model(model.collate(samples)).scores.sum().backward()
    return {"same": same, "graded": all(p.grad is not None for p in model.encoders.parameters())}


def accelerated(rank: int, folder: Path) -> Found:
    """Accelerate, with rank 0 explaining the unwrapped module in the midst of it."""
    from accelerate import Accelerator

    _as_launched(rank)
    found: Found = {}
    for every in (None, 1):
        accelerator, step = Accelerator(cpu=True, gradient_accumulation_steps=2), objective()
        model, optimizer = step.model, torch.optim.AdamW(step.parameters(), lr=0.05)
        loader = DataLoader(labelled(), 3, shuffle=True, collate_fn=model.collate)
        wrapped, optimizer, loader = accelerator.prepare(step, optimizer, loader)
        wrapped.train()
        torch.manual_seed(rank)
        seen = []
        for batch in loader:
            with accelerator.accumulate(wrapped):
                accelerator.backward(wrapped(**batch)["loss"])
                optimizer.step()
                optimizer.zero_grad()
            seen.append(batch["ids"])
            if every and rank == 0:
                look(accelerator.unwrap_model(wrapped), labelled())
        name = "explained" if every else "plain"
        found[name] = {key: one.clone() for key, one in step.state_dict().items()}
        found[name] |= {"generator": torch.get_rng_state(), "seen": seen}
    found["processes"] = accelerator.num_processes
    return found


def _as_launched(rank: int) -> None:
    """What ``accelerate launch`` says; the group is there already, so that no port is opened."""
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= ranks | {"MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    os.environ["ACCELERATE_USE_CPU"] = "true"


def example(rank: int, folder: Path) -> Found:
    """The script of the documentation as it is, in two processes."""
    _as_launched(rank)
    said, argv = io.StringIO(), sys.argv
    sys.argv = [
        "accelerate_loop.py",
        "--epochs",
        "1",
        "--samples",
        "48",
        "--out",
        str(folder / "m"),
    ]
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(str(ROOT / "examples" / "accelerate_loop.py"), run_name="__main__")
    finally:
        sys.argv = argv
    return {"said": said.getvalue()}


def _raise(*_: object) -> None:
    raise ZeroDivisionError


def _state(model: nn.Module) -> list[Any]:
    """Which weights, hooks and modes a model has: the objects themselves."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # FSDP holds some gathered between forward and backward; so may we not
    return [
        (
            [id(one) for one in vars(module)["_parameters"].values()],
            list(vars(module)["_forward_hooks"]),
            list(vars(module)["_forward_pre_hooks"]),
            sorted(vars(module)),
            module.training,
            type(module),
        )
        for module in model.modules()
    ]


SCENES = (
    distributed,
    sharded,
    outermost,
    stale,
    an_error,
    accumulating,
    saved,
    mixed,
    corpus,
    accelerated,
    example,
)


def main() -> None:
    """Scenes, one after another; a rank that waits for ever is ended by its parent."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    group.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meet'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=40),
    )
    found: Found = {}
    for scene in (one for one in SCENES if one.__name__ in sys.argv[3:]):
        try:
            found[scene.__name__] = scene(rank, folder)
        except Exception:
            # The other rank may be waiting: nothing after this would mean anything.
            found[scene.__name__] = {"failed": traceback.format_exc()}
            torch.save(found, folder / f"rank{rank}.pt")
            raise
    torch.save(found, folder / f"rank{rank}.pt")
    group.destroy_process_group()


if __name__ == "__main__":
    main()
