"""The part of a contract that says which batches there are: ``partitions`` of ``dataset.yaml``.

What belongs here: reading that section into ``model.Partitions``. What does not: keys of batches and their order
(``calendar``), how rows find their batch (``tables``), which batches a model learns from (``split``).
"""

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.calendar import TIME_CADENCES, Calendar
from mlops_assets.contract.model import Partitions
from mlops_assets.errors import UserError


def read_partitions(root: y.Section) -> Partitions:
    """The section ``partitions``, by default one batch of all; every mistake is told to ``root.mistakes``."""
    section = root.section("partitions", "partitions")
    if section is None:
        return Partitions()
    cadence = section.choose(
        "cadence", ("none", *TIME_CADENCES, "named"), "none", "one of hourly, daily, weekly, monthly, yearly, named."
    )
    start, end = section.get("start", y.text, None), section.get("end", y.text, None)
    section.finish()
    partitions = Partitions(cadence, start, end, section.line)
    if cadence not in TIME_CADENCES:
        for key in ("start", "end"):
            if key in section and "cadence" in section:
                section.wrong(f"{key!r} goes with batches of time, not with cadence {cadence}.", key)
        return Partitions(cadence, line=section.line)
    if start is None and "start" not in section:
        section.wrong("'start' is missing; write the first batch's key.")
    calendar = Calendar(cadence)
    for key, value in (("start", start), ("end", end)):
        if value is not None:
            try:
                calendar.check(value)
            except UserError as error:
                section.wrong(f"{key!r}: {error.sentences[0]}", key)
                partitions = Partitions(cadence, line=section.line)
    if partitions.start and partitions.end and calendar.sort([partitions.start, partitions.end])[0] != partitions.start:
        section.wrong(f"the end {end!r} is before the start {start!r}.", "end")
    return partitions
