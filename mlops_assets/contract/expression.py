"""Small expressions over a table's columns, such as ``arr_delay > 15``.

What belongs here: reading an expression, saying what is wrong with it, knowing its columns and its type, and computing
it. What does not: which expressions a contract has (``target``, ``windows``).

The language: columns (any name in backticks: `` `Total Charges` ``), numbers, texts, ``true``, ``false``; ``+ - * /``;
``== != < <= > >=``; ``and or not``; ``in (..)``, ``not in (..)``; ``is null``, ``is not null``. A missing operand gives
a missing value; ``and``/``or`` follow Kleene (false and null is false); a division by zero has no value. Texts that are
compared with dates are read as dates. It is parsed as Python syntax and never evaluated as Python.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from mlops_assets.contract.yamlnodes import suggest
from mlops_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["boolean", "number", "string", "date", "timestamp"]

KINDS: dict[str, Kind] = {
    "string": "string",
    "int64": "number",
    "float64": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
_WORDS = {"boolean": "a truth value", "number": "a number", "string": "a text", "date": "a date", "timestamp": "a time"}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
_LONGEST = 2000
_LARGEST = 2**63 - 1
# Quoted texts are matched first, so that a backtick inside one stays a letter.
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`([^`]+)`""")


class ExpressionError(UserError):
    """A text that is no expression, or one that does not fit the table's columns."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression; ``columns`` in the order of their first appearance."""

    text: str
    columns: tuple[str, ...]
    _root: ast.expr = field(repr=False, compare=False)
    _aliases: Mapping[str, str] = field(repr=False, compare=False)

    def kind(self, types: Mapping[str, str]) -> Kind:
        """The kind of value it gives over columns of these contract types.

        Raises ExpressionError naming an unknown column (with a suggestion) or operands that do not fit.
        """
        for name in self.columns:
            if name not in types:
                raise ExpressionError(f"{self.text!r}: there is no column {name!r}{suggest(name, types)}")
        return _Typing(self, {name: KINDS[types[name]] for name in self.columns}).kind(self._root)

    def column(self) -> str | None:
        """The column's name when the expression is nothing but one column."""
        return self._name(self._root) if isinstance(self._root, ast.Name) else None

    def evaluate(self, table: "pa.Table") -> "pa.Array":
        """One value for each row of ``table``, which holds at least ``columns``; no operand is changed."""
        import pyarrow as pa  # reading a contract must not load it

        value = _evaluate(self, self._root, table)
        return value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value

    def _name(self, node: ast.Name) -> str:
        return self._aliases.get(node.id, node.id)


