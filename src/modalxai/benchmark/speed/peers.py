"""Captum, SHAP and shapiq on a function of masks, each as its documentation says is fastest."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai.interop.optional import require

Estimand = Literal["Shapley", "Owen, nested", "necessity"]
LABEL = 0
"""The label that methods of one label explain."""
BATCH = 4096
"""Rows that a library may hand over at once: all of them, in every cell of the table."""


class Masked(Protocol):
    """A function of masks: a `BlackBox`, or a table of values."""

    @property
    def on(self) -> Tensor:
        """Ones [B, U]."""
        ...

    @property
    def off(self) -> Tensor:
        """Zeros [B, U]."""
        ...

    @property
    def rows(self) -> Tensor:
        """0..B-1."""
        ...

    @property
    def players(self) -> Mapping[str, int]:
        """By modality, how many."""
        ...

    def __call__(self, masks: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores [n, L]."""
        ...

    def array(self, masks: Any) -> Any:
        """The same of the first sample, as arrays."""
        ...


Solve = Callable[[Masked, int, int], Tensor]
"""A function of masks, rows that may be spent and a seed to values [L, U]; [1, U] of one label."""


@dataclass(frozen=True)
class Peer:
    """One method of another library.

    Parameters
    ----------
    name, package
        Of the method, and what must be installed.
    solve
        How it is asked. Of batches, only the first sample's values are returned.
    estimand
        What it computes, or estimates.
    exact
        Whether it computes it.
    every_label
        Whether one run answers for all labels. Where not, only one label is asked for, and costs
        are those of one: with the same seed the other labels' coalitions would be the same, and a
        user who keeps their scores pays for them once.
    batched
        Whether one call may explain several samples.
    """

    name: str
    package: str
    solve: Solve
    estimand: Estimand = "Shapley"
    exact: bool = False
    every_label: bool = True
    batched: bool = False

    @property
    def installed(self) -> str | None:
        """The version that is there."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


@contextmanager
def quiet() -> Iterator[None]:
    """Without their warnings, and with numpy's generator put back, which SHAP draws from."""
    state = np.random.get_state()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)


def captum_all(box: Masked, method: str, **settings: Any) -> Tensor:
    """A perturbation method of Captum, every label, every sample: [B, L, U]."""
    explainer = getattr(require("captum.attr"), method)(box)
    found: Tensor = explainer.attribute(
        box.on,
        baselines=box.off,
        additional_forward_args=box.rows,
        perturbations_per_eval=BATCH,
        **settings,
    )
    return found.reshape(len(box.on), -1, box.on.shape[1])


def _captum_exact(box: Masked, _rows: int, _seed: int) -> Tensor:
    return captum_all(box, "ShapleyValues")[0]


def _captum_ablation(box: Masked, _rows: int, _seed: int) -> Tensor:
    return captum_all(box, "FeatureAblation")[0]


