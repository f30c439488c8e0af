"""The part of a contract that describes tables: sources, their columns and files, and how they are joined.

What belongs here: ``sources``, ``spine`` and ``joins`` of ``dataset.yaml`` as values of ``model``. What does not: the
columns that follow from them (``cleaned``), or any look at delivered files (``stages``).
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.formats import read_format
from mlops_assets.contract.model import Column, EventTime, FileFormat, Join, Partitions, Role, Source
from mlops_assets.contract.vocabulary import COLUMN_TYPES, WRITTEN_ROLES

SOURCE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# The type of a column whose type is a mistake: it is told once, and nothing more is concluded from it. No contract
# with mistakes leaves the loader, so nobody else meets it.
UNKNOWN: Final[Any] = ""
_OWN_COLUMNS = ("_file", "_line", "_text", "_problem")  # added to every raw table
_PARTS = ("year", "month", "day", "hour")
_FINEST_PART = {"yearly": 1, "monthly": 2, "weekly": 3, "daily": 3, "hourly": 4}  # how many parts tell the batch
_DIRECTIVE = re.compile(r"%(.?)")
_DIRECTIVES = frozenset("YymdHIMSfzbBjp%")
_THOUSANDS = (",", ".", "'", " ", "_")


def read_sources(root: y.Section, partitions: Partitions) -> dict[str, Source]:
    """Every source that can be read; the others are told as mistakes."""
    section = root.section("sources", "sources", "describe the dataset's files there, at least one source.")
    if section is None:
        return {}
    sources = {name: _source(name, part, partitions) for name, part in section.sections("source")}
    if not sources:
        section.wrong("there is none; describe the dataset's files, at least one source.")
    return sources


def _source(name: str, section: y.Section, partitions: Partitions) -> Source:
    if not SOURCE_NAME.fullmatch(name):
        section.wrong("a source's name is a letter and then letters, digits or _.")
    kind = section.choose(
        "kind",
        (
            "batch",
            "reference",
        ),
        "batch",
    )
    files = section.need("files", y.text, "", 'write a pattern like "landing/orders_{batch}.csv".')
    file_format = read_format(section)
    key = section.get("key", y.list_of(y.text), ())
    event_time = _event_time(section)
    columns = _columns(section, name, file_format, key, event_time)
    source = Source(
        name=name,
        kind=kind,
        files=files,
        format=file_format,
        columns=columns,
        key=key,
        event_time=event_time,
        redelivery=section.choose(
            "redelivery",
            (
                "replace",
                "add",
            ),
            "replace",
        ),
        description=section.get("description", y.text, ""),
        line=section.line,
    )
    section.finish()
    if columns:
        _check_key(section, source)
        _check_event_time(section, source, partitions)
    if files:
        _check_files(section, source, partitions)
    return source


def _check_files(section: y.Section, source: Source, partitions: Partitions) -> None:
    parts = source.files.replace("\\", "/").split("/")
    if source.files.startswith(("/", "~")) or ".." in parts or re.match(r"[A-Za-z]:", source.files):
        section.wrong(f"'files' is {source.files!r}; it should stay inside the dataset's folder.", "files")
    without = source.files.replace("{batch}", "")
    if "{" in without or "}" in without:
        section.wrong(f"'files' is {source.files!r}; the only braces it may have are {{batch}}.", "files")
    named = "{batch}" in source.files
    if named and source.kind == "reference":
        section.wrong("a reference is one table for all batches; leave {batch} out of 'files'.", "files")
    elif named and partitions.cadence == "none":
        section.wrong("the dataset is not partitioned; leave {batch} out of 'files', or say 'partitions'.", "files")
    elif not named and source.kind == "batch" and partitions.cadence == "named":
        section.wrong("named batches are told apart by their files; put {batch} into 'files'.", "files")
    elif not named and source.kind == "batch" and partitions.cadence != "none" and source.event_time is None:
        section.wrong("nothing tells a row's batch; put {batch} into 'files', or say the 'event_time'.", "files")


def _check_key(section: y.Section, source: Source) -> None:
    for name in source.key:
        column = source.columns.get(name)
        if column is None:
            section.wrong(f"the key names a column {name!r} that is not there{y.suggest(name, source.columns)}", "key")
        elif column.type == "float64":
            section.wrong(f"the key's column {name!r} is a float64; fractions make no key. Use int64 or string.", "key")
    for name in {name for name in source.key if source.key.count(name) > 1}:
        section.wrong(f"the key names {name!r} twice.", "key")


def _check_event_time(section: y.Section, source: Source, partitions: Partitions) -> None:
    time = source.event_time
    if time is None:
        return
    kinds = {"int64"} if time.parts else {"date", "timestamp"}
    for name in time.columns:
        column = source.columns.get(name)
        if column is None:
            advice = y.suggest(name, source.columns)
            section.wrong(f"the event time names a column {name!r} that is not there{advice}", "event_time")
        elif column.type not in {*kinds, UNKNOWN}:
            wanted = "int64" if time.parts else "a date or a timestamp"
            section.wrong(f"the event time's column {name!r} should be {wanted}, not {column.type}.", "event_time")
        elif column.type == "date" and partitions.cadence == "hourly" and source.kind == "batch":
            section.wrong(f"the batches are hours and {name!r} is a date; a timestamp is needed.", "event_time")
    needed = _FINEST_PART.get(partitions.cadence, 0)
    if time.parts and source.kind == "batch" and len(time.parts) < needed:
        section.wrong(
            f"{partitions.cadence} batches cannot be told from {' and '.join(time.parts)} alone; "
            f"name the columns of {y.listed(_PARTS[:needed])}.",
            "event_time",
        )


def _event_time(section: y.Section) -> EventTime | None:
    node = section.node("event_time")
    if node is None:
        return None
    if isinstance(node, yaml.ScalarNode):
        name = section.get("event_time", y.text, "")
        return EventTime((name,)) if name else None
    parts = section.section("event_time", f"{section.what}, event_time")
    if parts is None:
        return None
    found = {part: parts.get(part, y.text, "") for part in _PARTS if part in parts}
    for part in _PARTS:  # asked for, so that a suggestion knows them
        parts.get(part, y.text, "")
    parts.finish()
    names = tuple(found)
    if names != _PARTS[: len(names)] or not names:
        parts.wrong("give the columns of year, month, day and hour, from the year on without a gap.")
        return None
    return EventTime(tuple(found.values()), cast("Any", names))


def _columns(
    section: y.Section, source: str, file_format: FileFormat, key: tuple[str, ...], time: EventTime | None
) -> dict[str, Column]:
    part = section.section("columns", f"{section.what}, columns", "list the columns that are read, each with its type.")
    if part is None:
        return {}
    columns = {}
    never_null = {*key, *(time.columns if time else ())}
    for name in part.names():
        node = part.node(name)
        if node is None:
            continue
        if not name or name in _OWN_COLUMNS or not name.isprintable():
            part.wrong(f"a column cannot be called {name!r}.", name)
        if isinstance(node, yaml.ScalarNode) and (node.value or node.style):
            kind = part.choose(name, COLUMN_TYPES, UNKNOWN)
            columns[name] = Column(
                name, kind, nullable=name not in never_null, roles=_roles(name, key, time), line=part.at(name)
            )
            continue
        cell = part.opened(name, node, f"column {name!r} of {source!r}")
        if cell is not None:
            cell.line = part.at(name)
            columns[name] = _column(name, cell, file_format, key, time)
    if not columns:
        part.wrong("there is none; list the columns that are read, each with its type.")
    return columns


def _roles(name: str, key: tuple[str, ...], time: EventTime | None) -> frozenset[Role]:
    roles: set[Role] = set()
    if name in key:
        roles.add("key")
    if time is not None and name in time.columns:
        roles.add("time")
    return frozenset(roles)


def _column(
    name: str, cell: y.Section, file_format: FileFormat, key: tuple[str, ...], time: EventTime | None
) -> Column:
    kind = cell.choose("type", COLUMN_TYPES, UNKNOWN, f"one of {y.listed(COLUMN_TYPES)}.")
    derived = _roles(name, key, time)
    value = _value_of(kind)
    written: tuple[Role, ...] = cell.get("role", y.list_of(_role), ())
    column = Column(
        name=name,
        type=kind,
        nullable=cell.get("nullable", y.flag, not derived) and not derived,
        minimum=cell.get("minimum", value, None),
        maximum=cell.get("maximum", value, None),
        values=cell.get("values", y.list_of(value), ()),
        pattern=cell.get("pattern", _pattern, None),
        format=cell.get("format", _time_format, None),
        missing=cell.get("missing", y.list_of(y.text), ()),
        thousands=cell.get("thousands", y.choice(*_THOUSANDS), None),
        zone=cell.get("zone", _zone, None),
        roles=derived | frozenset(written),
        description=cell.get("description", y.text, ""),
        line=cell.line,
    )
    nullable = cell.get("nullable", y.flag, False)
    if derived and nullable:
        why = "the key" if "key" in derived else "the event time"
        cell.wrong(f"it is part of {why} and so never null; leave 'nullable' out.", "nullable")
    cell.finish()
    if column.type != UNKNOWN:
        _check_rules(cell, column)
        _check_spelling(cell, column, file_format)
    if column.nullable and (set(column.values) & {*file_format.missing, *column.missing}):
        both = sorted(set(column.values) & {*file_format.missing, *column.missing})
        cell.wrong(f"{y.listed(both)} cannot be a value and mean a missing one.", "values")
    return column


def _check_rules(cell: y.Section, column: Column) -> None:
    if column.type in ("string", "boolean"):
        for rule in ("minimum", "maximum"):
            if rule in cell:
                cell.wrong(f"{rule!r} goes with numbers and dates, not with {column.type}.", rule)
    elif column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:  # type: ignore[operator]
        cell.wrong(f"the minimum {column.minimum} is above the maximum {column.maximum}; no value fits.", "minimum")
    if column.pattern is not None and column.type != "string":
        cell.wrong(f"'pattern' goes with string, not with {column.type}.", "pattern")
    if column.format is not None and column.type not in ("date", "timestamp"):
        cell.wrong(f"'format' goes with date and timestamp, not with {column.type}.", "format")
    for role in ("excluded", "sensitive"):
        if "feature" in column.roles and role in column.roles:
            cell.wrong(f"the roles 'feature' and {role!r} contradict each other.", "role")


def _check_spelling(cell: y.Section, column: Column, file_format: FileFormat) -> None:
    if column.thousands is not None and column.type not in ("int64", "float64"):
        cell.wrong(f"'thousands' goes with numbers, not with {column.type}.", "thousands")
    elif column.thousands is not None and (
        column.thousands == file_format.decimal
        # Between quotes a delimiter is a letter.
        or (column.thousands == file_format.delimiter and not file_format.quote)
    ):
        other = "decimal sign" if column.thousands == file_format.decimal else "delimiter"
        cell.wrong(f"'thousands' cannot be {column.thousands!r}, which is the {other}.", "thousands")
    if column.zone is not None and column.type != "timestamp":
        cell.wrong(f"'zone' goes with timestamp, not with {column.type}.", "zone")
    zoned = column.format is not None and ("%z" in column.format or column.format.endswith("Z"))
    if zoned and column.zone is not None:
        cell.wrong("the format says each time's offset; leave 'zone' out.", "zone")
    if zoned and column.type == "date" and "%z" in str(column.format):
        cell.wrong("a date has no offset; take %z out of 'format', or declare a timestamp.", "format")


def _role(node: yaml.Node) -> Any:
    word = y.text(node)
    follows = {
        "key": "the source's 'key'",
        "time": "the source's 'event_time'",
        "target": "'target: expression'",
        "group": "'split: group'",
    }
    if word in follows:
        raise y.WrongError((y.line_of(node), f"{word!r} is not written here; it follows from {follows[word]}."))
    return y.choice(*WRITTEN_ROLES)(node)


def _value_of(kind: str) -> Callable[[yaml.Node], Any]:
    """The reader of one cell's value, as rules name it."""
    match kind:
        case "int64":
            return y.integer
        case "float64":
            return y.number
        case "boolean":
            return y.flag
        case "date" | "timestamp":
            return _iso
        case "string":
            return y.text
        case _:  # of an unknown type, which is told
            return y.plain


