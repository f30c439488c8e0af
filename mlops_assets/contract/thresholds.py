"""The part of a contract that says from where on a check speaks: ``checks`` of ``dataset.yaml``.

What belongs here: reading that section into ``model.Thresholds``. What does not: judging (``checks``), the shares of
rows that may be quarantined (``limits``), what a model must reach (``gates``).
"""

from collections.abc import Callable, Sequence

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Feature, Partitions, Thresholds
from mlops_assets.errors import UserError

TAG = "tag:"
"""What stands before a tag's name in ``reference``."""


def read_thresholds(root: y.Section, partitions: Partitions, features: Sequence[Feature] = ()) -> Thresholds:
    """The section ``checks``, which may name ``features``; every mistake is told to ``root.mistakes``."""
    default = Thresholds()
    section = root.section("checks", "checks")
    if section is None:
        return default
    found = Thresholds(
        alone=section.get("alone", _between(0.5, 1.0), default.alone),
        reference=section.get("reference", y.text, default.reference),
        drift=section.get("drift", _between(0.0, 100.0), default.drift),
        chance=section.get("chance", _between(1.0, 1000.0), default.chance),
        seasonal=section.get("seasonal", y.list_of(y.text), default.seasonal),
        missing=section.get("missing", y.share, default.missing),
        unseen=section.get("unseen", y.share, default.unseen),
        twins=section.get("twins", y.share, default.twins),
        adversarial=section.get("adversarial", _between(0.5, 1.0), default.adversarial),
        answers=section.get("answers", _between(0.0, 100.0), default.answers),
        recurring=section.get("recurring", y.flag, default.recurring),
        line=section.line,
    )
    section.finish()
    names = [feature.name for feature in features]
    for name in found.seasonal if names else ():
        if name not in names:
            section.wrong(f"'seasonal': there is no feature {name!r}{y.suggest(name, names)}", "seasonal")
    if found.reference is not None and not found.reference.startswith(TAG):
        try:
            Calendar(partitions.cadence, partitions.start, partitions.end).check(found.reference)
        except UserError as error:
            section.wrong(f"'reference' names a batch, or a tag as {TAG}NAME. {error}", "reference")
    return found


def _between(low: float, high: float) -> Callable[[yaml.Node], float]:
    def read(node: yaml.Node) -> float:
        value = float(y.number(node))
        if not low <= value <= high:
            raise y.WrongError((y.line_of(node), f"should be between {low:g} and {high:g}, not {value:g}."))
        return value

    return read
