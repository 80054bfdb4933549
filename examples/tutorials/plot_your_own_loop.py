"""
Your own training loop
======================

Nothing in modalxai wants to own your loop. An `Objective` turns a batch into a loss, and asking
what the model listens to costs about as much as predicting: cheap enough to ask after every epoch.
"""

# %%
# Samples are dicts
# -----------------
#
# Yours come from a csv file or a dataset of your own. These three emotions are made on the spot,
# and the truth is planted: words and voice have equally much to say.

import torch
from matplotlib.figure import Figure
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai.datasets import tonebench

torch.manual_seed(0)
rule = tonebench.additive(0.5, 3)
seen = tonebench.ToneBench(rule, 480, speakers=range(8), soft=True, cache=True, clip_seconds=0.9)
unseen = tonebench.ToneBench(rule, 120, speakers=range(8, 14), cache=True, clip_seconds=0.9)
sample = seen[0]
print({name: sample[name] for name in ("id", "text", "labels", "speaker")})

# %%
# A model
# -------

# Small and quick. Leave the settings out for a model that is worth its name.
audio = mx.plugins.create(
    "encoders",
    "mel-cnn",
    dim=48,
    channels=48,
    layers=3,
    strides=(2, 2, 2),
    hop=0.02,
    mels=40,
    attention_layers=0,
)
text = mx.plugins.create("encoders", "byte-text", dim=32, layers=1, dropout=0.0)
labels = mx.labels(*rule.labels)
fusion = mx.plugins.create(
    "fusion", "shallow", dims={"audio": audio.dim, "text": text.dim}, labels=labels
)
model = mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.25)

# %%
# The loop
# --------
#
# Gradient clipping, schedules, mixed precision, several GPUs: all of it is yours, and all of it
# is PyTorch. Wrap the `Objective` where you would have wrapped the model: ``step =
# DistributedDataParallel(step)``, ``step = torch.compile(step)``.
#
# `explain` leaves no trace: modes, gradients and random generators are as before, so that
# asking does not change the training.

step = mx.training.Objective(model, mx.training.EmotionLoss())
loader = DataLoader(seen, 24, shuffle=True, collate_fn=model.collate)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
history = []
for epoch in range(10):
    model.train()
    total = 0.0
    for batch in loader:
        optimizer.zero_grad()
        loss = step(**batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(batch.ids)

    explanation = mx.explain(model, unseen)
    evidence = explanation.shapley().totals.abs().mean((0, 1))  # nats, by modality
    right = (explanation.scores[-1].argmax(1) == explanation.targets.values.argmax(1)).float()
    history.append((total / len(seen), right.mean().item(), *evidence.tolist()))
    print(
        f"epoch {epoch + 1}: loss {history[-1][0]:.3f}, accuracy {history[-1][1]:.2f}, "
        f"voice {history[-1][2]:.2f} nats, words {history[-1][3]:.2f} nats"
    )

# %%
# What it learns first
# --------------------
#
# Loss and accuracy tell that the model learns. The evidence tells what: the words come first, and
# the voice follows.

figure = Figure(figsize=(7, 3.2), layout="constrained")
axes = figure.subplots()
epochs = range(1, len(history) + 1)
axes.plot(epochs, [row[2] for row in history], color="#0072B2", marker="o", label="voice")
axes.plot(epochs, [row[3] for row in history], color="#D55E00", marker="s", label="words")
axes.set(xlabel="epoch", ylabel="mean |evidence|, nats", ylim=(0, None))
axes.legend(frameon=False)

# %%
# Against the planted truth
# -------------------------
#
# A row is an emotion; the mark is the truth. The model has not finished learning when we stop, and
# the distance to the marks says so.

gold = {
    label: {"audio": truth.audio, "text": truth.text}
    for label, truth in tonebench.gold(rule).items()
}
figure_of_shares = mx.Report(explanation, cluster="speaker", gold=gold).figure()

# %%
# Keep it
# -------
#
# One folder per part, weights in safetensors, settings in json. What is loaded predicts the
# same.

import tempfile

with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    again = mx.EmotionModel.from_pretrained(folder)
one = [unseen[0]]
assert torch.equal(model.predict(one).scores, again.predict(one).scores)

# %%
# If you would rather not write a loop, `modalxai.training.fit` is one that can be killed and
# goes on.
