"""One batch's tables in a DuckDB that is thrown away afterwards, and the compiled SQL of a dbt project run over them.

What belongs here: making relations, asking for ``cleaned`` and for the rows that tests find, and telling in sentences
where SQL fails. What does not: dbt, which is not imported (``own_run`` lets dbt do all this itself), and verdicts.

What dbt does with views and tables is creating them in the order of their references and counting what each test's
query finds; the same SQL is executed here, in a fifth of the time. It sees the tables it is given and nothing else: no
file, no network; and one thread adds up numbers in one order.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from mlops_assets.dbtproject.shape import CLEANED, DataTest, Found, Model, SqlProject
from mlops_assets.errors import RefusedError

DATABASE = "batch"
"""The name of the database in compiled SQL: the stem of the file that dbt is given."""

_EXAMPLES = 20
_TELL_VALUES = frozenset({"Conversion Error", "Invalid Input Error", "Out of Range Error", "Constraint Error"})


class Run(Protocol):
    """The models and tests of a project over the tables of one batch after another."""

    def lay(self, tables: Mapping[str, pa.Table]) -> None:
        """Take the accepted rows of every source that the project reads, in place of those of another batch."""

    def cleaned(self) -> pa.Table:
        """What the model ``cleaned`` gives, in no order.

        Raises:
            RefusedError: it cannot be computed, or has other columns than the contract says.
        """

    def judge(self, cleaned: pa.Table) -> list[Found]:
        """What each test finds where ``cleaned`` is this table."""

    def close(self) -> None:
        """Throw the database away."""


class Database:
    """A ``Run`` that executes compiled SQL. Opening a DuckDB costs more than most queries: it is kept."""

    def __init__(self, project: SqlProject) -> None:
        self._project = project
        self._made: dict[str, Model] = {}
        self._published = False
        self._connection = duckdb.connect(":memory:")
        self._execute(f"attach ':memory:' as {DATABASE}")
        self._execute(f"use {DATABASE}")
        self._execute("set threads = 1")
        self._execute("set TimeZone = 'UTC'")
        self._execute("create schema raw")
        self._execute("set enable_external_access = false")
        self._execute("set lock_configuration = true")

    def lay(self, tables: Mapping[str, pa.Table]) -> None:
        """See ``Run``."""
        self._withdraw()
        for model in reversed(self._made.values()):
            self._execute(f"drop {model.kind} {model.relation}")
        self._made.clear()
        for name in self._project.sources:
            self._put(f'"{DATABASE}"."raw"."{name}"', f"raw_{name}", tables[name])

    def cleaned(self) -> pa.Table:
        """See ``Run``."""
        self._withdraw()
        for model in self._project.models:
            self._make(model)
            if model.name == CLEANED:
                break
        with _at(self._project, self._project.cleaned):
            return self._connection.sql(f"from {self._project.cleaned.relation}").to_arrow_table()

    def judge(self, cleaned: pa.Table) -> list[Found]:
        """See ``Run``."""
        for model in self._project.models:
            if model.name != CLEANED:
                self._make(model)
                continue
            if model.name in self._made:
                self._execute(f"drop {model.kind} {model.relation}")
                del self._made[model.name]
            self._put(model.relation, "published", cleaned)
            self._published = True
        counts: dict[str, int] = {}
        return [judged(self._connection, self._project, test, counts) for test in self._project.tests]

    def describe(self, model: Model) -> dict[str, str]:
        """The columns of a model by name, with the types that DuckDB gives them; it and what it reads are made."""
        for each in self._project.models:
            self._make(each)
            if each.name == model.name:
                break
        relation = self._connection.sql(f"from {model.relation}")
        return dict(zip(relation.columns, map(str, relation.types), strict=True))

    def columns_of(self, test: DataTest) -> list[str]:
        """The columns of the rows that a test finds; all models are made."""
        for model in self._project.models:
            self._make(model)
        with _at(self._project, test):
            return list(self._connection.sql(f"from (\n{test.sql}\n)").columns)

    def close(self) -> None:
        """See ``Run``."""
        self._connection.close()

    def _withdraw(self) -> None:
        """Take a published ``cleaned`` out of the model's place."""
        if self._published:
            self._execute(f"drop view {self._project.cleaned.relation}")
            self._connection.unregister("_published")
            self._published = False

    def _put(self, relation: str, name: str, table: pa.Table) -> None:
        self._connection.register(f"_{name}", table)
        self._execute(f'create or replace view {relation} as from "_{name}"')

    def _make(self, model: Model) -> None:
        if model.name in self._made:
            return
        with _at(self._project, model):
            if model.schema != "main":
                self._execute(f'create schema if not exists "{model.schema}"')
            self._execute(f"create {model.kind} {model.relation} as (\n{model.sql}\n)")
        self._made[model.name] = model

    def _execute(self, sql: str) -> None:
        self._connection.execute(sql)


