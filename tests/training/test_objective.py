from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from modalxai.encoders import ByteTextEncoder, MelCnnEncoder
from modalxai.errors import InputError
from modalxai.fusion import ShallowFusion
from modalxai.model import EmotionModel
from modalxai.training import EmotionLoss, Objective
from modalxai.types import Audio, Batch, Prediction, Targets, labels

LABELS = labels("anger", "joy") + labels("valence", kind="dimensional")


class Pair(nn.Module):
    """The least that takes a Batch and gives a Prediction: one linear layer per modality."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Linear(4, len(LABELS))
        self.text = nn.Linear(3, len(LABELS))

    def forward(self, batch: Batch) -> Prediction:
        assert isinstance(batch, Batch)
        scores = self.audio(batch["audio"]["values"]) + self.text(batch["text"]["values"])
        return Prediction(scores, LABELS)


def collate(samples: list[dict]) -> Batch:
    """At the top of the module, so that loader workers can unpickle it."""
    values = torch.tensor(
        [[sample["anger"], 1 - sample["anger"], sample["valence"]] for sample in samples]
    )
    return Batch(
        audio={"values": torch.stack([sample["audio"] for sample in samples])},
        text={"values": torch.stack([sample["text"] for sample in samples])},
        targets=(values.nan_to_num(), values.isfinite()),
        columns={"speaker": tuple(sample["speaker"] for sample in samples)},
        ids=tuple(sample["id"] for sample in samples),
    )


def make_samples(count: int) -> list[dict]:
    draw = torch.Generator().manual_seed(0)
    return [
        {
            "id": f"u{index}",
            "audio": torch.randn(4, generator=draw),
            "text": torch.randn(3, generator=draw),
            "anger": float(index % 2),
            "valence": math.nan if index % 3 else index / count,
            "speaker": f"s{index % 2}",
        }
        for index in range(count)
    ]


@pytest.fixture
def batch() -> Batch:
    return collate(make_samples(6))


@pytest.fixture
def step() -> Objective:
    torch.manual_seed(0)
    return Objective(Pair(), EmotionLoss(class_weights=[1.0, 2.0]))


@pytest.fixture
def alone(tmp_path):
    """A process group of one, met through a file: no port, no network."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def gradients(module: nn.Module) -> list[Tensor]:
    return [weight.grad for weight in module.parameters()]


def test_equals_model_then_loss(step, batch):
    result = step(**batch)
    prediction = step.model(batch)
    assert set(result) == {"loss", "scores"}
    assert torch.equal(result["scores"], prediction.scores)
    assert torch.equal(result["loss"], step.loss(prediction, batch.targets))
    assert result["loss"].shape == ()


@pytest.mark.parametrize("rebuild", [lambda pair: Targets(*pair), tuple, list])
def test_targets_may_have_lost_their_type(step, batch, rebuild):
    expected = step(**batch)["loss"]
    batch["targets"] = rebuild(batch["targets"])
    assert torch.equal(step(**batch)["loss"], expected)


def test_columns_and_ids_are_optional(step, batch):
    expected = step(**batch)["loss"]
    del batch["columns"], batch["ids"]
    assert torch.equal(step(**batch)["loss"], expected)


@pytest.mark.parametrize(
    ("targets", "wrong"),
    [
        (None, "unusable targets"),
        (torch.zeros(2, 6, 3), "unusable targets"),
        ((torch.zeros(6, 3),), "unusable targets"),
        ((torch.zeros(6, 3), None), "unusable targets"),
    ],
)
def test_unusable_targets_are_refused(step, batch, targets, wrong):
    batch["targets"] = targets
    with pytest.raises(InputError, match=wrong) as caught:
        step(**batch)
    assert "model.collate" in caught.value.mend


def test_missing_targets_say_what_to_do(step, batch):
    del batch["targets"]
    with pytest.raises(InputError, match="no targets") as caught:
        step(**batch)
    assert "labels" in caught.value.mend


def test_a_fault_in_the_targets_names_the_sample(step, batch):
    batch["targets"][0][4, 0] = 7
    with pytest.raises(InputError, match="sample 'u4'") as caught:
        step(**batch)
    assert caught.value.index == 4
    batch["ids"] += batch["ids"]
    with pytest.raises(InputError) as caught:
        step(**batch)
    assert "u4" not in caught.value.wrong


def test_an_error_of_the_model_passes_unchanged(step, batch):
    batch["audio"]["values"] = torch.zeros(6, 5)
    with pytest.raises(RuntimeError, match="shapes"):
        step(**batch)


