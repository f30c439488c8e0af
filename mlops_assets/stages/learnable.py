"""What keeps rows from being learnt from, and what a person should know of rows that are.

What belongs here: refusals before a model is fitted, each with a sentence, and features that look like a mistake. What
does not: fitting (``train``), judging what was fitted (``checks``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Candidate, Contract, Feature
from mlops_assets.errors import RefusedError
from mlops_assets.stages.metrics import Floats

LARGEST = 1e30
"""Forests add up floats of 32 bits, which hold 3e38; linear models square what they get."""
COPIES = 24
"""How often L-BFGS, as scikit-learn calls it, keeps the coefficients: ten steps and gradients, and work space."""
MOST_BYTES = 8 << 30
"""What fitting one linear model may need."""
SHARED = 0.9
"""Above so many categories a row, a category says who a row is rather than what it is like."""
ENOUGH = 50
"""Rows of which fewer say nothing about that."""


def refuse_nothing(contract: Contract, rows: int, known: int, answers: int) -> None:
    """Refuse ``rows`` of which ``known`` have an answer, ``answers`` of them different.

    Raises:
        RefusedError: there is none, or all are the same. Which one is not told: it is a value of the rows.
    """
    if not known:
        raise RefusedError(
            f"None of the {rows:,} training rows of {contract.name} has an answer for '{contract.target.name}' "
            f"({contract.target.expression}): nothing can be fitted. Look at that target's columns in 'cleaned'."
        )
    if answers == 1:
        raise RefusedError(
            f"All {known:,} training rows of {contract.name} that have an answer have the same one for "
            f"'{contract.target.name}': there is nothing to tell apart. Take more batches, or mend the target in "
            f"{contract.file}."
        )


def refuse_endless(columns: Sequence[tuple[str, Floats]]) -> None:
    """Refuse numbers (name and values, shape (n,), missing ones nan) that no model can compute with.

    Raises:
        RefusedError: some are endless, or larger than models can hold.
    """
    told = []
    for name, values in columns:
        rows = int((np.abs(values) > LARGEST).sum())
        if rows:
            told.append(
                f"The {name} holds numbers beyond {LARGEST:g} in {rows:,} of {len(values):,} training rows, and no "
                f"model can compute with them. Set 'minimum' and 'maximum' for the column, or mend the function that "
                f"makes it."
            )
    if told:
        raise RefusedError(*told)


def refuse_enormous(contract: Contract, model: Candidate, bundle: Mapping[str, Any]) -> None:
    """Refuse a linear model that is too large to fit: it has a coefficient for each category and class.

    Raises:
        RefusedError: with an estimate of the memory, and the feature with the most categories.
    """
    if model.kind != "linear":
        return
    sizes = {name: len(known) for name, known in bundle["categories"].items()}
    width = len(bundle["features"]) - len(sizes) + sum(sizes.values())
    outputs = len(bundle["classes"]) if bundle["task"] == "multiclass" else 1
    needed = COPIES * np.dtype(np.float64).itemsize * width * outputs
    if needed <= MOST_BYTES:
        return
    widest = max(sizes, key=lambda name: sizes[name], default="")
    most = f"feature '{widest}' has {sizes[widest]:,} categories" if widest else f"there are {width:,} features"
    classes = f", target '{bundle['target']['name']}' {outputs:,} classes" if outputs > 1 else ""
    raise RefusedError(
        f"{contract.file}:{model.line}: model '{model.name}' would have {width * outputs:,} coefficients and need "
        f"about {needed / 2**30:,.0f} GiB: {most}{classes}. Leave the feature out, put rare categories together in "
        f"features.py, or leave the model out."
    )


def odd_features(columns: Mapping[Feature, pa.ChunkedArray]) -> dict[str, list[str]]:
    """The names of features that are ``empty``, ``constant``, or categories nearly ``unique`` to a row."""
    found: dict[str, list[str]] = {"empty": [], "constant": [], "unique": []}
    for feature, column in columns.items():
        known = column.filter(pc.invert(column.is_null(nan_is_null=pa.types.is_floating(column.type))))
        distinct = len(pc.unique(known))
        if not distinct:
            found["empty"].append(feature.name)
        elif distinct == 1:
            found["constant"].append(feature.name)
        elif feature.kind == "categorical" and len(column) >= ENOUGH and distinct > SHARED * len(column):
            found["unique"].append(feature.name)
    return found


def unusual(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences about the rows and features of a fit that a person should know of, from a bundle's ``training``."""
    left, rows = training["no_answer"], training["rows"] + training["no_answer"]
    told = [
        *([f"{left:,} of {rows:,} training rows have no answer and were left out."] if left else []),
        *(f"Feature “{name}” has no value in any training row: every model ignores it." for name in training["empty"]),
        # Bundles of earlier releases do not say it.
        *(
            f"Feature “{name}” has one value only in the training rows: nothing can be learnt from it."
            for name in training.get("constant", ())
        ),
        *(
            f"Feature “{name}” has a category of its own in nearly every training row: it says who a row is, and "
            f"nothing of rows to come."
            for name in training.get("unique", ())
        ),
    ]
    alone = sum(count == 1 for count in training.get("counts", ()))
    if alone:
        classes = len(training["counts"])
        told.append(f"Of {classes:,} classes {alone:,} {'has' if alone == 1 else 'have'} a single training row each.")
    return tuple(told)
