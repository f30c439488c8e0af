"""The part of a contract that names what a model may see: ``features`` of ``dataset.yaml``, and ``features.py``.

What belongs here: which columns and functions are features, in which order, and what may not be one. What does not:
features from the past of an entity (``windows``), reading a Python file (``functions``), computing (``stages``).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.cleaned import Cleaned
from mlops_assets.contract.functions import Function, read_functions
from mlops_assets.contract.model import Feature, FeatureKind, Partitions, Source, Windows
from mlops_assets.contract.tables import UNKNOWN
from mlops_assets.contract.vocabulary import FEATURE_TYPES
from mlops_assets.contract.windows import Surroundings, read_windows

_FILE = "features.py"


def read_features(
    root: y.Section, table: Cleaned, partitions: Partitions, spine: Source | None
) -> tuple[tuple[Feature, ...], Windows]:
    """The section ``features`` in the order in which it is written, and the windows among them.

    Without that section the columns with ``role: feature`` are taken. Every mistake is told to ``root.mistakes``.
    """
    file, mistakes = root.file.with_name(_FILE), root.mistakes
    functions = read_functions(file, mistakes) if file.is_file() else {}
    features: dict[str, Feature] = {}
    section = root.section("features", "features")
    if section is None:
        for name, column in table.columns.items():
            if "feature" in column.roles:
                kind: FeatureKind = "numeric" if column.type in FEATURE_TYPES["numeric"] else "categorical"
                features[name] = _feature(
                    name, kind, column.line, section=root, table=table, functions=functions, file=file
                )
        if not features and table.columns and "features" not in root:
            root.wrong("there is no feature; list them: features: {numeric: [..], categorical: [..]}.")
        return tuple(features.values()), Windows()
    around = Surroundings(table.columns, table.late, table.unknown, list(functions), partitions.cadence, spine)
    windows, windowed = read_windows(section, around)
    taken = dict.fromkeys((window.name for window in windowed), "is a window and listed nowhere else; leave it out.")
    for word in section.names():
        if word == "windows":
            features |= {feature.name: feature for feature in windowed}
        for name, line in _listed(section, word) if word in ("numeric", "categorical") else ():
            if name in taken:
                mistakes.add(section.file, line, f"Features: {name!r} {taken[name]}")
                continue
            listed: FeatureKind = "numeric" if word == "numeric" else "categorical"
            taken[name] = "is listed twice."
            features[name] = _feature(name, listed, line, section=section, table=table, functions=functions, file=file)
    for word in ("numeric", "categorical"):
        section.node(word)  # asked for, so that a suggestion knows both
    section.finish()
    if not features:
        section.wrong("there is none; list them under numeric and categorical.")
    _check_order(section, features, functions, table=table, file=file)
    return tuple(features.values()), windows


def _listed(section: y.Section, word: str) -> Iterator[tuple[str, int]]:
    """The names in a list, each with its line."""
    node = section.node(word)
    section.get(word, y.list_of(y.text), ())  # tells what is wrong with the list; its items keep their lines
    for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if isinstance(item, yaml.ScalarNode) and item.value:
            yield str(item.value), y.line_of(item)


def _check_order(
    section: y.Section,
    features: Mapping[str, Feature],
    functions: Mapping[str, Function],
    *,
    table: Cleaned,
    file: Path,
) -> None:
    """Tell each parameter that is neither a column nor a feature listed before."""
    order = list(features)
    for feature in features.values():
        for name in feature.uses if feature.computed and table.columns else ():
            if name in table.columns or name in order[: order.index(feature.name)]:
                continue
            if name in order:
                problem = f"uses the feature {name!r}, which {section.file.name} lists later; list {name!r} first."
            else:
                problem = f"takes {name!r}, which is no column and no feature{table.unknown(name, order)}"
            section.mistakes.add(file, functions[feature.name].line, f"{feature.name!r} {problem}")


def _feature(
    name: str,
    kind: FeatureKind,
    line: int,
    *,
    section: y.Section,
    table: Cleaned,
    functions: Mapping[str, Function],
    file: Path,
) -> Feature:
    """One feature, and every mistake about it; ``line`` is where it is named."""
    mistakes, where = section.mistakes, section.file
    column, function = table.columns.get(name), functions.get(name)
    if name == "target" or name.startswith("group:"):
        mistakes.add(where, line, f"Features: {name!r} is a name of the feature table's own; rename it.")
    if column is not None and function is not None:
        mistakes.add(where, line, f"Features: {name!r} is a column and a function of {_FILE}; rename the function.")
    if function is not None and column is None:
        if function.open_ended:
            mistakes.add(
                file, function.line, f"{name!r} takes *args or **kwargs; name each column that it needs as a parameter."
            )
        if not function.parameters:
            mistakes.add(file, function.line, f"{name!r} takes no column; name the ones that it needs as parameters.")
        for parameter in function.parameters:
            if parameter in table.forbidden:
                mistakes.add(file, function.line, f"{name!r} uses {parameter!r}, which {table.forbidden[parameter]}.")
        return Feature(name, kind, computed=True, uses=function.parameters, line=line)
    if column is None:
        if table.columns:
            advice = table.unknown(name, list(functions))
            mistakes.add(where, line, f"Features: {name!r} is no column and no function of {_FILE}{advice}")
    elif name in table.forbidden:
        mistakes.add(where, line, f"Features: {name!r} {table.forbidden[name]}; it cannot be a feature.")
    elif column.type not in (UNKNOWN, *FEATURE_TYPES[kind]):
        mistakes.add(
            where,
            line,
            f"Features: {name!r} is a {column.type} and cannot be {kind}; compute something from it in {_FILE}.",
        )
    return Feature(name, kind, uses=(name,), line=line)
