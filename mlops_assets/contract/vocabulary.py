"""The words a contract may use where the choice is ours: metrics by task, models and their settings.

What belongs here: names and the kind of value each takes. What does not: what a metric or a setting does (``stages``).
"""

from typing import Final

from mlops_assets.contract.model import ColumnType, FeatureKind, Role, Task

COLUMN_TYPES: Final[tuple[ColumnType, ...]] = ("string", "int64", "float64", "boolean", "date", "timestamp")
FEATURE_TYPES: Final[dict[FeatureKind, tuple[ColumnType, ...]]] = {
    "numeric": ("int64", "float64", "boolean"),
    "categorical": ("string", "int64", "boolean"),
}
TASKS: Final[tuple[Task, ...]] = ("binary", "multiclass", "regression")

# Roles that a column is given by hand; the others follow from key, event_time, split and target.
WRITTEN_ROLES: Final[tuple[Role, ...]] = ("feature", "excluded", "sensitive")

METRICS: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1"),
    "multiclass": ("log_loss", "accuracy", "balanced_accuracy"),
    "regression": ("rmse", "mae", "r2"),
}

_INT, _NUMBER, _TEXT, _FLAG = (int,), (int, float), (str,), (bool,)
_NOTHING = (type(None),)

# Settings are scikit-learn's parameters. Those that would change what a result means, or whether it can be repeated,
# are ours and refused with a reason.
SETTINGS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "prior": {},
    "linear": {
        "C": _NUMBER,
        "alpha": _NUMBER,
        "l1_ratio": (*_NUMBER, *_NOTHING),
        "max_iter": _INT,
        "tol": _NUMBER,
        "class_weight": (*_TEXT, *_NOTHING),
    },
    "boosted_trees": {
        "learning_rate": _NUMBER,
        "max_iter": _INT,
        "max_leaf_nodes": (*_INT, *_NOTHING),
        "max_depth": (*_INT, *_NOTHING),
        "min_samples_leaf": _INT,
        "l2_regularization": _NUMBER,
        "max_features": _NUMBER,
        "max_bins": _INT,
        "class_weight": (*_TEXT, *_NOTHING),
    },
    "random_forest": {
        "n_estimators": _INT,
        "criterion": _TEXT,
        "max_depth": (*_INT, *_NOTHING),
        "min_samples_split": _NUMBER,
        "min_samples_leaf": _NUMBER,
        "max_features": (*_NUMBER, *_TEXT, *_NOTHING),
        "max_leaf_nodes": (*_INT, *_NOTHING),
        "max_samples": (*_NUMBER, *_NOTHING),
        "class_weight": (*_TEXT, *_NOTHING),
        "bootstrap": _FLAG,
    },
}
_SEED = "the seed is the release's own and stands in its manifest"
_THREADS = "it belongs to the machine and never changes a result"
REFUSED_SETTINGS: Final[dict[str, str]] = {
    "early_stopping": "it is always off: it would hold back rows at random instead of by the split",
    "validation_fraction": "validation rows are chosen by the split",
    "random_state": _SEED,
    "seed": _SEED,
    "n_jobs": _THREADS,
    "n_threads": _THREADS,
    "verbose": "it changes nothing in a model",
    "warm_start": "a model is fitted once, from nothing",
}


def setting_type(kinds: tuple[type, ...]) -> str:
    """How a sentence calls what a setting takes."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    shown = [words[kind] for kind in kinds if not (kind is int and float in kinds)]
    return " or ".join(shown)
