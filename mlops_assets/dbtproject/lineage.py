"""Which delivered columns a column's values come from, read from SQL.

What belongs here: value lineage of a query through the models that it reads down to ``raw``, and what two texts of SQL
have in common. What does not: columns that only choose rows (in a join or a condition), running anything.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlglot import Expr, exp, parse_one, tokenize
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

from mlops_assets.dbtproject.shape import Model

_DIALECT = "duckdb"

_CHANGING = frozenset(
    {
        "current_timestamp", "current_date", "current_time", "localtime", "localtimestamp", "get_current_timestamp",
        "get_current_time", "transaction_timestamp", "now", "today", "random", "uuid", "gen_random_uuid", "uuidv4",
        "uuidv7", "nextval", "getenv",
    }
)  # fmt: skip
_WITHOUT_CALL = frozenset({"current_timestamp", "current_date", "current_time", "localtime", "localtimestamp"})

Pairs = tuple[tuple[str, str], ...]


def changing(sql: str) -> str | None:
    """The first thing in SQL that says something else each time it is asked: the clock, or chance."""
    tokens = tokenize(sql, read=_DIALECT)
    for number, token in enumerate(tokens):
        name = token.text.lower()
        called = tokens[number + 1].text == "(" if number + 1 < len(tokens) else False
        written = token.token_type.name in ("STRING", "IDENTIFIER")
        if name in _CHANGING and not written and (called or name in _WITHOUT_CALL):
            return token.text
    return None


def digest(sql: str) -> str:
    """A digest (128 bit) of what SQL says: comments and spacing count for nothing."""
    try:
        words = [[token.token_type.name, token.text] for token in tokenize(sql, read=_DIALECT)]
    except SqlglotError:
        words = [["SQL", sql]]
    return hashlib.blake2b(repr(words).encode(), digest_size=16).hexdigest()


class Tracer:
    """Follows columns through models to the columns of ``raw``, whose types are given by source."""

    def __init__(self, models: Sequence[Model], raw: Mapping[str, Mapping[str, str]], database: str) -> None:
        self._database = database
        self._raw = raw
        self._schema: Any = {database: {"raw": {source: dict(columns) for source, columns in raw.items()}}}
        self._models = {model.relation.replace('"', "").lower(): (place, model) for place, model in enumerate(models)}

    def trace(self, sql: str) -> dict[str, Pairs]:
        """For each column of a query's result the (source, column) pairs that its values come from.

        A column that holds what stands in the SQL itself, or a count of rows, has none; one of which it cannot be found
        out is not in the result.
        """
        try:
            query = qualify(
                self._whole(sql), schema=self._schema, dialect=_DIALECT, validate_qualify_columns=False, identify=False
            )
            scope = build_scope(query)
            names = query.named_selects
            found = {name: self._pairs(name, query, scope) for name in names}
        except SqlglotError:
            return {}
        return {name: pairs for name, pairs in found.items() if pairs is not None}

    def _pairs(self, name: str, query: Expr, scope: object) -> Pairs | None:
        try:
            root = lineage(name, query, self._schema, dialect=_DIALECT, scope=scope)
        except (SqlglotError, ValueError):
            return None
        pairs = set()
        for node in root.walk():
            if node.expression.find(exp.Columns) or isinstance(node.expression, exp.Star):
                return None
            if node.downstream:
                continue
            if isinstance(node.expression, exp.Table):
                source, column = node.expression.name, node.name.rpartition(".")[2].strip('"')
                if column not in self._raw.get(source, {}):
                    return None
                pairs.add((source, column))
            elif node.expression.find(exp.Column) or node.name == "*":
                return None
        return tuple(sorted(pairs))

    def _whole(self, sql: str) -> exp.Query:
        """The query with the models that it reads, however far above, as its first CTEs."""
        query = parse_one(sql, dialect=_DIALECT)
        if not isinstance(query, exp.Query):
            raise SqlglotError("This is no query.")
        used: dict[str, Expr] = {}
        query = self._inlined(query, used)
        for name in sorted(used, key=lambda key: -self._place(key)):
            query = query.with_(f"__{name}", as_=used[name], append=True, dialect=_DIALECT, copy=False)
            ctes = query.args["with_"].expressions
            ctes.insert(0, ctes.pop())
        return query

    def _inlined(self, query: Expr, used: dict[str, Expr]) -> exp.Query:
        for table in list(query.find_all(exp.Table)):
            relation = ".".join(part.name for part in table.parts).lower()
            if relation not in self._models:
                continue
            model = self._models[relation][1]
            if model.name not in used:
                used[model.name] = exp.null()  # a name is taken once
                used[model.name] = self._inlined(parse_one(model.sql, dialect=_DIALECT), used)
            alias = table.alias or table.name
            replaced = exp.to_table(f"__{model.name}")
            table.replace(exp.alias_(replaced, alias, table=True))
        assert isinstance(query, exp.Query)
        return query

    def _place(self, name: str) -> int:
        return next(place for place, model in self._models.values() if model.name == name)