def parse(text: str) -> Expression:
    """Read an expression; raises ExpressionError with what is wrong and, for syntax, the position."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"An expression has at most {_LONGEST} letters, this one has {len(text)}.")
    aliases: dict[str, str] = {}

    def alias(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        name = f"quoted_column_{len(aliases)}_"
        aliases[name] = found[1]
        return name

    code = _QUOTED.sub(alias, " ".join(text.split("\n"))).strip()
    try:
        root = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"{text!r} cannot be read{_why(code, error)}") from None
    expression = Expression(text, (), root, aliases)
    columns = _columns(expression, root)
    if not columns:
        raise ExpressionError(f"{text!r} names no column; it would be the same for every row.")
    return Expression(text, columns, root, aliases)


def _why(code: str, error: Exception) -> str:
    if re.search(r"(?<![=!<>])=(?!=)", code):
        return "; write '==' to compare."
    if re.search(r"\b(AND|OR|NOT|IN|IS)\b", code):
        return "; write and, or, not, in, is in small letters."
    if isinstance(error, SyntaxError) and error.offset:
        return f" at letter {error.offset}: {error.msg}."
    return "; is something missing at its end?"


def _columns(expression: Expression, node: ast.expr) -> tuple[str, ...]:
    """Names in the order they are written; refuses everything that is not in the language."""
    if isinstance(node, ast.Name):
        return () if _constant(node) else (expression._name(node),)
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value > _LARGEST:
        raise ExpressionError(f"{expression.text!r}: {node.value} is larger than any whole number in a table.")
    if isinstance(node, ast.Compare):
        for comparison, right in zip(node.ops, node.comparators, strict=True):
            _check_comparison(expression.text, comparison, right)
    return tuple(dict.fromkeys(name for part in _parts(expression, node) for name in _columns(expression, part)))


def _parts(expression: Expression, node: ast.expr) -> list[ast.expr]:
    """The operands of a node, or ExpressionError when it is not part of the language."""
    match node:
        case ast.Constant(value=value) if value is None or type(value) in (bool, int, float, str):
            return []
        case ast.BoolOp(values=values):
            return values
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            return [operand]
        case ast.BinOp(op=operator, left=left, right=right) if type(operator) in _ARITHMETIC:
            return [left, right]
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            parts = [left]
            for comparison, right in zip(ops, comparators, strict=True):
                parts += _items(right) if isinstance(comparison, ast.In | ast.NotIn) else [right]
            return parts
        case _:
            raise ExpressionError(
                f"{expression.text!r}: {ast.unparse(node)!r} is not part of the language (columns, numbers, texts, "
                "+ - * /, comparisons, and, or, not, in (..), is null); compute it in features.py or in the data."
            )


def _check_comparison(text: str, op: ast.cmpop, right: ast.expr) -> None:
    null = _constant(right) == (None,)
    match op:
        case ast.In() | ast.NotIn():
            if not all(_constant(item) not in ((), (None,)) for item in _items(right)):
                raise ExpressionError(f"{text!r}: 'in' needs a list of numbers or texts, like in ('a', 'b').")
        case ast.Is() | ast.IsNot():
            if not null:
                raise ExpressionError(f"{text!r}: 'is' goes with null only; write '==' to compare.")
        case _:
            if null:
                raise ExpressionError(f"{text!r}: nothing equals null; write 'is null' or 'is not null'.")


def _operator(node: ast.expr) -> str:
    """How a sentence calls the operator of a node."""
    match node:
        case ast.BoolOp(op=ast.And()):
            return "'and'"
        case ast.BoolOp():
            return "'or'"
        case ast.UnaryOp(op=ast.Not()):
            return "'not'"
        case ast.BinOp(op=operator):
            return repr(_ARITHMETIC[type(operator)])
        case _:
            return "a sign"


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple | ast.List) else [node]


def _constant(node: ast.expr) -> tuple[Any, ...]:
    """The value of a constant in a tuple of one; the empty tuple for anything else."""
    match node:
        case ast.Constant(value=value):
            return (value,)
        case ast.Name(id=name) if name.lower() in _CONSTANTS:
            return (_CONSTANTS[name.lower()],)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return (-value,)
        case _:
            return ()


@dataclass(frozen=True)
class _Typing:
    """Which kind each part of an expression has, or the sentence why it cannot be."""

    expression: Expression
    kinds: Mapping[str, Kind]

    def kind(self, node: ast.expr) -> Kind:
        constant = _constant(node)
        if constant:
            return self._constant(constant[0])
        if isinstance(node, ast.Name):
            return self.kinds[self.expression._name(node)]
        if isinstance(node, ast.Compare):
            left = node.left
            for comparison, right in zip(node.ops, node.comparators, strict=True):
                self._compare(left, comparison, right)
                left = right
            return "boolean"
        logical = isinstance(node, ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))
        wanted: Kind = "boolean" if logical else "number"
        for part in _parts(self.expression, node):
            self._need(part, wanted, _operator(node))
        return wanted

    def _constant(self, value: object) -> Kind:
        if value is None:
            raise self._error("null stands alone", "write 'is null' or 'is not null'")
        return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"

    def _need(self, node: ast.expr, wanted: Kind, where: str) -> None:
        found = self.kind(node)
        if found != wanted:
            raise self._error(f"{self._shown(node)} is {_WORDS[found]}", f"{where} needs {_WORDS[wanted]}")

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> None:
        if isinstance(op, ast.Is | ast.IsNot):
            self.kind(left)
            return
        for item in _items(right) if isinstance(op, ast.In | ast.NotIn) else [right]:
            one, other = self.kind(left), self.kind(item)
            if not isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) and "boolean" in (one, other):
                raise self._error("a truth value has no order", "compare it with == or !=")
            times = {one, other} & {"date", "timestamp"}
            if one != other and "string" in (one, other) and times:
                self._check_time(left if one == "string" else item)
            elif one != other:
                raise self._error(
                    f"{self._shown(left)} is {_WORDS[one]} and {self._shown(item)} is {_WORDS[other]}",
                    "compare like with like",
                )

    def _check_time(self, node: ast.expr) -> None:
        value = _constant(node)
        if not value:
            raise self._error(f"{self._shown(node)} is a text", "only a written date, like '2013-01-31', fits a date")
        try:
            datetime.fromisoformat(value[0])
        except ValueError:
            raise self._error(f"{value[0]!r} is no date", "write it like '2013-01-31'") from None

    def _shown(self, node: ast.expr) -> str:
        return repr(self.expression._name(node)) if isinstance(node, ast.Name) else ast.unparse(node)

    def _error(self, problem: str, advice: str) -> ExpressionError:
        return ExpressionError(f"{self.expression.text!r}: {problem}; {advice}.")


def _evaluate(expression: Expression, node: ast.expr, table: "pa.Table") -> Any:
    """An array or, for constants, a scalar; pyarrow's types have no stubs, hence Any."""
    import pyarrow as pa
    import pyarrow.compute as pc

    constant = _constant(node)
    if constant:
        return pa.scalar(constant[0])
    result: Any = None
    match node:
        case ast.Name():
            result = table[expression._name(node)]
            if pa.types.is_dictionary(result.type):
                result = pc.cast(result, result.type.value_type)
        case ast.BoolOp(op=junction, values=values):
            combine = pc.and_kleene if isinstance(junction, ast.And) else pc.or_kleene
            result = _evaluate(expression, values[0], table)
            for part in values[1:]:
                result = combine(result, _evaluate(expression, part, table))
        case ast.UnaryOp(op=sign, operand=operand):
            result = _evaluate(expression, operand, table)
            if not isinstance(sign, ast.UAdd):
                result = pc.invert(result) if isinstance(sign, ast.Not) else pc.negate(result)
        case ast.BinOp(op=operator, left=left, right=right):
            result = _arithmetic(operator, _evaluate(expression, left, table), _evaluate(expression, right, table))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for comparison, right in zip(ops, comparators, strict=True):
                step = _comparison(expression, left, comparison, right, table)
                result = step if result is None else pc.and_kleene(result, step)
                left = right
        case _:  # parse lets nothing else through
            raise AssertionError(ast.dump(node))
    return result