def _captum_sampling(box: Masked, rows: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    count = max(1, (rows - 1) // box.on.shape[1])
    return captum_all(box, "ShapleyValueSampling", n_samples=count)[0]


def _captum_kernel(box: Masked, rows: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    explainer = require("captum.attr").KernelShap(lambda masks: box(masks)[:, LABEL])
    found: Tensor = explainer.attribute(
        box.on[:1],
        baselines=box.off[:1],
        n_samples=max(1, rows - 1),  # and one row to learn the type of the output
        perturbations_per_eval=BATCH,
    )
    return found


def _shap(box: Masked, name: str, masker: Any, seed: int, **call: Any) -> Tensor:
    np.random.seed(seed % 2**32)
    explainer = getattr(require("shap").explainers, name)
    settings = {"seed": seed} if name == "Permutation" else {}
    made = explainer(box.array, masker, **settings)
    found = made(box.on[:1].numpy(), silent=True, **call)
    return torch.from_numpy(np.asarray(found.values)[0]).T


def _shap_exact(box: Masked, _rows: int, seed: int) -> Tensor:
    most = 1 << box.on.shape[1]
    return _shap(box, "Exact", box.off[:1].numpy(), seed, max_evals=most, batch_size=BATCH)


def _shap_permutation(box: Masked, rows: int, seed: int) -> Tensor:
    least = 2 * box.on.shape[1] + 1
    most = max(rows, least)
    return _shap(box, "Permutation", box.off[:1].numpy(), seed, max_evals=most, batch_size=BATCH)


def nested(sizes: Mapping[str, int]) -> NDArray[np.float64]:
    """A tree as scipy has it: players of a modality halved again and again, then the modalities."""
    merges: list[tuple[float, float, float, float]] = []
    total = sum(sizes.values())

    def join(parts: list[tuple[int, int]]) -> tuple[int, int]:
        """Number and size of the node over parts."""
        if len(parts) == 1:
            return parts[0]
        half = len(parts) // 2
        left, right = join(parts[:half]), join(parts[half:])
        merges.append((left[0], right[0], float(len(merges) + 1), left[1] + right[1]))
        return total + len(merges) - 1, left[1] + right[1]

    start, tops = 0, []
    for size in sizes.values():
        tops.append(join([(start + i, 1) for i in range(size)]))
        start += size
    join(tops)
    return np.array(merges)


def _shap_partition(box: Masked, rows: int, seed: int) -> Tensor:
    masker = require("shap").maskers.Partition(box.off[:1].numpy(), clustering=nested(box.players))
    return _shap(box, "Partition", masker, seed, max_evals=max(rows, 4), batch_size=BATCH)


def _shapiq_exact(box: Masked, _rows: int, _seed: int) -> Tensor:
    shapiq = require("shapiq")
    players = box.on.shape[1]
    computer = shapiq.ExactComputer(_played(box), n_players=players)
    return _ones(computer("SV", 1), players)


def _played(box: Masked) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    def play(masks: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = box.array(np.atleast_2d(np.asarray(masks)))[:, LABEL]
        return found.astype(float)

    return play


def _ones(values: Any, players: int) -> Tensor:
    return torch.tensor([[float(values[(player,)]) for player in range(players)]])


def _shapiq(name: str, **settings: Any) -> Solve:
    """An approximator of shapiq by name, in a game that is centred, as its own are."""

    def solve(box: Masked, rows: int, seed: int) -> Tensor:
        shapiq = require("shapiq")
        players = box.on.shape[1]
        made: dict[str, Any] = {"n": players, "random_state": seed}
        given = {key: make(players) for key, make in settings.items()}
        play = _played(box)
        nothing = float(play(np.zeros((1, players), dtype=bool))[0])
        approximator = getattr(shapiq.approximator, name)(**made, **given)
        values = approximator.approximate(rows, lambda masks: play(masks) - nothing)
        return _ones(values, players)

    return solve


def leverage(players: int) -> NDArray[np.float64]:
    """Every size of a coalition as likely as every other (Musco & Witter 2025)."""
    return np.ones(players + 1)


def always(_players: int) -> bool:
    """Turn something on."""
    return True


FOR_MODALITIES = (
    Peer("SHAP Exact", "shap", _shap_exact, exact=True),
    Peer("SHAP Permutation", "shap", _shap_permutation),
    Peer("SHAP Partition", "shap", _shap_partition, "Owen, nested", exact=True),
    Peer("Captum ShapleyValues", "captum", _captum_exact, exact=True, batched=True),
    Peer("Captum ShapleyValueSampling", "captum", _captum_sampling, batched=True),
    Peer("Captum KernelShap", "captum", _captum_kernel, every_label=False),
    Peer("Captum FeatureAblation", "captum", _captum_ablation, "necessity", True, batched=True),
    Peer("shapiq ExactComputer", "shapiq", _shapiq_exact, exact=True, every_label=False),
)
"""Asked about whole modalities."""

FOR_UNITS = (
    Peer("SHAP Permutation", "shap", _shap_permutation),
    Peer("SHAP Partition", "shap", _shap_partition, "Owen, nested"),
    Peer("Captum ShapleyValueSampling", "captum", _captum_sampling),
    Peer("Captum KernelShap", "captum", _captum_kernel, every_label=False),
    Peer(
        "shapiq KernelSHAP, paired, leverage",
        "shapiq",
        _shapiq("KernelSHAP", pairing_trick=always, sampling_weights=leverage),
        every_label=False,
    ),
    Peer(
        "shapiq KernelSHAP, paired",
        "shapiq",
        _shapiq("KernelSHAP", pairing_trick=always),
        every_label=False,
    ),
    Peer(
        "shapiq UnbiasedKernelSHAP, paired",
        "shapiq",
        _shapiq("UnbiasedKernelSHAP", pairing_trick=always),
        every_label=False,
    ),
    Peer(
        "shapiq kADDSHAP, paired",
        "shapiq",
        _shapiq("kADDSHAP", pairing_trick=always),
        every_label=False,
    ),
    Peer("shapiq SVARM", "shapiq", _shapiq("SVARM", pairing_trick=always), every_label=False),
    Peer(
        "shapiq PermutationSamplingSV",
        "shapiq",
        _shapiq("PermutationSamplingSV"),
        every_label=False,
    ),
)
"""Asked about words and moments, within a budget."""
