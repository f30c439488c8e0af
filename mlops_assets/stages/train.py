"""Fitting models to a table of features, and scoring rows with them.

What belongs here: the way from a feature table to a matrix, from a contract's model to an estimator, and the *bundle*
that holds everything a score needs. What does not: choosing settings, metrics, checks, storage.

A bundle is a plain dict of JSON values and scikit-learn estimators, so that it can be stored without code of ours:

- ``task``, ``target`` (``{"name", "expression", "positive"}``), ``seed``;
- ``features``: names of the matrix's columns; ``categories``: ``{feature: [category, ...]}`` of the training rows. A
  category's code is its place in that list, -1 when it is missing or was never seen. Numbers stay numbers, missing nan;
- ``classes``: the answers in the order of the models' classes (binary: the negative, then the positive one); ``[]`` for
  regression;
- ``models``: ``{name: fitted estimator}``, each a function of the one matrix; ``kinds`` and ``settings`` by name;
- ``candidate``: the name of the model the release is about;
- ``thresholds``: by name, the score from which a row is called positive, ``threshold`` the candidate's (binary only);
- ``training``: what the fit saw: ``rows`` with an answer, ``no_answer`` rows left out, ``counts`` of each class and
  ``base_rate``, or ``mean`` and ``deviation``; ``empty``: features without any value, ``constant``: with a single one,
  ``unique``: categories of which hardly two rows share one; ``scores``: by model,
  ``sampled``, ``unfinite``, ``distinct``, ``mean``; ``unconverged``: by model, what the solver said.

Nothing in it depends on the number of threads, the process or the clock.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Candidate, Contract, Target
from mlops_assets.errors import ContractError, RefusedError
from mlops_assets.stages.learnable import odd_features, refuse_endless, refuse_enormous, refuse_nothing
from mlops_assets.stages.metrics import Floats, Ints, Truths, threshold_for

Bundle: TypeAlias = dict[str, Any]

SEED = 0
TWO = 2
"""Classes without which nothing can be told apart, and all that a binary task has."""
SAMPLE = 30_000
"""Training rows, evenly spaced, whose scores set the threshold: scoring all of them would cost a third of the fit."""
WIDEST = 600
"""Coefficients up to which the linear model's Hessian is cheaper than many first-order steps."""


def fit(
    contract: Contract,
    rows: pa.Table,
    models: Sequence[Candidate],
    threads: int = 1,
    candidate: str | None = None,
) -> Bundle:
    """Fit every one of ``models`` to ``rows``: feature columns and ``target``; rows without an answer are left out.

    ``candidate`` is the model that the release is about; without it, the first one among ``models`` that the contract
    does not call a baseline. The order of the rows is an input.

    Raises:
        RefusedError: no row has an answer, all have the same one, a feature's column is absent or holds numbers that
            cannot be computed with, or a model would need more memory than there is for one.
        ContractError: a setting that the estimator does not have, or does not accept.
    """
    truth, known, classes = _learn(contract, rows)
    fitted = rows if known.all() else rows.filter(pa.array(known))
    truth = truth[known]
    bundle: Bundle = {
        "task": contract.target.task,
        "target": _described(contract.target),
        "seed": SEED,
        "features": [feature.name for feature in contract.features],
        "categories": _categories(contract, fitted),
        "classes": classes,
        "models": {},
        "kinds": {model.name: model.kind for model in models},
        "settings": {model.name: dict(model.settings) for model in models},
        "candidate": candidate or _subject(contract, models),
        "thresholds": {},
        "threshold": None,
        "training": {
            **_seen(contract, truth, classes),
            "no_answer": int((~known).sum()),
            "scores": {},
            **odd_features({feature: _column(fitted, feature.name) for feature in contract.features}),
        },
    }
    inputs = matrix(bundle, fitted)
    refuse_endless([(f"feature '{name}'", inputs[:, place]) for place, name in enumerate(bundle["features"])])
    for model in models:
        refuse_enormous(contract, model, bundle)
    sample = inputs[evenly(inputs.shape[0], SAMPLE)]
    unconverged: dict[str, str] = {}
    with steady(threads):
        for model in models:
            estimator = _estimator(contract, bundle, model, threads)
            said = _fitted(contract, model, estimator, inputs, truth)
            if said:
                unconverged[model.name] = said
            bundle["models"][model.name] = estimator
    bundle["training"]["unconverged"] = unconverged
    for model in models:
        scores = predict(bundle, model.name, sample)
        bundle["training"]["scores"][model.name] = {
            "sampled": int(sample.shape[0]),
            "unfinite": int((~np.isfinite(scores)).reshape(sample.shape[0], -1).any(axis=1).sum()),
            "distinct": int(np.unique(scores, axis=0).shape[0]),
            "mean": float(scores[np.isfinite(scores)].mean()) if np.isfinite(scores).any() else None,
        }
        if contract.target.task == "binary":
            wanted = contract.evaluation.threshold
            share = bundle["training"]["base_rate"]
            bundle["thresholds"][model.name] = threshold_for(scores, share) if wanted == "prevalence" else float(wanted)
    bundle["threshold"] = bundle["thresholds"].get(bundle["candidate"])
    return bundle