def test_a_plain_loop_learns(step, batch):
    optimizer = torch.optim.AdamW(step.parameters(), lr=0.1)
    first = step(**batch)["loss"].item()
    for _ in range(50):
        optimizer.zero_grad()
        step(**batch)["loss"].backward()
        optimizer.step()
    assert step(**batch)["loss"].item() < first / 5


def test_loader_workers_give_the_batches_of_one_process(step):
    samples = make_samples(8)
    loaders = [
        DataLoader(samples, batch_size=3, collate_fn=collate, num_workers=workers)
        for workers in (0, 2)
    ]
    losses = [[step(**batch)["loss"].item() for batch in loader] for loader in loaders]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a CUDA device pins memory")
@pytest.mark.gpu
def test_pinned_batches_move_to_the_device(step):
    loader = DataLoader(make_samples(4), batch_size=4, collate_fn=collate, pin_memory=True)
    expected = step(**collate(make_samples(4)))["loss"]
    moved = next(iter(loader))
    assert moved["audio"]["values"].is_pinned()
    found = step.cuda()(**moved.to("cuda", non_blocking=True))["loss"]
    torch.testing.assert_close(found.cpu(), expected)


def test_distributed_data_parallel_gives_the_same_loss_and_gradients(step, batch, alone):
    plain = copy.deepcopy(step)
    wrapped = nn.parallel.DistributedDataParallel(step)
    expected, found = plain(**batch), wrapped(**batch)
    expected["loss"].backward()
    found["loss"].backward()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradients(step), gradients(plain), rtol=0, atol=0)


def test_distributed_data_parallel_goes_on_after_a_batch_without_annotations(step, batch, alone):
    wrapped = nn.parallel.DistributedDataParallel(step)
    unknown = Batch(batch)
    unknown["targets"] = (batch["targets"][0], torch.zeros_like(batch["targets"][1]))
    # A weight that no gradient reached would make the wrapper refuse the next forward.
    for given in (unknown, batch, unknown, batch):
        step.zero_grad()
        wrapped(**given)["loss"].backward()
        assert all(grad is not None for grad in gradients(step))
        assert all(grad.isfinite().all() for grad in gradients(step))


@pytest.mark.parametrize("share", [[3, 3], [5, 1]])
def test_replicas_that_share_the_rows_but_not_the_ids_give_the_same_scores(step, batch, share):
    # What torch's scatter makes of each entry, by hand: it splits tensors, repeats the rest.
    parts, start = [], 0
    for size in share:
        rows = slice(start, start + size)
        part = torch.utils._pytree.tree_map(
            lambda leaf, rows=rows: leaf[rows] if isinstance(leaf, Tensor) else leaf, batch
        )
        parts.append(step(**part)["scores"])
        start += size
    torch.testing.assert_close(torch.cat(parts), step(**batch)["scores"])


def test_compiles(step, batch):
    compiled = torch.compile(step, backend="aot_eager")
    torch.testing.assert_close(compiled(**batch), step(**batch))


def prepare(data, move):
    """As ``transformers.Trainer._prepare_input`` rebuilds what a loader gives it."""
    if isinstance(data, dict):
        return type(data)({key: prepare(value, move) for key, value in data.items()})
    if isinstance(data, tuple | list):
        return type(data)(prepare(value, move) for value in data)
    return move(data) if isinstance(data, Tensor) else data


def test_survives_the_way_the_trainer_rebuilds_batches(step, batch):
    rebuilt = prepare(batch, partial(torch.Tensor.to, device="cpu", dtype=torch.float64))
    rebuilt["targets"] = (rebuilt["targets"][0], rebuilt["targets"][1].bool())
    assert type(rebuilt) is Batch
    assert rebuilt.ids == batch.ids
    torch.testing.assert_close(
        step.double()(**rebuilt)["loss"].float(), step.float()(**batch)["loss"]
    )


def test_the_trainer_adds_no_keywords_of_its_own():
    # Else it sees ``**batch``, passes num_items_in_batch, and no longer divides accumulated steps.
    assert Objective.accepts_loss_kwargs is False