def _arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    # float64 throughout: whole numbers would wrap around or fail beyond 64 bits, and `/` would truncate.
    left, right = pc.cast(left, pa.float64()), pc.cast(right, pa.float64())
    match op:
        case ast.Add():
            return pc.add(left, right)
        case ast.Sub():
            return pc.subtract(left, right)
        case ast.Mult():
            return pc.multiply(left, right)
        case _:
            return pc.divide(left, pc.if_else(pc.equal(right, 0.0), pa.scalar(None, pa.float64()), right))


def _comparison(expression: Expression, left: ast.expr, op: ast.cmpop, right: ast.expr, table: "pa.Table") -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    one = _evaluate(expression, left, table)
    if isinstance(op, ast.Is | ast.IsNot):
        missing = pc.is_null(one, nan_is_null=True)
        return missing if isinstance(op, ast.Is) else pc.invert(missing)
    if isinstance(op, ast.In | ast.NotIn):
        values = [_constant(item)[0] for item in _items(right)]
        if any(isinstance(value, float) for value in values):
            one = pc.cast(one, pa.float64())
        wanted = pa.array([_moment(value, one.type) for value in values], one.type)
        # is_in calls a missing value "not in the list"; here it is not known.
        found = pc.if_else(pc.is_null(one), pa.scalar(None, pa.bool_()), pc.is_in(one, value_set=wanted))
        return found if isinstance(op, ast.In) else pc.invert(found)
    other = _evaluate(expression, right, table)
    if isinstance(one, pa.Scalar) != isinstance(other, pa.Scalar):
        if isinstance(one, pa.Scalar):
            one = _like(one, other.type)
        else:
            other = _like(other, one.type)
    return getattr(pc, _COMPARISONS[type(op)])(one, other)


def _like(scalar: Any, kind: Any) -> Any:
    """A written date beside a column of dates as that column's own type; any other scalar as it is."""
    import pyarrow as pa

    if not pa.types.is_temporal(kind) or not isinstance(scalar.as_py(), str):
        return scalar
    return pa.scalar(_moment(scalar.as_py(), kind), kind)


def _moment(value: Any, kind: Any) -> Any:
    """A written date as ``date`` or ``datetime`` where ``kind`` is temporal; a time without a zone is UTC."""
    import pyarrow as pa

    if not pa.types.is_temporal(kind) or not isinstance(value, str):
        return value
    if pa.types.is_date(kind):
        return date.fromisoformat(value[:10])
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment if kind.tz is not None else moment.replace(tzinfo=None)