def score(bundle: Bundle, name: str, rows: pa.Table) -> Floats:
    """What the model ``name`` says of each row; see ``predict`` for shapes.

    Raises:
        RefusedError: a feature's column is absent.
    """
    return predict(bundle, name, matrix(bundle, rows))


def predict(bundle: Bundle, name: str, inputs: Floats) -> Floats:
    """What the model ``name`` says of ``inputs`` (shape (n, features), see ``matrix``).

    Binary: the probability of the positive class, shape (n,). Multiclass: the probability of each of ``classes``, shape
    (n, classes). Regression: the predicted number, shape (n,).
    """
    with steady():
        return said_of(bundle, name, inputs)


def said_of(bundle: Bundle, name: str, inputs: Floats) -> Floats:
    """``predict`` for a caller who is inside ``steady`` already: entering it costs milliseconds."""
    model = bundle["models"][name]
    if not inputs.shape[0]:
        return np.empty((0, len(bundle["classes"])) if bundle["task"] == "multiclass" else 0)
    if bundle["task"] == "regression":
        return np.asarray(model.predict(inputs), dtype=np.float64)
    said = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    return said[:, 1] if bundle["task"] == "binary" else said


def matrix(bundle: Bundle, rows: pa.Table) -> Floats:
    """The rows as the models read them: shape (n, features), missing numbers nan, categories as codes.

    Raises:
        RefusedError: a feature's column is absent, or a numeric one does not hold numbers.
    """
    inputs = np.empty((rows.num_rows, len(bundle["features"])))
    for place, name in enumerate(bundle["features"]):
        column = _column(rows, name)
        if name in bundle["training"]["empty"]:
            # nothing could be learnt from it, and the trees cannot bin a column without a value
            inputs[:, place] = 0
            continue
        if name in bundle["categories"]:
            known = pa.array(bundle["categories"][name], pa.string())
            inputs[:, place] = pc.fill_null(pc.index_in(_texts(column), known), -1).to_numpy()
            continue
        try:
            inputs[:, place] = column.cast(pa.float64()).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            message = f"The numeric feature '{name}' holds {column.type}, not numbers; make the features again."
            raise RefusedError(message) from None
    return inputs


def answers(bundle: Bundle, rows: pa.Table) -> tuple[Any, Truths, int]:
    """The rows' true answers as the models count them, which rows have one, and how many are unheard of.

    Binary: truth whether the answer is the positive class, shape (n,). Multiclass: the place in ``classes``; an answer
    that no training row had gets a place after them. Regression: the number. Where a row has no answer the first array
    holds a filler.
    """
    column = _column(rows, "target")
    if bundle["task"] == "regression":
        numbers = column.cast(pa.float64()).to_numpy()
        return numbers, np.isfinite(numbers), 0
    codes, values = _coded(column)
    known = codes >= 0
    places = {value: place for place, value in enumerate(bundle["classes"])}
    if bundle["task"] == "binary":
        is_positive = np.array([value == bundle["classes"][1] for value in values] + [False])
        is_new = np.array([value not in places for value in values] + [False])
        return is_positive[codes], known, int(is_new[codes].sum())
    extra = [value for value in values if value not in places]
    places |= {value: len(places) + more for more, value in enumerate(extra)}
    placed = np.array([places[value] for value in values] + [0], dtype=np.int64)
    truth = placed[codes]
    return truth, known, int((truth[known] >= len(bundle["classes"])).sum())