def train(step: Objective, folder, samples, collate_fn=collate, **settings):
    pytest.importorskip("accelerate", reason="transformers.Trainer needs accelerate")
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        max_steps=1,
        learning_rate=0.1,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        remove_unused_columns=False,
        label_names=["targets"],
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        # No shuffling, so that a loop by hand sees the same batches.
        train_sampling_strategy="sequential",
        **settings,
    )
    trainer = Trainer(
        step, arguments, data_collator=collate_fn, train_dataset=samples, eval_dataset=samples
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize(("size", "accumulate"), [(8, 1), (4, 2)])
def test_the_trainer_makes_the_step_of_a_plain_loop(step, tmp_path, size, accumulate):
    plain = copy.deepcopy(step)
    train(
        step,
        tmp_path,
        make_samples(8),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulate,
    )
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for start in range(0, 8, size):
        (plain(**collate(make_samples(8)[start : start + size]))["loss"] / accumulate).backward()
    optimizer.step()
    torch.testing.assert_close(step.state_dict(), plain.state_dict())


def test_the_trainer_evaluates_scores_against_targets(step, tmp_path):
    trainer = train(step, tmp_path, make_samples(8), per_device_train_batch_size=8)
    output = trainer.predict(make_samples(8))
    expected = step(**collate(make_samples(8)))
    torch.testing.assert_close(torch.as_tensor(output.predictions), expected["scores"].detach())
    assert output.metrics["test_loss"] == pytest.approx(expected["loss"].item(), rel=1e-5)
    assert [part.shape for part in output.label_ids] == [(8, 3), (8, 3)]


# The same, with the library's own model and batches.


def speech(count: int) -> list[dict]:
    """Short noise whose loudness is the label; some text, number or label is missing."""
    draw = torch.Generator().manual_seed(1)
    return [
        {
            "id": f"u{index}",
            "audio": Audio(
                torch.randn(2400 + 200 * index, generator=draw) / (2 + 18 * (index % 2)), 16_000
            ),
            "text": None if index == 1 else "참 잘했다."[: 3 + index % 3],
            "labels": None
            if index == 2
            else {("anger", "joy")[index % 2]: 1, "valence": index / 8},
            "speaker": f"s{index % 2}",
        }
        for index in range(count)
    ]


@pytest.fixture
def real() -> Objective:
    torch.manual_seed(0)
    audio = MelCnnEncoder(dim=16, mels=16, channels=16, layers=1, strides=(2,), dropout=0.0)
    text = ByteTextEncoder(dim=16, layers=1, dropout=0.0)
    fusion = ShallowFusion({"audio": 16, "text": 16}, LABELS, hidden=16, dropout=0.0)
    model = EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.0)
    return Objective(model, EmotionLoss(LABELS))


def test_the_models_loader_workers_give_the_batches_of_one_process(real):
    losses = [
        [
            real(**batch)["loss"].item()
            for batch in DataLoader(
                speech(6), 3, collate_fn=real.model.collate, num_workers=workers
            )
        ]
        for workers in (0, 2)
    ]
    assert losses[0] == losses[1]


def test_the_model_learns_in_a_plain_loop(real):
    batch = real.model.collate(speech(8))
    optimizer = torch.optim.AdamW(real.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(real(**batch)["loss"])
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < losses[0].item() / 3


def test_the_model_under_distributed_data_parallel_equals_the_model(real, alone):
    plain = copy.deepcopy(real)
    wrapped = nn.parallel.DistributedDataParallel(real)
    # One modality missing in a whole batch, no label in another: still every weight has a gradient.
    silent = [sample | {"audio": None} for sample in speech(4) if sample["text"]]
    unknown = [sample | {"labels": None} for sample in speech(4)]
    for samples in (speech(4), silent, unknown, speech(4)):
        batch = real.model.collate(samples)
        for module, step in ((real, wrapped), (plain, plain)):
            module.zero_grad()
            step(**batch)["loss"].backward()
        torch.testing.assert_close(gradients(real), gradients(plain), rtol=0, atol=0)


def test_the_models_batches_survive_the_way_the_trainer_rebuilds_them(real):
    batch = real.model.collate(speech(4))
    rebuilt = prepare(batch, partial(torch.Tensor.to, device="cpu"))
    assert rebuilt.ids == batch.ids
    assert rebuilt.columns == batch.columns
    assert torch.equal(real(**rebuilt)["loss"], real(**batch)["loss"])


def test_the_trainer_trains_the_model(real, tmp_path):
    before = copy.deepcopy(real.state_dict())
    trainer = train(real, tmp_path, speech(8), real.model.collate, per_device_train_batch_size=4)
    assert math.isfinite(trainer.evaluate()["eval_loss"])
    assert any(not torch.equal(value, before[name]) for name, value in real.state_dict().items())
