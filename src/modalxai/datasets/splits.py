"""Splits without leakage: by speaker, session or dialogue; and the papers' own, which leak.

A model that was trained on a speaker knows that voice: on IEMOCAP the same system has 79.6 %
accuracy with speakers on both sides and 73.0 % without (arXiv 2111.02735). A scripted sentence
that was in the training set needs no understanding either. So a split that shares a speaker or a
scripted sentence is refused, unless it is asked for by name; it then says so wherever it goes.

Only ids and plain columns are read, never a recording. What a split is depends on the ids and the
seed, not on the order of the samples. `Split.part` gives the samples of one part; where the split
leaks each of them says so, and so does every `modalxai.Report` of them. For a
`modalxai.metrics.score_card` hand it over: ``score_card(..., leak=split.leak)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from modalxai.datasets.grouping import connected, deal
from modalxai.datasets.parts import Leak, Part, Split, leak_of
from modalxai.datasets.split_table import REPORTED, Source, Table, class_names
from modalxai.errors import InputError

__all__ = ["GUARDED", "Leak", "Part", "Split", "folds", "random_split", "split"]

GUARDED = ("speaker", "sentence")
"""What parts may share only if it is named."""


def split(
    samples: Source,
    parts: Mapping[str, float],
    *,
    by: str | Sequence[str] = "speaker",
    stratify: str | None = None,
    seed: int = 0,
    share: str | Sequence[str] = (),
) -> Split:
    """Whole groups to parts, near the sizes asked for.

    Parameters
    ----------
    samples
        A corpus, a list of samples, or pairs of an id and its columns.
    parts
        How much each part should hold, by name, the training set first:
        ``{"train": 8, "dev": 1, "test": 1}``. A part exceeds its size by less than one group.
    by
        The column kept together: ``"speaker"``, ``"session"``, ``"dialogue"`` or any other. With
        several, samples that share a value of any of them stay together. ``"sentence"`` is the
        column of this name or, without one, the text where it has four words or more.
    stratify
        A column whose values every part should hold in equal shares, as far as whole groups
        allow: ``"label"`` of a corpus, ``"labels"`` of samples.
    seed
        Another seed, another split.
    share
        Guarded columns that parts may share: ``"speaker"``, ``"sentence"``. The split then carries
        what leaks.

    Raises
    ------
    InputError
        Parts that would share a speaker or a scripted sentence and may not, fewer groups than
        parts, ids that are doubled, a column that is missing or has gaps, or sizes below 0.
    """
    together = (by,) if isinstance(by, str) else tuple(by)
    if not together:
        raise InputError(
            "a split by nothing",
            expected='what to keep together: by="speaker"',
            got=repr(by),
            mend='name a column, or use random_split(..., leak="papers")',
        )
    table = Table.of(samples, (*together, stratify))
    shares = _shares(parts)
    dealt = _deal(table, together, stratify, list(shares.values()), seed, 0)
    members = _members(table, dealt, list(shares))
    return _checked(table, members, together, stratify, seed, 0, _names(share))


def folds(
    samples: Source,
    count: int = 5,
    *,
    by: str | Sequence[str] = "speaker",
    stratify: str | None = None,
    seed: int = 0,
    repeats: int = 1,
    share: str | Sequence[str] = (),
) -> list[Split]:
    """K-fold cross-validation: every sample is tested once per repeat.

    Parameters
    ----------
    samples, by, stratify, seed, share
        As in `split`.
    count
        K. As many as there are groups leaves one group out at a time.
    repeats
        How often to deal anew.

    Returns
    -------
    list of Split
        ``count * repeats`` of them, each with the parts ``"train"`` and ``"test"``.

    Raises
    ------
    InputError
        Fewer than two folds or one repeat, or as for `split`.
    """
    if count < 2 or repeats < 1:
        raise InputError(
            "too few folds",
            expected="two folds or more, one repeat or more",
            got=f"count={count}, repeats={repeats}",
            mend="5 folds are usual",
        )
    together = (by,) if isinstance(by, str) else tuple(by)
    table = Table.of(samples, (*together, stratify))
    made = []
    for draw in range(repeats):
        dealt = _deal(table, together, stratify, [1 / count] * count, seed, draw)
        for fold in range(count):
            members = _members(table, [int(one == fold) for one in dealt], ["train", "test"])
            made.append(_checked(table, members, together, stratify, seed, draw, _names(share)))
    return made


def random_split(
    samples: Source,
    parts: Mapping[str, float],
    *,
    leak: Literal["papers"],
    stratify: str | None = None,
    seed: int = 0,
) -> Split:
    """Samples to parts at random, as many papers do: 80/20 on KEMDy19, 8:1:1 on AI-Hub's set.

    Speakers, dialogues and sentences are then on both sides, and scores are too high. Use it to
    compare with such a paper, never to say how good a model is.

    Parameters
    ----------
    samples, parts, stratify, seed
        As in `split`.
    leak
        ``"papers"``: that you know.

    Raises
    ------
    InputError
        Another ``leak``, or as for `split`.
    """
    if leak != "papers":
        raise InputError(
            "a random split leaks",
            expected='leak="papers", to compare with a paper that split so',
            got=repr(leak),
            mend='use split(..., by="speaker")',
        )
    table = Table.of(samples, (stratify,))
    shares = _shares(parts)
    dealt = _deal(table, (), stratify, list(shares.values()), seed, 0)
    members = _members(table, dealt, list(shares))
    return _checked(table, members, (), stratify, seed, 0, GUARDED)


def _deal(
    table: Table,
    by: Sequence[str],
    stratify: str | None,
    shares: Sequence[float],
    seed: int,
    draw: int,
) -> list[int]:
    """The part of each sample."""
    tied = [table.values(name, gaps=name == "sentence") for name in by]
    groups = connected(tied, table.ids)
    classes = [0] * len(groups) if stratify is None else class_names(table.values(stratify))
    if (count := len(set(groups))) < len(shares):
        raise InputError(
            f"{count} groups cannot fill {len(shares)} parts",
            expected=f"{len(shares)} groups or more that share no {' or '.join(by) or 'id'}",
            got=str(count),
            mend="ask for fewer parts, or keep together by something finer",
        )
    dealt = deal(groups, classes, shares, seed, draw)
    return [dealt[group] for group in groups]


def _members(table: Table, dealt: Sequence[int], names: Sequence[str]) -> dict[str, list[int]]:
    """By part, the rows of its samples."""
    members: dict[str, list[int]] = {name: [] for name in names}
    for row, part in enumerate(dealt):
        members[names[part]].append(row)
    return members


def _checked(
    table: Table,
    members: Mapping[str, Sequence[int]],
    by: tuple[str, ...],
    stratify: str | None,
    seed: int,
    draw: int,
    share: Sequence[str],
) -> Split:
    leaks = [
        leak
        for name in REPORTED
        if name in table.columns and (leak := leak_of(name, table.columns[name], members))
    ]
    for leak in leaks:
        if leak.column in GUARDED and leak.column not in share:
            kept = [*by, leak.column]
            raise InputError(
                f"the parts share {leak.column}s",
                expected=f"every {leak.column} in one part only",
                got=str(leak),
                mend=f"split with by={kept}, or allow it by name: share={leak.column!r}",
            )
    return Split(
        parts={
            name: tuple(sorted(table.ids[row] for row in rows)) for name, rows in members.items()
        },
        by=by,
        stratify=stratify,
        seed=seed,
        draw=draw,
        leaks=tuple(leaks),
        unchecked=tuple(
            name for name in GUARDED if name != "sentence" and name not in table.columns
        ),
    )


def _shares(parts: Mapping[str, float]) -> dict[str, float]:
    total = sum(parts.values())
    if len(parts) < 2 or not total < float("inf") or not all(size > 0 for size in parts.values()):
        raise InputError(
            "parts of impossible sizes",
            expected="two parts or more with sizes above 0",
            got=str(dict(parts)),
            mend='write {"train": 8, "dev": 1, "test": 1}',
        )
    return {name: size / total for name, size in parts.items()}


def _names(share: str | Sequence[str]) -> tuple[str, ...]:
    names = (share,) if isinstance(share, str) else tuple(share)
    if unknown := [name for name in names if name not in GUARDED]:
        raise InputError(
            f"nothing guards {unknown[0]!r}",
            expected=f"some of {GUARDED}",
            got=str(names),
            mend="name only what may be shared and would be refused",
        )
    return names