def judged(connection: duckdb.DuckDBPyConnection, project: SqlProject, test: DataTest, counts: dict[str, int]) -> Found:
    """What a test finds, as dbt counts it; ``counts`` remembers how many rows a relation has."""
    try:
        return _judged(connection, project, test, counts)
    except RefusedError as error:
        return Found(test, counts.get(test.about, 0), 0, "error", trouble=str(error))


def _judged(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, test: DataTest, counts: dict[str, int]
) -> Found:
    limit = "" if test.limit is None else f"limit {test.limit}"
    with _at(project, test):
        if test.about not in counts:
            counts[test.about] = _row(connection, f"from {test.about} select count(*)")[0]
        failures, warn, error = _row(
            connection,
            f"from (\n{test.sql}\n{limit}\n) dbt_internal_test\n"
            f"select {test.fail_calc}, {test.fail_calc} {test.warn_if}, {test.fail_calc} {test.error_if}",
        )
        found = Found(test, counts[test.about], int(failures or 0), "pass")
        if error and test.severity == "block":
            found = replace(found, status="fail")
        elif warn:
            found = replace(found, status="warn")
        return found if found.status == "pass" else replace(found, rows=examples(connection, test))


def examples(connection: duckdb.DuckDBPyConnection, test: DataTest) -> tuple[Mapping[str, Any], ...]:
    """Some of the rows that a test finds, the same every time; only what people may see of them."""
    if not test.shown:
        return ()
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in test.shown)
    found = connection.sql(f"from (\n{test.sql}\n) found select {names} order by all limit {_EXAMPLES}")
    return tuple(dict(zip(test.shown, row, strict=True)) for row in found.fetchall())


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """In what the columns of ``cleaned`` differ from the contract's, both by name with DuckDB's types."""
    lacking = [f"{name} ({kind})" for name, kind in wanted.items() if name not in found]
    unknown = [name for name in found if name not in wanted]
    others = [
        f"{name} is {kind} instead of {wanted[name]}"
        for name, kind in found.items()
        if name in wanted and kind != wanted[name]
    ]
    told = [f"it lacks {', '.join(lacking)}"] if lacking else []
    told += [f"the contract does not know its {', '.join(unknown)}"] if unknown else []
    return told + others


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> Sequence[Any]:
    # A result that is not fetched to its end keeps the connection from all other work.
    row: Sequence[Any] = connection.execute(sql).fetchall()[0]
    return row


@contextmanager
def _at(project: SqlProject, what: Model | DataTest) -> Iterator[None]:
    """Tell of SQL that fails where it is written. The compiled SQL begins on the statement's second line."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        found = re.search(r"\n\s*LINE (\d+):", text)
        number = int(found[1]) - 2 if found else -1
        line = what.lines[number] if 0 <= number < len(what.lines) else what.line
        raise RefusedError(f"{project.folder / what.file}:{line}: {what.name}: {_message(text)}") from None


def _message(text: str) -> str:
    """DuckDB's message in one line. What runs into a value tells the value, which may be of a row."""
    shown = re.sub(r"\n\s*LINE \d+:.*", "", text, flags=re.DOTALL).strip()
    if shown.partition(":")[0] in _TELL_VALUES:
        shown = re.sub(r"'[^']*'|\"[^\"]*\"|-?\d[\d.]*", "...", shown)
    shown = re.sub(r"\s+", " ", shown).rstrip(".")
    return f"{shown}."
