"""How far the distribution of a feature moved from a reference's.

What belongs here: pure functions from columns to numbers. What does not: from where on a number is told
(``checks.features``), which version the reference is (``assets.reference``).

The number is the population stability index (Siddiqi 2006): the sum over bins of (q - p) ln(q / p), where p and q are
the shares of the reference's and of the batch's rows. Bins of numbers are ``BINS`` quantiles of the reference, or its
values where they are so few, and one for any other; a category is a bin of its own, but for those below a hundredth of
the reference's rows and those that it does not have, which are one; missing values are a bin. Half a row is added to
every bin, so that an empty one has a logarithm.

What chance alone does is found from the reference itself: the largest index between two halves of it over ``LOTS``
fixed lots. It falls with the number of rows as (1/n + 1/m) does (Yurdakul & Naranjo 2020), and is scaled by that from
the halves' rows to those that are compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import FeatureKind
from mlops_assets.stages.coded import Coded, coded, halves
from mlops_assets.stages.rows import Ints

BINS = 10
LOTS = 5
RARE = 0.01
"""Share of the reference's rows below which a category is counted with other such ones."""
_FIRST_LOT = 2
_HALF_A_ROW = 0.5


@dataclass(frozen=True, slots=True)
class Moved:
    """How a feature moved. ``index`` is the population stability index, ``chance`` what chance alone does to it.

    ``missing`` are the missing shares of the reference and of the batch. ``new`` are the categories that the reference
    does not have, each with its rows, ``gone`` counts those that only the reference has; of numbers nothing is new.
    ``usually_new`` is the share of rows with a new category that is to be expected of more rows like the reference's:
    its share of categories that it has once (Good 1953).
    """

    index: float
    chance: float
    missing: tuple[float, float]
    new: Mapping[str, int] = field(default_factory=dict)
    gone: int = 0
    usually_new: float = 0.0


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows that others are compared with: the features of published versions.

    ``name`` is what people call it, ``versions`` names the versions by batch. Without a ``table`` there is nothing to
    compare with: ``why`` says it in a sentence, and ``wrong`` whether that is a mistake.
    """

    name: str
    table: pa.Table | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """A feature of the reference: its column as codes, how values are put into bins, and what halves of it differ by.

    ``bins`` has the bin of each of its codes, ``place`` finds that of any value; there are ``count`` bins.
    """

    column: Coded
    kind: FeatureKind
    bins: Ints
    place: Callable[[pa.Array], Ints]
    count: int
    halves: float


def profile(column: pa.ChunkedArray, kind: FeatureKind) -> Profile:
    """What is to be known of a feature of the reference to measure others from it."""
    found = coded(column)
    place, count = (_quantiles if kind == "numeric" else _categories)(found)
    # missing values are the last bin
    bins = np.append(place(found.values), count)
    own = Profile(found, kind, bins, place, count + 1, 0.0)
    return Profile(found, kind, bins, place, count + 1, _between_halves(own))


def moved(reference: Profile, batch: Coded) -> Moved:
    """How a feature of a batch differs from the reference's; both have rows."""
    one = reference.column
    places = np.append(reference.place(batch.values), reference.count - 1)
    rows = _counted(places, batch.counts, reference.count)
    index = stability(_counted(reference.bins, one.counts, reference.count), rows)
    scale = (1 / one.rows + 1 / batch.rows) / (4 / one.rows)
    missing = int(one.counts[-1]) / one.rows, int(batch.counts[-1]) / batch.rows
    found = Moved(index, reference.halves * scale, missing)
    if reference.kind == "numeric":
        return found
    known = pc.is_in(batch.values, value_set=one.values).to_numpy(zero_copy_only=False)
    counts = batch.counts
    new = {str(batch.values[int(place)].as_py()): int(counts[place]) for place in np.flatnonzero(~known)}
    return replace(
        found,
        new=dict(sorted(new.items(), key=lambda item: (-item[1], item[0]))),
        gone=len(one.values) - int(known.sum()),
        usually_new=int((one.counts[:-1] == 1).sum()) / one.rows,
    )


def stability(reference: Ints, batch: Ints) -> float:
    """The population stability index of rows by bin, each shape (bins,)."""
    p, q = ((rows + _HALF_A_ROW) / (rows.sum() + _HALF_A_ROW * len(rows)) for rows in (reference, batch))
    return float(((q - p) * np.log(q / p)).sum())


def _counted(bins: Ints, rows: Ints, count: int) -> Ints:
    """The rows of each bin, where codes have ``bins`` and ``rows``."""
    return np.bincount(bins, rows, count).astype(np.int64)


def _between_halves(reference: Profile) -> float:
    # Rows are counted once, by bin and by the halves that they are in; each lot then is a sum over the others.
    rows, size = reference.bins[reference.column.of], 2**LOTS
    counted = np.bincount(rows * size + _lots(len(rows)), minlength=reference.count * size)
    parts = counted.reshape(reference.count, *(2,) * LOTS)
    found = 0.0
    for lot in range(LOTS):
        one, other = np.moveaxis(parts, lot + 1, 0).reshape(2, reference.count, -1).sum(axis=2)
        found = max(found, stability(one, other))
    return found


@lru_cache(maxsize=4)
def _lots(rows: int) -> Ints:
    """The halves that each row is in, one bit for each lot, the first being the highest."""
    found = np.zeros(rows, dtype=np.int64)
    for lot in range(_FIRST_LOT, _FIRST_LOT + LOTS):
        found = found * 2 + halves(rows, lot)
    return found


def _quantiles(column: Coded) -> tuple[Callable[[pa.Array], Ints], int]:
    """Bins from one quantile to the next, their upper end included and the last without one; few values are their own.

    Of few values, another one falls into the last bin.
    """
    values, counts = column.values.to_numpy(), column.counts[:-1]
    if len(values) <= BINS:
        return lambda found: _places(found, column.values), len(values) + 1
    wanted = np.linspace(0, counts.sum(), BINS + 1)[1:-1]
    edges = np.unique(values[np.searchsorted(np.cumsum(counts), wanted)])
    return lambda found: np.searchsorted(edges, found.to_numpy()).astype(np.int64), len(edges) + 1


def _categories(column: Coded) -> tuple[Callable[[pa.Array], Ints], int]:
    """A bin for each category that is not rare, and the last one for all others."""
    often = np.flatnonzero(column.counts[:-1] >= RARE * column.rows)
    known = column.values.take(pa.array(often))
    return lambda found: _places(found, known), len(known) + 1


def _places(values: pa.Array, known: pa.Array) -> Ints:
    """The place of each value among the known ones, the place after the last for any other."""
    places: Ints = pc.index_in(values, value_set=known).fill_null(len(known)).to_numpy().astype(np.int64)
    return places