def _iso(node: yaml.Node) -> str:
    written = y.text(node)
    try:
        datetime.fromisoformat(written)
    except ValueError:
        raise y.WrongError((y.line_of(node), f"should be a date like 2013-01-31, not {written!r}.")) from None
    return written


def _pattern(node: yaml.Node) -> str:
    written = y.text(node)
    try:
        re.compile(written)
    except re.error as error:
        place = f" at letter {error.pos + 1}" if error.pos is not None else ""
        raise y.WrongError((y.line_of(node), f"{written!r} is no regular expression{place}: {error.msg}.")) from None
    return written


def _time_format(node: yaml.Node) -> str:
    written = y.text(node)
    found = _DIRECTIVE.findall(written)
    foreign = [f"%{letter}" for letter in found if letter not in _DIRECTIVES]
    if foreign or not found:
        shown = f"has {y.listed(foreign)}" if foreign else f"is {written!r}"
        raise y.WrongError((y.line_of(node), f"{shown}; write a pattern like %Y-%m-%d or %d.%m.%Y %H:%M."))
    return written


def _zone(node: yaml.Node) -> str:
    from zoneinfo import ZoneInfo

    name = y.text(node)
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise y.WrongError(
            (y.line_of(node), f"is {name!r}; write a zone like Europe/Berlin, America/New_York or UTC.")
        ) from None
    return name


