"""What each index is: how much of a dividend m(S) it gives to a set T inside S.

Every index is ``I(T) = sum_{S above T} c(|T|, |S|) m(S)`` over the Harsanyi dividends; here are
the c, as exact fractions, and the weights of derivatives that they amount to.

- ``SII`` Shapley interaction index (Grabisch & Roubens 1999); Shapley values for one player.
- ``k-SII`` its efficient aggregation up to an order (Bord & von Luxburg 2023; order 2 is also
  known as Shapley interaction values, Lundberg et al. 2020).
- ``STII`` Shapley-Taylor index (Sundararajan, Dhamdhere & Agarwal 2020).
- ``FSII`` faithful Shapley index (Tsai, Yeh & Ravikumar 2023, theorem 19): the best polynomial of
  an order under the Shapley kernel, exact at the empty and the full coalition.
- ``BII`` Banzhaf interaction index, players joining with probability p (Marichal & Mathonet 2011).
- ``FBII`` faithful Banzhaf index: the best polynomial of an order under that product measure.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import comb

Coefficient = Callable[[int, int, int, Fraction], Fraction]
"""c(|T|, |S|), given the order of the index and p."""


def _sii(inner: int, outer: int, order: int, p: Fraction) -> Fraction:
    return Fraction(1, outer - inner + 1)


def _k_sii(inner: int, outer: int, order: int, p: Fraction) -> Fraction:
    # An SII of a set of r more players, passed down with a Bernoulli number.
    more = outer - inner
    parts = range(min(order - inner, more) + 1)
    return sum((_bernoulli(r) * comb(more, r) / (more - r + 1) for r in parts), Fraction(0))


def _stii(inner: int, outer: int, order: int, p: Fraction) -> Fraction:
    return Fraction(1, comb(outer, order)) if inner == order else Fraction(inner == outer)


def _fsii(inner: int, outer: int, order: int, p: Fraction) -> Fraction:
    if outer <= order:
        return Fraction(inner == outer)
    share = Fraction(inner * comb(order, inner), order + inner)
    share *= Fraction(comb(outer - 1, order), comb(outer + order - 1, order + inner))
    return share if (order - inner) % 2 == 0 else -share


def _bii(inner: int, outer: int, order: int, p: Fraction) -> Fraction:
    return Fraction(p ** (outer - inner))


def _fbii(inner: int, outer: int, order: int, p: Fraction) -> Fraction:
    # The Taylor polynomial at (p, ..., p) of the multilinear extension, multiplied out.
    more = outer - inner
    signs = sum((-1) ** r * comb(more, r) for r in range(min(order - inner, more) + 1))
    return Fraction(signs * p**more)


_COEFFICIENTS: dict[str, Coefficient] = {
    "SII": _sii,
    "k-SII": _k_sii,
    "STII": _stii,
    "FSII": _fsii,
    "BII": _bii,
    "FBII": _fbii,
}
INDICES = tuple(_COEFFICIENTS)
"""Names of the indices."""


@lru_cache(maxsize=1024)
def weights(index: str, order: int, p: float, size: int, count: int) -> tuple[float, ...]:
    """Weights of ``delta_T v(S)`` by |S| = 0..count-size, for sets T of ``size`` players.

    A derivative at S sums the dividends of T and what lies between T and S + T, so the weights
    are the coefficients' differences: ``w(s) = sum_j (-1)**j C(o-s, j) c(size, size+s+j)`` with
    o the number of other players.
    """
    coefficient, chance = _COEFFICIENTS[index], Fraction(p)
    others = count - size
    given = [coefficient(size, size + s, order, chance) for s in range(others + 1)]
    return tuple(
        float(sum((-1) ** j * comb(others - s, j) * given[s + j] for j in range(others - s + 1)))
        for s in range(others + 1)
    )


@lru_cache(maxsize=64)
def _bernoulli(index: int) -> Fraction:
    """Bernoulli numbers, 1, -1/2, 1/6, 0, -1/30, ..."""
    if index == 0:
        return Fraction(1)
    known = sum((comb(index + 1, k) * _bernoulli(k) for k in range(index)), Fraction(0))
    return -known / (index + 1)
