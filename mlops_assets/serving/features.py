"""The features of a request, from the contract and the file of the past alone.

What belongs here: asking the file for the past of each row. What does not: what a request must say and what features
are made of (``stages.request``), the file (``past``).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract
from mlops_assets.errors import UserError
from mlops_assets.serving.past import Ask, Kept, Past, layout_of
from mlops_assets.serving.values import plain, to_table
from mlops_assets.stages.online import moments_of
from mlops_assets.stages.request import Reader, batches_of, features_of
from mlops_assets.stages.rows import one_chunk


class RequestFeatures:
    """Makes the features of requests for one dataset; any number of threads may ask.

    ``online`` is the file that holds the past; a dataset without windows needs none.

    Raises:
        UserError: the contract's windows need a past, and no file was named.
    """

    def __init__(self, contract: Contract, online: Path | None = None) -> None:
        self._contract = contract
        self._layout = layout_of(contract)
        self._reader = Reader(contract)
        self._calendar = Calendar(contract.partitions.cadence)
        if contract.windows.each and online is None:
            raise UserError(
                f"{contract.file}:{contract.windows.line}: the windows look back at the past, and no file of it was "
                f"named; make it with: mlops-assets online {contract.name}"
            )
        self._past = None if online is None or not contract.windows.each else Past(online, self._layout)

    def of(self, rows: Sequence[Mapping[str, Any]], *, batch: str | None = None) -> pa.Table:
        """The features of each row, in the contract's order and in that of the rows: float64 and string.

        Equal to the bit to those that the row would have in a batch that knew as much of the past. Each row is answered
        as if it were asked for alone. ``batch`` says whose rows a window sees where batches have names and no order.

        Raises:
            RequestError: the request does not say what it must.
            NoPastError: the file of the past is not there or not the contract's.
            UserError: a row's past is not kept any more, or ``batch`` is missing.
            ContractError: a function of the dataset does not do what it should.
        """
        if self._past and batch is None and self._contract.partitions.cadence == "named":
            raise UserError(
                f"The batches of {self._contract.name} have names, and a window sees rows of one batch only: say which."
            )
        request = self._reader.read(rows)
        return features_of(self._contract, request, partial(self._look_up, batch))

    def versions(self) -> dict[str, str]:
        """The data version of each batch of ``online`` that answers stand on; nothing without windows."""
        return {batch: held.version for batch, held in self._past.held().items()} if self._past else {}

    def _look_up(self, batch: str | None, rows: pa.Table) -> pa.Table:
        assert self._past is not None
        times = one_chunk(moments_of(self._contract, rows)).cast(pa.int64()).to_pylist()
        batches = [batch] * len(times) if batch is not None else batches_of(self._contract, rows)
        firsts = [None if each is None else self._first(each) for each in batches]
        values = {
            name: plain(one_chunk(rows[name])) for name in dict.fromkeys(n for r in self._layout.reaches for n in r.by)
        }
        asks = [
            Ask(reach, key, moment, first, last)
            for reach in self._layout.reaches
            for key, moment, first, last in zip(
                zip(*(values[name] for name in reach.by), strict=True), times, firsts, batches, strict=True
            )
            if moment is not None and None not in key
        ]
        found, kept = self._past.rows(list(dict.fromkeys(asks)))
        self._refuse_the_forgotten(kept, times, batches)
        return to_table(self._layout, found)

    def _first(self, batch: str) -> str:
        """The first batch that a row of this one sees."""
        return self._calendar.shift(batch, -self._contract.windows.look_back) or batch

    def _refuse_the_forgotten(self, kept: Kept, times: Sequence[int | None], batches: Sequence[str | None]) -> None:
        """Features from half a past would be wrong without a word."""
        for moment, batch in zip(times, batches, strict=True):
            early = kept.moment is not None and moment is not None and moment < kept.moment
            if early or (kept.first is not None and batch is not None and batch < kept.first):
                raise UserError(
                    f"A row{f' of {batch}' if batch else ''} is asked for whose past is not kept any more: the table "
                    f"holds what rows of {kept.first} and later look back at. Its features stand in the stage features."
                )