# ---- joins


def read_spine(root: y.Section, sources: Mapping[str, Source], joined: set[str]) -> str:
    """The source whose rows become rows of ``cleaned``: the named one, or the only one that is not joined."""
    named = root.get("spine", y.text, "")
    if not sources:
        return named
    if named:
        if named not in sources:
            root.wrong(f"the spine {named!r} is no source{y.suggest(named, sources)}", "spine")
        elif sources[named].kind != "batch":
            root.wrong(f"the spine {named!r} is a reference; its rows are the dataset's, so it is a batch.", "spine")
        elif named in joined:
            root.wrong(f"the spine {named!r} cannot be joined to itself.", "joins")
        return named
    free = [name for name, source in sources.items() if name not in joined and source.kind == "batch"]
    if len(free) == 1:
        return free[0]
    if free:
        root.wrong(f"'spine' is missing; say whose rows are the dataset's: {' or '.join(map(repr, free))}.")
    else:
        root.wrong("no source's rows can be the dataset's; one source of kind batch must not be joined.", "sources")
    return ""


def joined_sources(root: y.Section) -> set[str]:
    """The names under ``joins``, before anything about them is checked."""
    node = root.node("joins")
    found: set[str] = set()
    for item in node.value if isinstance(node, yaml.SequenceNode) else []:
        if isinstance(item, yaml.MappingNode):
            found |= {str(value.value) for key, value in item.value if key.value == "source"}
    return found


