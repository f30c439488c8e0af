"""A dataset's dbt project as frozen values: what is run for a batch, what is asked of it, and what people are told.

What belongs here: shapes and their plain JSON. What does not: making them (``compiling``), keeping them (``cache``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

CLEANED = "cleaned"
"""The model that gives a batch its ``cleaned``."""

FOLDER = "dbt"
"""Where in a dataset's folder its dbt project lies."""

PREFIX = "dbt_"
"""What the names of checks begin with that are tests of dbt."""

TYPES: Mapping[str, str] = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
"""The types of a contract as DuckDB calls them."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model as dbt compiled it. ``lines`` has for each line of ``sql`` the line of ``file`` that it comes from.

    ``relation`` is its quoted name with database and schema, ``file`` is relative to the dbt project.
    """

    name: str
    file: str
    relation: str
    schema: str
    kind: Literal["view", "table"]
    sql: str
    line: int = 1
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DataTest:
    """One data test as dbt compiled it: a query for failing rows.

    ``about`` is the relation whose rows are counted, ``about_name`` how people call it. ``shown`` are the columns of
    failing rows that people may see, most telling first.
    """

    name: str
    id: str
    file: str
    severity: Literal["block", "warn"]
    description: str
    about: str
    about_name: str
    sql: str
    fail_calc: str = "count(*)"
    warn_if: str = "!= 0"
    error_if: str = "!= 0"
    limit: int | None = None
    shown: tuple[str, ...] = ()
    line: int = 1
    lines: tuple[int, ...] = ()

    @property
    def check(self) -> str:
        """The name of the check."""
        return f"{PREFIX}{self.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a test found: ``failures`` as dbt counts them, of ``n`` rows; ``rows`` are some of those that fail.

    ``status`` is dbt's word: a test of severity error may also only warn. ``trouble`` is why there is an error: the
    test could not be computed.
    """

    test: DataTest
    n: int
    failures: int
    status: Literal["pass", "warn", "fail", "error"]
    rows: tuple[Mapping[str, Any], ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class SqlProject:
    """A dbt project, compiled.

    ``models`` are in an order in which they can be made; ``sources`` are those of the contract that they or the tests
    read. ``own_run`` says why dbt must run the models itself, and is empty where their SQL is all there is to it.
    ``code`` are digests of what ``cleaned`` follows from, ``rules`` of what each test asks. ``lineage`` has for each
    column of ``cleaned`` the (source, column) pairs that its values come from; ``unresolved`` are the columns of which
    that could not be found out.
    """

    folder: Path
    key: str
    models: tuple[Model, ...]
    tests: tuple[DataTest, ...]
    sources: tuple[str, ...]
    code: Mapping[str, str]
    rules: Mapping[str, str]
    own_run: str = ""
    description: str = ""
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()

    @property
    def cleaned(self) -> Model:
        """The model whose rows become ``cleaned``."""
        return next(model for model in self.models if model.name == CLEANED)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without where the project lies."""
        return {name: value for name, value in asdict(self).items() if name not in ("folder", "key")}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], folder: Path, key: str) -> "SqlProject":
        """What ``to_dict`` wrote."""
        return cls(
            **{
                **found,
                "folder": folder,
                "key": key,
                "models": tuple(Model(**{**each, "lines": tuple(each["lines"])}) for each in found["models"]),
                "tests": tuple(
                    DataTest(**{**each, "shown": tuple(each["shown"]), "lines": tuple(each["lines"])})
                    for each in found["tests"]
                ),
                "sources": tuple(found["sources"]),
                "owners": tuple(found["owners"]),
                "unresolved": tuple(found["unresolved"]),
                "lineage": {
                    name: tuple((source, column) for source, column in pairs)
                    for name, pairs in found["lineage"].items()
                },
            }
        )
