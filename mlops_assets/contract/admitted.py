"""Rows that people let in although a rule speaks against them: the file that ``admitted`` of ``dataset.yaml`` names.

What belongs here: reading that file and what may not be said in it. What does not: finding the rows (``stages``).

The file, by source; the reason is written as the quarantine counts it::

    weather:
      - row: {origin: EWR, time_hour: "2013-02-12T03:00:00Z"}   # as delivered; the whole key, and more if wanted
        reason: "wind_speed: is above the maximum"
        who: ann@example.org
        why: The station confirmed the gust by telephone.
      - {file: landing/weather_2013-07.csv, line: 312, reason: "humid: has no value", who: ann@example.org, why: Known.}
"""

import re
from collections.abc import Iterator

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.model import Admission, Contract, Source
from mlops_assets.contract.rules import overrulable

_NAME = re.compile(r"[A-Za-z0-9_-]+\.ya?ml")


def read_admitted(root: y.Section, contract: Contract) -> tuple[Admission, ...]:
    """What the file says that ``admitted`` names, nothing when it names none; mistakes are told with their place."""
    name = root.get("admitted", y.text, None)
    if name is None:
        return ()
    if not _NAME.fullmatch(name) or name == contract.file.name:
        root.wrong(f"'admitted' is {name!r}; it should be a YAML file of its own in the dataset's folder.", "admitted")
        return ()
    file = contract.folder / name
    if not file.is_file():
        root.wrong(f"'admitted' names {name!r}, and the folder has no such file.", "admitted")
        return ()
    lines = (line.strip() for line in file.read_bytes().splitlines())
    if all(not line or line.startswith(b"#") for line in lines):
        return ()  # nobody is let in yet
    node = y.read_document(file, root.mistakes)
    return tuple(_admissions(y.Section(node, "", file, root.mistakes), contract)) if node is not None else ()


def _admissions(section: y.Section, contract: Contract) -> Iterator[Admission]:
    for name in section.names():
        node = section.node(name)
        source = contract.sources.get(name)
        if source is None:
            section.wrong(f"there is no source {name!r}{y.suggest(name, contract.sources)}", name)
        elif not isinstance(node, yaml.SequenceNode):
            section.wrong(f"{name!r} should be a list, each item with row (or file and line), reason, who, why.", name)
        else:
            for number, item in enumerate(node.value, 1):
                part = section.opened(name, item, f"row {number} of {name!r}")
                if part is not None:
                    yield _admission(part, source)


def _admission(section: y.Section, source: Source) -> Admission:
    known = overrulable(source)
    reason = section.need("reason", y.text, "", "say which reason does not count, as the quarantine names it.")
    if reason and reason not in known:
        section.wrong(f"nothing is refused because {reason!r}{y.suggest(reason, known)}", "reason")
    part = section.section("row", f"{section.what}, row")
    row = {name: part.get(name, y.text, "") for name in part.names()} if part else {}
    found = Admission(
        source=source.name,
        reason=reason,
        who=section.need("who", y.text, "", "say who answers for it."),
        why=section.need("why", y.text, "", "say why the row is right."),
        row=row,
        file=section.get("file", y.text, None),
        row_line=section.get("line", y.integer, None),
        line=section.line,
    )
    section.finish()
    _check_row(section, source, found)
    return found


def _check_row(section: y.Section, source: Source, found: Admission) -> None:
    if (found.file is None) != (found.row_line is None):
        section.wrong("'file' and 'line' go together, as the quarantine shows them.")
    for name in found.row:
        if name not in source.columns:
            section.wrong(f"{source.name!r} has no column {name!r}{y.suggest(name, source.columns)}", "row")
        elif "sensitive" in source.columns[name].roles:
            section.wrong(f"{name!r} is sensitive and its values are written nowhere; give file and line.", "row")
    missing = [name for name in source.key or source.columns if name not in found.row]
    if found.file is None and missing:
        whole = "the whole key" if source.key else "every column, as there is no key"
        section.wrong(f"'row' should give {whole}; it lacks {y.listed(missing)}. Or give file and line.", "row")