def read_joins(root: y.Section, sources: Mapping[str, Source], spine: str) -> tuple[Join, ...]:
    """Every join that can be read, in order; a name in ``cleaned`` is given once."""
    node = root.node("joins")
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode):
        root.wrong("'joins' should be a list, each item with source, on and columns.", "joins")
        return ()
    joins: list[Join] = []
    taken = dict.fromkeys(sources[spine].columns, f"the spine {spine!r}") if spine in sources else {}
    for number, item in enumerate(node.value, 1):
        section = root.opened("joins", item, f"join {number}")
        join = _join(section, sources, spine) if section is not None else None
        if section is None or join is None:
            continue
        joins.append(join)
        for name in join.columns:
            if name in taken:
                section.wrong(
                    f"the column {name!r} comes from {taken[name]} already; rename it: {{new: old}}.", "columns"
                )
            taken[name] = f"source {join.source!r}"
    return tuple(joins)


def _join(section: y.Section, sources: Mapping[str, Source], spine: str) -> Join | None:
    name = section.need("source", y.text, "", "name the source whose columns are brought.")
    if name:
        section.what = f"join of {name!r}"
    join = Join(
        source=name,
        on=_pairs(section, "on", "name the columns that must be equal."),
        columns=dict(_pairs(section, "columns", "name the columns to bring.")),
        kind=section.choose(
            "kind",
            (
                "left",
                "inner",
            ),
            "left",
        ),
        as_of=_as_of(section),
        tolerance=section.get("tolerance", y.duration, None),
        known_after=section.get("known_after", y.duration, 0.0),
        warn_below=section.get("warn_below", y.share, 0.0),
        line=section.line,
    )
    section.finish()
    if name and name not in sources:
        section.wrong(f"there is no source {name!r}{y.suggest(name, sources)}", "source")
    if name not in sources or spine not in sources:
        return None
    _check_join(section, join, sources[spine], sources[name])
    return join


