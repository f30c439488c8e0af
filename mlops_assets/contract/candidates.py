"""The part of a contract that says which models are trained: ``models`` of ``dataset.yaml``.

What belongs here: reading that section into baselines and candidates, and which settings a kind of model takes. What
does not: the kinds and settings themselves (``vocabulary``), what a model must reach (``evaluation``), training
(``stages``).
"""

import re
from collections.abc import Sequence
from typing import Any

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.model import Candidate, Task
from mlops_assets.contract.vocabulary import REFUSED_SETTINGS, SETTINGS, setting_type

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def read_models(root: y.Section, task: Task) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """The section ``models`` as baselines and candidates; every mistake is told to ``root.mistakes``."""
    default = (Candidate("prior", "prior", {}), Candidate("linear", "linear", {}))
    section = root.section("models", "models", "name at least one candidate, like {candidates: {boosted_trees: {}}}.")
    if section is None:
        return default, ()
    families: dict[str, tuple[Candidate, ...]] = {}
    for family in ("baselines", "candidates"):
        part = section.section(family, f"models, {family}")
        if part is not None:
            families[family] = tuple(_candidate(name, cell, task) for name, cell in part.sections("model"))
    section.finish()
    baselines, candidates = families.get("baselines", default), families.get("candidates", ())
    if not candidates:
        section.wrong("there is no candidate; name at least one, like {candidates: {boosted_trees: {}}}.")
    for name in {model.name for model in baselines} & {model.name for model in candidates}:
        section.wrong(
            f"{name!r} is a baseline and a candidate; give one of them another name and a 'kind'.", "candidates"
        )
    return baselines, candidates


def _candidate(name: str, cell: y.Section, task: Task) -> Candidate:
    kinds = tuple(SETTINGS)
    if not _NAME.fullmatch(name):
        cell.wrong("a model's name is a letter and then letters, digits or _.")
    if "kind" not in cell and name not in kinds:
        cell.wrong(f"its name is no kind of model; say 'kind: ' and one of {y.listed(kinds)}{_near(name, kinds)}")
    kind = cell.choose("kind", kinds, name if name in kinds else "prior")
    allowed = SETTINGS[kind]
    if kind == "linear":  # one name for two estimators: the strength is C for classes and alpha for numbers
        absent = ("alpha", "l1_ratio") if task != "regression" else ("C", "class_weight", "l1_ratio")
        allowed = {setting: types for setting, types in allowed.items() if setting not in absent}
    elif task == "regression":
        allowed = {setting: types for setting, types in allowed.items() if setting != "class_weight"}
    settings: dict[str, Any] = {}
    for setting in cell.names():
        if setting == "kind":
            continue
        value = cell.get(setting, y.plain, None)
        if setting in REFUSED_SETTINGS:
            cell.wrong(f"{setting!r} cannot be set: {REFUSED_SETTINGS[setting]}.", setting)
        elif setting not in allowed:
            if kind in (name, cell.get("kind", y.text, name)):
                cell.wrong(f"{kind} has no setting {setting!r}{y.suggest(setting, allowed)}", setting)
        elif type(value) not in allowed[setting]:
            cell.wrong(f"{setting!r} should be {setting_type(allowed[setting])}, not {value!r}.", setting)
        else:
            settings[setting] = value
    return Candidate(name, kind, settings, cell.line)


def _near(name: str, kinds: Sequence[str]) -> str:
    advice = y.suggest(name, kinds)
    return advice if "did you mean" in advice else "."
