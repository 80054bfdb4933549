"""CTC's lattice of letters and blanks: its best path, and how an alphabet may write a letter.

Source: A. Graves et al., ICML 2006.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

import torch
from torch import Tensor


def best_path(chances: Tensor, targets: Sequence[int], blank: int) -> list[int | None] | None:
    """The likeliest way to say ``targets`` in T frames: each frame's target, or ``None`` for blank.

    Viterbi on CTC's lattice: a target lasts a frame or more, blanks may lie between targets, and
    must lie between equal ones.

    Parameters
    ----------
    chances
        Log-probabilities [T, V].
    targets
        Columns in order, none of them the blank.

    Returns
    -------
    list or None
        Places in ``targets``; ``None`` if they do not fit into T frames.
    """
    count = len(targets)
    states = torch.full((2 * count + 1,), blank)
    states[1::2] = torch.tensor(list(targets))
    # From two states before: over a blank, to another letter.
    skips = torch.zeros(len(states), dtype=torch.bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    own = chances.double()[:, states]
    never = torch.tensor(-math.inf, dtype=torch.float64)
    best = torch.full((len(states),), -math.inf, dtype=torch.float64)
    best[:2] = own[0, :2]
    steps = torch.zeros(len(own), len(states), dtype=torch.long)
    for frame in range(1, len(own)):
        one, two = best.roll(1), best.roll(2)
        one[:1], two[:2] = -math.inf, -math.inf
        ways = torch.stack([best, one, torch.where(skips, two, never)])
        highest, steps[frame] = ways.max(0)
        best = highest + own[frame]
    state = max(range(len(states))[-2:], key=lambda at: float(best[at])) if count else 0
    if best[state] == -math.inf:
        return None
    path: list[int | None] = []
    for frame in range(len(own) - 1, -1, -1):
        path.append(state // 2 if state % 2 else None)
        state -= int(steps[frame, state])
    return path[::-1]


_LEADS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_TAILS = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"


def forms(character: str) -> tuple[str, ...]:
    """How an alphabet may write a letter, likeliest first."""
    found = [character, character.lower(), character.upper()]
    place = ord(character) - 0xAC00
    if 0 <= place < 11172:
        lead, vowel, tail = place // 588, place // 28 % 21, place % 28
        found.append(unicodedata.normalize("NFD", character))
        found.append(_LEADS[lead] + chr(0x314F + vowel) + (_TAILS[tail - 1] if tail else ""))
    return tuple(found)