def _check_join(section: y.Section, join: Join, spine: Source, theirs: Source) -> None:
    pairs = [(ours, other, "on") for ours, other in join.on] + ([(*join.as_of, "as_of")] if join.as_of else [])
    for ours, other, where in pairs:
        left, right = spine.columns.get(ours), theirs.columns.get(other)
        if left is None:
            section.wrong(f"the spine has no column {ours!r}{y.suggest(ours, spine.columns)}", where)
        if right is None:
            section.wrong(f"{theirs.name!r} has no column {other!r}{y.suggest(other, theirs.columns)}", where)
        if left is None or right is None or UNKNOWN in (left.type, right.type):
            continue
        if left.type != right.type:
            section.wrong(f"{ours!r} is {left.type} and {other!r} is {right.type}; they never match.", where)
        elif where == "as_of" and left.type not in ("date", "timestamp"):
            section.wrong(f"'as_of' compares dates or timestamps, {ours!r} is {left.type}.", where)
    for old in join.columns.values():
        if old not in theirs.columns:
            section.wrong(f"{theirs.name!r} has no column {old!r}{y.suggest(old, theirs.columns)}", "columns")
    matched = {other for _, other, _ in pairs}
    if not theirs.key:
        section.wrong(f"{theirs.name!r} has no key, so a row could match several; give it a 'key'.", "source")
    elif not set(theirs.key) <= matched:
        missing = [name for name in theirs.key if name not in matched]
        section.wrong(f"a row could match several of {theirs.name!r}: its key has {y.listed(missing)} too.", "on")
    _check_times(section, join)


def _check_times(section: y.Section, join: Join) -> None:
    if join.as_of is None:
        for key in ("tolerance", "known_after"):
            if key in section:
                section.wrong(f"{key!r} goes with 'as_of' only.", key)
    elif join.tolerance is not None and join.known_after > join.tolerance:
        section.wrong(
            "'tolerance' counts from a row's own time, and what is known only after it is over never matches; write a "
            "'tolerance' longer than 'known_after'.",
            "tolerance",
        )


def _pairs(section: y.Section, key: str, hint: str) -> tuple[tuple[str, str], ...]:
    """``[a, b]`` as ((a, a), (b, b)), ``{a: b}`` as ((a, b),)."""
    if isinstance(section.node(key), yaml.MappingNode):
        part = section.section(key, f"{section.what}, {key}")
        return tuple((name, part.get(name, y.text, name)) for name in part.names()) if part else ()
    names = section.need(key, y.list_of(y.text), (), hint)
    return tuple((name, name) for name in names)


def _as_of(section: y.Section) -> tuple[str, str] | None:
    if "as_of" not in section:
        return None
    pairs = _pairs(section, "as_of", "")
    if len(pairs) != 1:
        section.wrong("'as_of' is one time column, or {ours: theirs}.", "as_of")
        return None
    return pairs[0]
