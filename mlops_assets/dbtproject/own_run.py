"""dbt's own run of a project, in this process: for what compiled SQL alone is not enough, and for unit tests.

What belongs here: calling dbt and reading what it says. What does not: executing compiled SQL (``database``), which is
several times cheaper and what every project gets that consists of views and tables.

The file of a batch's database is always called alike, because its name is part of compiled SQL.
"""

import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from mlops_assets.contract.model import Source
from mlops_assets.dbtproject.database import DATABASE, judged
from mlops_assets.dbtproject.invoke import dbt, failures, plain
from mlops_assets.dbtproject.shape import CLEANED, TYPES, DataTest, Found, SqlProject
from mlops_assets.errors import RefusedError

_STATUS: Mapping[str, Literal["pass", "warn", "fail"]] = {"pass": "pass", "warn": "warn", "fail": "fail"}


@dataclass(frozen=True, slots=True)
class UnitTest:
    """What came of a unit test: ``difference`` is how the result differs from what was expected, if it does."""

    name: str
    model: str
    passed: bool
    difference: str = ""


class OwnRun:
    """A ``database.Run`` that leaves everything to dbt. ``sensitive`` are columns that nobody may see.

    Of a project that dbt must run itself it is not known what becomes of a column: where any is sensitive, no row that
    a test finds is shown.
    """

    def __init__(self, project: SqlProject, sensitive: Collection[str] = ()) -> None:
        self._project = project
        self._sensitive = sensitive
        self._begin()

    def _begin(self) -> None:
        scratch = tempfile.mkdtemp(prefix="dbt")
        self._remove = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        self._file = Path(scratch) / f"{DATABASE}.duckdb"
        self._connection = duckdb.connect(str(self._file))

    def lay(self, tables: Mapping[str, pa.Table]) -> None:
        """See ``Run``: every batch has a file of its own, so that nothing of another one is found in it."""
        self.close()
        self._begin()
        self._connection.execute("create schema raw")
        for name in self._project.sources:
            self._connection.register("_raw", tables[name])
            self._connection.execute(f'create table raw."{name}" as from "_raw"')
            self._connection.unregister("_raw")

    def cleaned(self) -> pa.Table:
        """See ``Run``."""
        relation = self._project.cleaned.relation
        self._drop(relation)
        for words in (["seed"], ["run", "--select", f"+{CLEANED}"]):
            trouble = failures(self._dbt(*words), self._project.folder)
            if trouble:
                raise RefusedError(*trouble)
        return self._connection.sql(f"from {relation}").to_arrow_table()

    def judge(self, cleaned: pa.Table) -> list[Found]:
        """See ``Run``."""
        relation = self._project.cleaned.relation
        if not self._kind(relation):
            self.cleaned()
        self._drop(relation)
        self._connection.register("_published", cleaned)
        self._connection.execute(f'create table {relation} as from "_published"')
        self._connection.unregister("_published")
        self._dbt("run", "--exclude", f"+{CLEANED}")
        done = self._dbt("test", "--exclude-resource-type", "unit_test")
        if done.exception is not None:
            raise RefusedError(*failures(done, self._project.folder))
        results = {each.node.unique_id: each for each in done.result}
        counts: dict[str, int] = {}
        return [self._found(test, results.get(test.id), counts) for test in self._project.tests]

    def close(self) -> None:
        """See ``Run``."""
        self._connection.close()
        self._remove()

    def _found(self, test: DataTest, result: Any, counts: dict[str, int]) -> Found:
        """What dbt says of a test, with rows from the SQL that it ran."""
        if result is None or str(result.status) == "error":
            why = result.message if result is not None else "dbt did not run it."
            return Found(test, 0, 0, "error", trouble=plain(why))
        sql = str(result.node.compiled_code)
        columns = () if self._sensitive else tuple(self._connection.sql(f"from (\n{sql}\n)").columns)
        found = judged(self._connection, self._project, replace(test, sql=sql, shown=columns), counts)
        return replace(found, failures=int(result.failures or 0), status=_STATUS[str(result.status)])

    def _kind(self, relation: str) -> str | None:
        schema, name = relation.replace('"', "").split(".")[1:]
        found = self._connection.execute(
            "select table_type from information_schema.tables where table_schema = ? and table_name = ?", [schema, name]
        ).fetchall()
        return {"VIEW": "view"}.get(found[0][0], "table") if found else None

    def _drop(self, relation: str) -> None:
        kind = self._kind(relation)
        if kind:
            self._connection.execute(f"drop {kind} {relation}")

    def _dbt(self, *words: str) -> Any:
        folder = self._project.folder
        return dbt(words, folder, self._file, _manifest(folder, self._project.key))


def unit_tests(folder: Path, sources: Iterable[Source]) -> list[UnitTest]:
    """Run the unit tests of a project over the contract's sources, of which no row is needed.

    Raises:
        RefusedError: dbt cannot run them, with what it says.
    """
    with tempfile.TemporaryDirectory(prefix="dbt") as scratch:
        file = Path(scratch) / f"{DATABASE}.duckdb"
        with duckdb.connect(str(file)) as connection:
            connection.execute("create schema raw")
            for source in sources:
                columns = ", ".join(f'"{name}" {TYPES[column.type]}' for name, column in source.columns.items())
                connection.execute(f'create table raw."{source.name}" ({columns})')
        # A unit test must know the columns of what its model reads: all models are made, of no rows.
        done = dbt(["build", "--empty", "--exclude-resource-type", "test"], folder, file)
    trouble = failures(done, folder, but="unit_test")
    if trouble:
        raise RefusedError(*trouble)
    return [_unit(each) for each in done.result if _is_unit(each)]


def _is_unit(result: Any) -> bool:
    return str(result.node.resource_type) == "unit_test"


def _unit(result: Any) -> UnitTest:
    passed = str(result.status) == "pass"
    text = "" if passed else plain(result.message or "It was not run.").strip()
    return UnitTest(result.node.name, str(result.node.unique_id).split(".")[2], passed, text)


@cache
def _manifest(folder: Path, key: str) -> Any:
    """The parsed project, once per process and ``key``: of other files it is another one."""
    assert key
    with tempfile.TemporaryDirectory(prefix="dbt") as scratch:
        done = dbt(["parse"], folder, Path(scratch) / f"{DATABASE}.duckdb")
    trouble = failures(done, folder)
    if trouble:
        raise RefusedError(*trouble)
    return done.result
