"""Twenty ways to write one function down: which shares survive?

A small model is trained on synthetic speech. Then a constant is moved from the fusion into the
encoders' outputs, twenty times: the model predicts the same for every sample. Prints how far each
method's audio share moves, and draws it with ``--out FILE``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import modalxai as mx
from modalxai.datasets import tonebench
from modalxai.recipes import demo

METHODS = {
    "Grad-CAM, as published": mx.attribution.GradCAM(),
    "HiResCAM, as published": mx.attribution.HiResCAM(),
    "FeatureDifference": mx.attribution.FeatureDifference(),
    "IntegratedGradients": mx.attribution.IntegratedGradients(),
    "ModalityShapley": mx.attribution.ModalityShapley(),
    "ModalityAblation": mx.attribution.ModalityAblation(),
}


def shares(totals: torch.Tensor) -> torch.Tensor:
    """Audio's share of the mean magnitudes, in %, [S + 1, L]; totals [S + 1, B, L, M]."""
    sizes = totals.abs().mean(1)
    return 100 * sizes[..., 0] / sizes.sum(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--shifts", type=int, default=20)
    parser.add_argument("--out", type=Path, help="a picture of it")
    options = parser.parse_args()
    rule = tonebench.emotions()
    seen = tonebench.ToneBench(rule, options.clips, speakers=range(20), soft=True, cache=True)
    unseen = tonebench.ToneBench(rule, 40, speakers=range(50, 54), cache=True)
    torch.manual_seed(0)
    model = demo.build(mx.labels(*rule.labels))
    demo.train(model, seen)
    names = [label.name for label in model.labels]
    samples = [unseen[index] for index in range(len(unseen))]
    found = {}
    print(f"{'audio share in %, of one function':28}" + "".join(f"{name:>16}" for name in names))
    for title, method in METHODS.items():
        gap = mx.evaluation.reparametrisation_gap(model, method, samples, shifts=options.shifts)
        found[title] = moved = shares(gap.totals)
        cells = "".join(f"{m.min():>9.1f} -{m.max():>5.1f}" for m in moved.T)
        print(f"{title:28}{cells}   largest change of a sample's share {gap.share_gap:.1e}")
    if options.out is not None:
        draw(found, names).savefig(options.out, dpi=110, bbox_inches="tight")


def draw(found: dict[str, torch.Tensor], names: list[str]):
    """A row of dots per method and label: one dot per way to write the function down."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2))
    FigureCanvasAgg(figure)
    places = figure.subplots(1, len(names), sharey=True)
    for column, (axes, name) in enumerate(zip(places, names, strict=True)):
        for row, (title, moved) in enumerate(found.items()):
            published = "published" in title
            axes.plot(
                moved[:, column], [row] * len(moved), "o", ms=5, alpha=0.6,
                color="#D55E00" if published else "#0072B2",
            )  # fmt: skip
        axes.set(title=name, xlim=(0, 100), xlabel="%")
        axes.set_yticks(range(len(found)), list(found))
        axes.grid(axis="x", alpha=0.3)
    places[0].invert_yaxis()
    figure.suptitle("Audio's share in 21 ways to write one function down", y=1.0)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
