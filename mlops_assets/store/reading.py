"""Reading any version in one line: from Python, pandas, DuckDB, polars, or anything else that reads Parquet.

What belongs here: what a data scientist types to get at values. What does not: naming references (``refs``), how values
are stored (``values``), writing anything.

    >>> import mlops_assets
    >>> mlops_assets.read("flights/cleaned", "2013-03", at="v1.0", columns=["day", "delay"])  # doctest: +SKIP
    >>> mlops_assets.frame("flights/cleaned", at="main@2026-03-01")  # doctest: +SKIP
    >>> duckdb.sql(mlops_assets.sql("flights/cleaned", at="v1.0"))  # doctest: +SKIP
    >>> polars.scan_parquet(mlops_assets.paths("flights/cleaned"), hive_partitioning=False)  # doctest: +SKIP

``at`` is a reference as ``refs`` reads it (a branch, tag, time, remote's branch, short digest), by default the current
branch. Store and branch are those of the home that the environment names, unless given. The files belong to the store:
they are read and never written.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import NotStoredError, StoreError
from mlops_assets.store.blobs import blob_path
from mlops_assets.store.heads import Leaf
from mlops_assets.store.manifest import Blob, Manifest
from mlops_assets.store.rowdiff import same_type

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mlops_assets.store.refs import View
    from mlops_assets.store.store import Store

_FILE = "mlops_assets_file"

Batches = str | Sequence[str] | None
"""One batch, some, or (None) all that the reference shows."""


def read(
    asset: str,
    batch: Batches = None,
    *,
    at: str | None = None,
    columns: Sequence[str] | None = None,
    batch_column: str | None = None,
    verify: bool = False,
    store: "Store | None" = None,
    branch: str | None = None,
) -> Any:
    """The value of an asset: a pyarrow Table, of all batches one below the other unless some are named.

    Of a table only ``columns``, if given, in that order; a column that some batches lack is null there. With
    ``batch_column``, a first column of that name says which batch a row is from. ``verify`` compares the bytes with
    what was recorded. A version that is no table (JSON, bytes, an estimator) is returned as it was stored.

    Raises ``NotStoredError`` for an asset, batch or column that is not there, ``StoreError`` when batches do not fit
    below each other, ``PurgedError`` or ``CorruptError`` for a version that cannot be read any more.
    """
    place, shown = _view(at, store, branch)
    manifests = _manifests(place, shown, asset, batch)
    if len(manifests) == 1 and manifests[0].kind != "table":
        return place.get(manifests[0], verify=verify)
    _only_tables(shown, asset, {manifest.batch: manifest.kind for manifest in manifests})
    if columns is not None:
        _check_columns(shown, asset, manifests, columns)
    tables = []
    for manifest in manifests:
        table = _part(place, manifest, columns, verify=verify)
        tables.append(_with_batch(table, manifest.batch, batch_column) if batch_column else table)
    return _below(asset, manifests, tables, columns, batch_column)


def frame(
    asset: str,
    batch: Batches = None,
    *,
    at: str | None = None,
    columns: Sequence[str] | None = None,
    batch_column: str | None = None,
    arrow: bool = False,
    verify: bool = False,
    store: "Store | None" = None,
    branch: str | None = None,
) -> "pd.DataFrame":
    """As ``read``, of tables, as a pandas DataFrame; with ``arrow`` its columns keep their Arrow types and nulls."""
    import pandas as pd
    import pyarrow as pa

    table = read(
        asset,
        batch,
        at=at,
        columns=columns,
        batch_column=batch_column,
        verify=verify,
        store=store,
        branch=branch,
    )
    if not isinstance(table, pa.Table):
        raise StoreError(f"{asset} holds no table but {type(table).__name__}; take it with mlops_assets.read.")
    made: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype if arrow else None)
    return made


def paths(
    asset: str,
    batch: Batches = None,
    *,
    at: str | None = None,
    store: "Store | None" = None,
    branch: str | None = None,
) -> list[str]:
    """Local files of an asset's batches, in the batches' order: Parquet where it holds tables.

    Of a store that is not on this disk they are verified copies. Readers must not take the folder's name for a column
    (``hive_partitioning=False``), nor look for more files beside these. Raises as ``read``.
    """
    return list(batch_paths(asset, batch, at=at, store=store, branch=branch).values())


def batch_paths(
    asset: str,
    batch: Batches = None,
    *,
    at: str | None = None,
    store: "Store | None" = None,
    branch: str | None = None,
) -> dict[str, str]:
    """As ``paths``, by batch."""
    place, shown = _view(at, store, branch)
    return _files(place, asset, _leaves(shown, asset, batch))


def sql(
    asset: str,
    batch: Batches = None,
    *,
    at: str | None = None,
    columns: Sequence[str] | None = None,
    batch_column: str | None = None,
    store: "Store | None" = None,
    branch: str | None = None,
) -> str:
    """A SELECT for DuckDB over an asset's files: to run, to put in brackets, or for ``CREATE VIEW name AS``.

    ``columns`` and ``batch_column`` are those of ``read``. The files are fixed: the text goes on to read this version
    when the branch has moved.
    """
    place, shown = _view(at, store, branch)
    leaves = _leaves(shown, asset, batch)
    _only_tables(shown, asset, {name: leaf.kind for name, leaf in leaves.items()})
    files = _files(place, asset, leaves)
    names = ["t.*"] if columns is None else [f"t.{_name(column)}" for column in columns]
    if batch_column is None:
        source = _parquet(list(files.values()))
        return f"SELECT {', '.join(names)} FROM {source} AS t"  # noqa: S608 - all in it is quoted
    if columns is None:
        names = [f"t.* EXCLUDE ({_FILE})"]
    pairs = ", ".join(f"({_text(path)}, {_text(name)})" for name, path in files.items())
    # copies of remote files are kept once under their content: such a file is read once and joined to each batch
    source = _parquet(list(dict.fromkeys(files.values())), f", filename={_text(_FILE)}")
    chosen = ", ".join([f"b.batch AS {_name(batch_column)}", *names])
    joined = f"JOIN (VALUES {pairs}) AS b(path, batch) ON t.{_FILE} = b.path"
    return f"SELECT {chosen} FROM {source} AS t {joined}"  # noqa: S608 - all in it is quoted


# --- inside ----------------------------------------------------------------------------------------------------------


def _view(at: str | None, store: "Store | None", branch: str | None) -> "tuple[Store, View]":
    from mlops_assets.home import Home
    from mlops_assets.store.refs import view
    from mlops_assets.store.store import Store

    if store is None or branch is None:
        home = Home.from_environment()
        store = Store.open(home.store, create=False) if store is None else store
        branch = home.branch if branch is None else branch
    return store, view(store, "." if at is None else at, branch)


def _leaves(shown: "View", asset: str, batch: Batches) -> dict[str, Leaf]:
    """What a reference shows of the batches that are asked for, in the order asked for."""
    if batch is None:
        found = dict(shown.leaves(asset).items())
        if not found:
            # says what is near
            shown.manifest(asset, "")
        return found
    wanted = [batch] if isinstance(batch, str) else list(dict.fromkeys(batch))
    if not wanted:
        raise NotStoredError(f"No batch of {asset} was named; name some, or leave `batch` out for all.")
    chosen = {}
    for name in wanted:
        leaf = shown.leaf(asset, name)
        if leaf is None:
            shown.manifest(asset, name)
        else:
            chosen[name] = leaf
    return chosen


def _manifests(store: "Store", shown: "View", asset: str, batch: Batches) -> list[Manifest]:
    leaves = _leaves(shown, asset, batch)
    wanted = [(asset, name, leaf.manifest) for name, leaf in leaves.items()]
    # of one that is lost, the store itself says so
    return [found or store.manifest(*each) for each, found in zip(wanted, store.read_manifests(wanted), strict=True)]


def _files(store: "Store", asset: str, leaves: Mapping[str, Leaf]) -> dict[str, str]:
    return {
        name: str(
            store.file(
                Blob(blob_path(asset, name, leaf.version, leaf.kind), leaf.size, leaf.sha256),
                f"{asset}[{name}] version {leaf.version}",
                leaf.version,
            )
        )
        for name, leaf in leaves.items()
    }


def _only_tables(shown: "View", asset: str, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        if kind != "table":
            raise StoreError(
                f"{asset}[{name}] in {shown.name} is of kind {kind}, no table; read it alone, by its name."
            )


def _check_columns(shown: "View", asset: str, manifests: Sequence[Manifest], columns: Sequence[str]) -> None:
    known = list(dict.fromkeys(name for manifest in manifests for name, _ in manifest.schema))
    if missing := [name for name in columns if name not in known]:
        raise NotStoredError(
            f"{asset} has no column {', '.join(map(repr, missing))} in {shown.name}; it has "
            f"{', '.join(known) or 'none'}."
        )


def _part(store: "Store", manifest: Manifest, columns: Sequence[str] | None, *, verify: bool) -> "pa.Table":
    if columns is None:
        return store.get(manifest, verify=verify)
    here = {name for name, _ in manifest.schema}
    return store.get(manifest, columns=[name for name in columns if name in here], verify=verify)


def _with_batch(table: "pa.Table", batch: str, name: str) -> "pa.Table":
    import pyarrow as pa

    if name in table.column_names:
        raise StoreError(f"There is a column {name!r} already; give the batch's column another name.")
    return table.add_column(0, name, pa.repeat(pa.scalar(batch), table.num_rows))


def _below(
    asset: str,
    manifests: Sequence[Manifest],
    tables: "Sequence[pa.Table]",
    columns: Sequence[str] | None,
    batch_column: str | None,
) -> "pa.Table":
    import pyarrow as pa

    if len(tables) == 1:
        return tables[0]
    if trouble := _clash(asset, manifests, columns):
        raise StoreError(trouble)
    # what is left to bring together are columns that are not everywhere, and offsets of 32 and 64 bits
    whole = pa.concat_tables(tables, promote_options="permissive")
    if columns is None:
        return whole
    return whole.select([*([batch_column] if batch_column else []), *columns])


def _clash(asset: str, manifests: Sequence[Manifest], columns: Sequence[str] | None) -> str | None:
    """Which batches hold other types in a column, if any do."""
    types: dict[str, tuple[str, str]] = {}
    for manifest in manifests:
        for name, type_ in manifest.schema:
            first, batch = types.setdefault(name, (type_, manifest.batch))
            if (columns is None or name in columns) and not same_type(first, type_):
                return (
                    f"The batches of {asset} do not fit below each other: {name!r} is {first} in [{batch}] and "
                    f"{type_} in [{manifest.batch}]; read them apart and cast, or leave the column out with `columns`."
                )
    return None


def _parquet(files: Sequence[str], more: str = "") -> str:
    listed = ", ".join(_text(path) for path in files)
    return f"read_parquet([{listed}], union_by_name=true, hive_partitioning=false{more})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
