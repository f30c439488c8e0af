"""Questions about history, and reading what it holds: log, show, diff, cat.

What belongs here: arguments, what is printed, exit codes, and the key of a dataset's rows, which its contract knows.
What does not: any decision on versions (``mlops_assets.store``), how answers look (``answers``).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mlops_assets.commands.common import Commands, contracts, open_store, say_json, without_gc
from mlops_assets.errors import StoreError, UserError
from mlops_assets.home import Home
from mlops_assets.visible import visible

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

    from mlops_assets.store.heads import Leaf
    from mlops_assets.store.refs import View

_HEAD = 20
_LINES = 1 << 14
_FORMATS = {".parquet", ".csv"}


def add(commands: Commands) -> None:
    """Register the subcommands."""
    log = commands.add_parser("log", help="what moved on the branch, newest first (times in UTC)")
    log.add_argument("asset", nargs="?", help="an asset, all under the start of its name, or ASSET[BATCH]")
    log.add_argument("--partition", metavar="P", help="only this batch of the asset")
    log.add_argument("--limit", type=_count, default=50, metavar="N", help="at most so many moves (default 50; 0: all)")
    log.add_argument("--since", metavar="TIME", help="only moves from this date or time on (UTC)")
    log.add_argument("--json", action="store_true", help="answer for programs")
    log.set_defaults(command=_log)

    show = commands.add_parser("show", help="all that is recorded of one thing")
    show.add_argument(
        "what",
        nargs="?",
        default=".",
        help="ASSET[BATCH], an asset, a dataset, a tag, branch or moment, a change, or b3: and the first digits of a "
        "version, manifest, move or tree; the branch when left out",
    )
    show.add_argument("--at", metavar="REF", help="an asset as this tag, branch or moment shows it")
    show.add_argument("--json", action="store_true", help="answer for programs: the full record")
    show.set_defaults(command=_show)

    diff = commands.add_parser(
        "diff", help="what differs between two tags, branches, moments, runs, models or versions"
    )
    diff.add_argument(
        "before",
        metavar="A",
        help="a tag, branch, BRANCH@TIME, REMOTE/BRANCH or b3:DIGITS; with all that it was made from: ASSET[BATCH], "
        "ASSET[BATCH]@REF or run:ID",
    )
    diff.add_argument("after", metavar="B", nargs="?", default=".", help="as A; the branch when left out")
    diff.add_argument("--asset", action="append", metavar="A", help="only this asset or dataset; may be repeated")
    diff.add_argument("--partition", action="append", metavar="P", help="only this batch; may be repeated")
    diff.add_argument("--rows", action="store_true", help="compare the rows of changed tables too")
    diff.add_argument("--key", type=_names, metavar="A,B", help="the columns of the rows' key; else the contract's")
    diff.add_argument("--sample", type=_count, default=3, metavar="N", help="examples of each kind (default 3)")
    diff.add_argument("--out", type=Path, metavar="FILE", help="write every differing row and cell: .parquet or .csv")
    form = diff.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="answer for programs")
    form.add_argument(
        "--markdown", action="store_true", help="answer for reviewers: a release's metrics, and what is behind them"
    )
    diff.set_defaults(command=_diff)

    cat = commands.add_parser("cat", help="print the rows of a table, or the value of anything else")
    cat.add_argument("asset", help="an asset, or ASSET[BATCH]")
    cat.add_argument("--partition", metavar="P", help="only this batch; all of them when left out")
    cat.add_argument("--at", metavar="REF", help="as this tag, branch, moment or version shows it")
    cat.add_argument("--columns", type=_names, metavar="A,B", help="only these columns, in this order")
    cat.add_argument("--head", type=_count, metavar="N", help=f"only the first rows (a table: {_HEAD}; else all)")
    cat.add_argument("--format", choices=("table", "csv", "json"), default="table", help="of rows (default table)")
    cat.set_defaults(command=_cat)


def _log(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.commands.answers import log_lines, moment
    from mlops_assets.store.history import log

    asset, batch = _address(options.asset, options.partition)
    with without_gc():
        store = open_store(home)
        found = log(store, home.branch, asset, batch, limit=options.limit or None, since=options.since)
        if options.json:
            say_json([item.to_dict() for item in found])
            return 0
        cut = bool(options.limit) and len(found) == options.limit
        for line in log_lines(found, grouped=batch is None, cut=cut):
            print(line)
        if cut:
            print(f"The newest {options.limit}; more with --limit, or --limit 0 for all.")
            return 0
        branch = store.branch(home.branch)
        if branch.source and not options.since:
            print(f"Branch {branch.name} was started from {branch.source} by {branch.who}, {moment(branch.when)}.")
        elif not found:
            print(f"Nothing moved on branch {home.branch}{' since then' if options.since else ' yet'}.")
    return 0


def _show(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.commands.answers import show_lines
    from mlops_assets.store.history import show

    with without_gc():
        shown = show(open_store(home), options.what, home.branch, options.at)
        if options.json:
            say_json({"is": shown.what, **shown.record})
        else:
            for line in show_lines(shown.what, shown.record):
                print(line)
    return 0


def _diff(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.commands.answers import diff_lines
    from mlops_assets.store.behind import compared
    from mlops_assets.store.diff import diff

    if options.markdown:
        from mlops_assets.commands.comparing import diff_markdown

        return diff_markdown(options, home)
    if options.out and not options.rows:
        raise UserError("--out writes rows: ask for them with --rows.")
    with without_gc():
        store = open_store(home)
        before, after = (compared(store, ref, home.branch) for ref in (options.before, options.after))
        meaning = _Meaning(home, options.asset, (before, after), options.key)
        with _Lines(options.out) as lines:
            found = diff(
                store,
                before,
                after,
                assets=options.asset,
                batches=options.partition,
                rows=options.rows,
                keys=meaning.keys,
                beside=meaning.beside,
                sample=options.sample,
                hide=meaning.hide,
                lines=lines.take if options.out else None,
            )
        if options.json:
            say_json(found.to_dict() | {"notes": meaning.notes, "out": str(options.out) if options.out else None})
            return 0
        for line in diff_lines(found):
            print(line)
        for note in meaning.notes if options.rows else ():
            print(f"Note: {note}")
        if options.out:
            print(f"{lines.count:,} differences written to {options.out}.")
    return 0


def _cat(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.reading import read
    from mlops_assets.store.refs import view

    asset, batch = _address(options.asset, options.partition)
    assert asset is not None
    store = open_store(home)
    shown = view(store, options.at or ".", home.branch)
    head = _HEAD if options.head is None and options.format == "table" else options.head
    leaves: Mapping[str, Leaf | None] = {batch: shown.leaf(asset, batch)} if batch else shown.leaves(asset)
    wanted: list[str] = []
    rows = 0
    for name, leaf in leaves.items():
        if head is None or rows < max(head, 1):
            wanted.append(name)
        rows += leaf.rows or 0 if leaf else 0
    if "estimator" in {leaf.kind for leaf in leaves.values() if leaf}:
        raise StoreError(f"{asset} holds fitted estimators, which have no text; take them with mlops_assets.read.")
    value = read(asset, wanted or None, at=options.at, columns=options.columns, store=store, branch=home.branch)
    if _is_table(value):
        _print_rows(value if head is None else value.slice(0, head), options.format)
        if options.format == "table" and value.num_rows:
            print(f"{min(rows, head or rows):,} of {rows:,} rows (more with --head N, all with --format csv)")
    elif isinstance(value, bytes):
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
    else:
        say_json(value)
    return 0


# --- what the contract knows -----------------------------------------------------------------------------------------


class _Meaning:
    """The keys of the assets' rows and the columns not to be shown, as the datasets' contracts have them now."""

    def __init__(
        self, home: Home, assets: Sequence[str] | None, views: Sequence["View"], key: Sequence[str] | None
    ) -> None:
        self.keys: dict[str, Sequence[str]] = {}
        self.beside: dict[str, str] = {}
        self.hide: frozenset[str] = frozenset()
        self.notes: list[str] = []
        named = list(assets) if assets else sorted({name for view in views for name in view.assets()})
        for dataset in dict.fromkeys(name.split("/")[0] for name in named):
            if not (home.data / dataset / "dataset.yaml").is_file():
                self.notes.append(
                    f"{home.data} has no dataset {dataset}: the key of its rows is not known (give one with --key), "
                    f"nor which of its columns are sensitive."
                )
                continue
            self._learn(home, dataset)
        if key:
            known = {name for view in views for name in view.assets()}
            self.keys = dict.fromkeys(known, tuple(key))

    def _learn(self, home: Home, dataset: str) -> None:
        (contract,) = contracts(home, dataset)
        self.hide |= contract.sensitive()
        spine = contract.sources[contract.spine].key
        for source in contract.sources.values():
            self.keys[f"{dataset}/raw/{source.name}"] = source.key
        cleaned = f"{dataset}/cleaned"
        self.keys[cleaned] = spine
        for stage in ("splits", "features", "online"):
            # a row for each cleaned row, in their order
            self.keys[f"{dataset}/{stage}"] = spine
            self.beside[f"{dataset}/{stage}"] = cleaned


# --- rows ------------------------------------------------------------------------------------------------------------


class _Lines:
    """The file of all differences: written beside its name, named when it is complete."""

    def __init__(self, target: Path | None) -> None:
        if target is not None and target.suffix not in _FORMATS:
            raise UserError(f"{target} ends in neither .parquet nor .csv; name the file by what it is to be.")
        self.target = target
        self.count = 0
        self._names: list[str] = []
        self._first = ""
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def take(self, asset: str, batch: str, part: "pa.Table") -> None:
        """Write some lines."""
        import pyarrow as pa

        for number, (name, text) in enumerate((("asset", asset), ("batch", batch))):
            part = part.add_column(number, name, pa.repeat(pa.scalar(text), part.num_rows))
        if self._writer is None:
            self._open(part.schema)
            self._first, self._names = f"{asset}[{batch}]", part.column_names
        elif part.column_names != self._names:
            raise UserError(
                f"The rows of {asset}[{batch}] have another key than those of {self._first}, and one file has one "
                f"shape; write them to files of their own with --asset and --partition."
            )
        self._writer.write_table(part)
        self.count += part.num_rows

    def _open(self, schema: "pa.Schema") -> None:
        assert self.target is not None
        try:
            if self.target.suffix == ".csv":
                from pyarrow.csv import CSVWriter

                self._writer = CSVWriter(str(self._temporary), schema)
            else:
                from pyarrow.parquet import ParquetWriter

                self._writer = ParquetWriter(str(self._temporary), schema, compression="zstd")
        except OSError as trouble:
            raise UserError(f"{self.target} cannot be written: {trouble.strerror or trouble}.") from trouble

    @property
    def _temporary(self) -> Path:
        assert self.target is not None
        return self.target.with_name(f".{self.target.name}.tmp")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        if self.target is None:
            return
        if kind is None and self._writer is None:
            import pyarrow as pa

            names = ("asset", "batch", "change", "column", "before", "after")
            self._open(pa.schema([(name, pa.string()) for name in names]))
        if self._writer is not None:
            self._writer.close()
            if kind is None:
                self._temporary.replace(self.target)
            else:
                self._temporary.unlink(missing_ok=True)


def _is_table(value: Any) -> bool:
    # nothing that is no table should load pyarrow
    return type(value).__module__.startswith("pyarrow")


def _print_rows(table: "pa.Table", form: str) -> None:
    if form == "table":
        for line in _columned(table):
            print(line)
    elif form == "csv":
        for line in _csv(table):
            sys.stdout.write(line)
    else:
        from mlops_assets.store.rowdiff import plain

        print("[", end="")
        for start in range(0, table.num_rows, _LINES):
            for number, row in enumerate(table.slice(start, _LINES).to_pylist()):
                print(",\n " if start or number else "", end="")
                print(json.dumps(plain(row), ensure_ascii=False), end="")
        print("]")


def _csv(table: "pa.Table") -> Iterator[str]:
    import io

    from pyarrow import csv, types

    from mlops_assets.store.rowdiff import texts

    for number, column in enumerate(table.columns):
        if types.is_nested(column.type) or types.is_binary(column.type) or types.is_large_binary(column.type):
            table = table.set_column(number, table.column_names[number], texts(column))
    for start in range(0, max(table.num_rows, 1), _LINES):
        buffer = io.BytesIO()
        csv.write_csv(table.slice(start, _LINES), buffer, csv.WriteOptions(include_header=start == 0))
        yield buffer.getvalue().decode()


def _columned(table: "pa.Table") -> Iterator[str]:
    from mlops_assets.store.rowdiff import texts

    columns = [
        [visible(name), *("" if cell is None else visible(cell) for cell in texts(column).to_pylist())]
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    widths = [max(len(cell) for cell in cells) for cells in columns]
    for row in zip(*columns, strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


# --- arguments -------------------------------------------------------------------------------------------------------


def _address(asset: str | None, batch: str | None) -> tuple[str | None, str | None]:
    """Asset and batch of ``ASSET[BATCH]``, or of an asset and the option."""
    if asset and asset.endswith("]") and "[" in asset:
        name, _, inside = asset[:-1].partition("[")
        if batch and batch != inside:
            raise UserError(f"{asset} and --partition {batch} name two batches; give one of them.")
        return name, inside
    if batch and not asset:
        raise UserError(f"Whose batch {batch!r} is meant? Name the asset too: log ASSET --partition {batch}")
    return asset, batch


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("names no column")
    return names


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)
