"""The part of a contract that says which rows a model learns from and which judge it: ``split`` of ``dataset.yaml``.

What belongs here: reading that section into ``model.Split``, and that rows can be told apart at all. What does not:
splitting rows (``stages``), which batches there are (``partitions``).
"""

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.calendar import TIME_CADENCES
from mlops_assets.contract.cleaned import Cleaned
from mlops_assets.contract.model import Partitions, Source, Split


def read_split(root: y.Section, partitions: Partitions, spine: Source | None, table: Cleaned) -> Split:
    """The section ``split``, by default by time where batches have one; every mistake is told to ``root.mistakes``."""
    timed = partitions.cadence in TIME_CADENCES
    if spine is not None and not spine.key:
        root.mistakes.add(
            root.file,
            spine.line,
            f"The spine {spine.name!r} has no 'key'; list the columns that tell two rows apart (all, when nothing less "
            "does). Splits and exact counts stand on it.",
        )
    section = root.section("split", "split")
    if section is None:
        return Split("time") if timed else Split("hash", validation=0.15)
    by = section.choose("by", ("time", "hash"), "time" if timed else "hash")
    group = section.get("group", y.list_of(y.text), ())
    default = Split(by)
    salt = section.get("salt", y.text, default.salt)
    if by == "time":
        validation = section.get("validation", y.integer, 1)
        split = Split(
            by, validation, embargo=section.get("embargo", y.integer, 0), group=group, salt=salt, line=section.line
        )
        if not timed:
            section.wrong("batches have no time here; write 'by: hash', or give 'partitions' a cadence of time.", "by")
        if "test" in section:
            section.wrong("by time the test set is the newest batch; 'test' goes with 'by: hash'.", "test")
            section.node("test")
        for key, value in (("validation", split.validation), ("embargo", split.embargo)):
            if value < 0:
                section.wrong(f"{key!r} is a number of batches, not {value}.", key)
    else:
        split = Split(
            by,
            section.get("validation", y.share, 0.15),
            section.get("test", y.share, default.test),
            group=group,
            salt=salt,
            line=section.line,
        )
        if "embargo" in section:
            section.wrong("'embargo' goes with 'by: time'.", "embargo")
            section.node("embargo")
        if split.test == 0 or split.validation + split.test >= 1:
            section.wrong(f"validation {split.validation} and test {split.test} leave no rows to test or to train on.")
    section.finish()
    for name in group:
        if table.columns and name not in table.columns:
            section.wrong(f"there is no column {name!r}{table.unknown(name)}", "group")
    return split