def evenly(rows: int, most: int) -> Ints:
    """Indices of at most ``most`` rows, evenly spaced: a sample of the whole that needs no luck."""
    return np.arange(rows) if rows <= most else np.linspace(0, rows - 1, most).astype(np.int64)


@contextmanager
def steady(threads: int | None = None) -> Iterator[None]:
    """Let the trees use ``threads`` threads and keep BLAS to one, whose sums would differ in the last digit."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits = {"blas": 1} if threads is None else {"blas": 1, "openmp": threads}
    with threadpool_limits(limits=limits):
        yield


def _learn(contract: Contract, rows: pa.Table) -> tuple[Any, Truths, list[Any]]:
    """The training answers, which rows have one, and the classes; refused when nothing can be learnt from them."""
    target, column = contract.target, _column(rows, "target")
    if target.task == "regression":
        numbers = column.cast(pa.float64()).to_numpy()
        known = np.isfinite(numbers)
        refuse_nothing(contract, rows.num_rows, int(known.sum()), len(np.unique(numbers[known])))
        refuse_endless([(f"target '{target.name}'", numbers[known])])
        return numbers, known, []
    codes, values = _coded(column)
    known = codes >= 0
    refuse_nothing(contract, rows.num_rows, int(known.sum()), len(values))
    if target.task == "multiclass":
        return codes, known, values
    if len(values) > TWO or target.positive not in values:
        # only how many: the values of a target are the rows' own
        said = (
            f"has {len(values)} different answers"
            if len(values) > TWO
            else f"never has the positive answer {target.positive!r}"
        )
        message = (
            f"{contract.file}:{target.line}: target '{target.name}' {said}; a binary task needs two, one of them the "
            "positive one. Write the expression as a comparison, set 'positive', or say 'task: multiclass'."
        )
        raise ContractError(message)
    positive = values.index(target.positive)
    return codes == positive, known, [values[1 - positive], values[positive]]


def _coded(column: pa.ChunkedArray) -> tuple[Ints, list[Any]]:
    """Codes into the sorted distinct values, -1 for null."""
    column = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    values = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
    known = pa.array(values, column.type)
    # index_in does not know booleans
    if pa.types.is_boolean(column.type):
        column, known = column.cast(pa.int8()), known.cast(pa.int8())
    codes: Ints = pc.fill_null(pc.index_in(column, known), -1).to_numpy().astype(np.int64)
    return codes, values


def _described(target: Target) -> dict[str, Any]:
    positive = target.positive if target.task == "binary" else None
    return {"name": target.name, "expression": target.expression, "positive": positive}


def _seen(contract: Contract, truth: Any, classes: list[Any]) -> dict[str, Any]:
    """What the answers of the training rows look like."""
    if contract.target.task == "regression":
        return {"rows": int(truth.size), "mean": float(truth.mean()), "deviation": float(truth.std())}
    counts = np.bincount(truth.astype(np.int64), minlength=len(classes)).tolist()
    seen: dict[str, Any] = {"rows": int(truth.size), "counts": counts}
    return seen | {"base_rate": counts[1] / truth.size} if contract.target.task == "binary" else seen


def _subject(contract: Contract, models: Sequence[Candidate]) -> str:
    baselines = {model.name for model in contract.baselines}
    return next((model.name for model in models if model.name not in baselines), models[-1].name)


def _categories(contract: Contract, rows: pa.Table) -> dict[str, list[str]]:
    """The categories of each categorical feature in the training rows, sorted: their places are their codes."""
    return {
        feature.name: sorted(
            value for value in pc.unique(_texts(_column(rows, feature.name))).to_pylist() if value is not None
        )
        for feature in contract.features
        if feature.kind == "categorical"
    }


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in rows.column_names:
        message = f"The feature table has no column '{name}'; it was made by another contract. Make the features again."
        raise RefusedError(message)
    return rows.column(name)


def _estimator(contract: Contract, bundle: Bundle, model: Candidate, threads: int) -> Any:
    """The unfitted estimator of a model; our defaults first, then the contract's settings."""
    from sklearn import dummy, ensemble

    regression = contract.target.task == "regression"
    estimator: Any
    defaults: dict[str, Any]
    if model.kind == "prior":
        estimator = dummy.DummyRegressor() if regression else dummy.DummyClassifier()
        defaults = {} if regression else {"strategy": "prior"}
    elif model.kind == "boosted_trees":
        estimator = (
            ensemble.HistGradientBoostingRegressor() if regression else ensemble.HistGradientBoostingClassifier()
        )
        defaults = {"random_state": SEED, "early_stopping": False}
    elif model.kind == "random_forest":
        estimator = ensemble.RandomForestRegressor() if regression else ensemble.RandomForestClassifier()
        defaults = {"random_state": SEED, "n_jobs": threads}
    else:
        estimator, defaults = _linear(contract, bundle)
    known = estimator.get_params(deep=False)
    for setting in model.settings:
        if setting not in known:
            close = get_close_matches(setting, known, 1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; it has {', '.join(sorted(known))}."
            raise ContractError(
                f"{contract.file}:{model.line}: model '{model.name}': {model.kind} has no setting '{setting}'{hint}"
            )
    estimator.set_params(**{**defaults, **model.settings})
    return _prepared(bundle, estimator) if model.kind == "linear" else estimator


def _linear(contract: Contract, bundle: Bundle) -> tuple[Any, dict[str, Any]]:
    from sklearn import linear_model

    if contract.target.task == "regression":
        # the default on sparse columns, named so that it stays
        return linear_model.Ridge(), {"solver": "sparse_cg", "tol": 1e-4}
    width = len(bundle["features"]) + sum(len(known) for known in bundle["categories"].values())
    outputs = len(bundle["classes"]) if contract.target.task == "multiclass" else 1
    solver = "newton-cholesky" if width * outputs <= WIDEST else "lbfgs"
    return linear_model.LogisticRegression(), {"solver": solver, "max_iter": 1000}


def _prepared(bundle: Bundle, estimator: Any) -> Any:
    """``estimator`` behind what a linear model needs: mean-imputed and scaled numbers, one column a category.

    The one-hot part stays sparse: it is mostly zeros, and its Hessian then costs a third.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = bundle["categories"]
    numeric = [place for place, name in enumerate(bundle["features"]) if name not in categories]
    # a category column without a single category in training tells a linear model nothing
    coded = [place for place, name in enumerate(bundle["features"]) if categories.get(name)]
    parts: list[tuple[str, Any, list[int]]] = []
    if numeric:
        filled = SimpleImputer(strategy="mean")
        parts.append(("numbers", Pipeline([("imputed", filled), ("scaled", StandardScaler())]), numeric))
    if coded:
        codes = [np.arange(len(categories[bundle["features"][place]]), dtype=np.float64) for place in coded]
        # -1, missing or unseen, is no column at all: the model then leans on everything else
        hot = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=True)
        parts.append(("categories", hot, coded))
    columns = ColumnTransformer(parts, sparse_threshold=1.0 if coded else 0.0)
    return Pipeline([("columns", columns), ("model", estimator)])


def _fitted(contract: Contract, model: Candidate, estimator: Any, inputs: Floats, truth: Any) -> str | None:
    """Fit in place; what the solver said when it did not converge."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        try:
            estimator.fit(inputs, truth if contract.target.task == "regression" else truth.astype(np.int64))
        except ValueError as error:
            # scikit-learn raises a private subclass for a setting's value; everything else is a bug of ours
            if type(error).__name__ != "InvalidParameterError":
                raise
            said = " ".join(str(error).split())
            raise ContractError(f"{contract.file}:{model.line}: model '{model.name}': {said}") from None
    if model.kind == "random_forest":
        # with several jobs the trees' votes are added in any order, which changes the last digit
        estimator.set_params(n_jobs=None)
    told = [str(warning.message).splitlines()[0] for warning in caught if warning.category is ConvergenceWarning]
    for warning in caught:
        if warning.category is not ConvergenceWarning:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return told[0] if told else None
