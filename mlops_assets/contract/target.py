"""The part of a contract that says what is predicted: ``target`` of ``dataset.yaml``.

What belongs here: reading that section into ``model.Target``, and whether its expression fits its task. What does not:
the expression itself (``expression``), how a prediction is judged (``evaluation``).
"""

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.cleaned import Cleaned
from mlops_assets.contract.expression import Expression, ExpressionError, parse
from mlops_assets.contract.model import Target, Task
from mlops_assets.contract.tables import UNKNOWN
from mlops_assets.contract.vocabulary import TASKS


def read_target(root: y.Section, table: Cleaned) -> tuple[Target, Expression | None]:
    """The section ``target``, and its expression where it can be read; every mistake is told to ``root.mistakes``."""
    section = root.section("target", "target", 'write {name: late, expression: "delay > 15", task: binary}.')
    if section is None:
        return Target("", "", "binary"), None
    name = section.need("name", y.text, "", "call what is predicted.")
    written = section.need("expression", y.text, "", "say what is predicted, over the columns.")
    task: Task = section.choose("task", TASKS, "binary", "one of binary, multiclass, regression.")
    positive = section.get("positive", y.plain, True)
    section.finish()
    target = Target(name, written, task, positive, section.line)
    if not written:
        return target, None
    try:
        answer = parse(written)
        for column in answer.columns if table.columns else ():  # without columns all is told already
            if column not in table.columns:
                section.wrong(f"{written!r}: there is no column {column!r}{table.unknown(column)}", "expression")
        if any(column not in table.columns or table.columns[column].type == UNKNOWN for column in answer.columns):
            return target, answer
        kind = answer.kind({column: table.columns[column].type for column in answer.columns})
    except ExpressionError as error:
        section.wrong(error.sentences[0], "expression")
        return target, None
    if name in table.columns and answer.column() != name:
        section.wrong(f"{name!r} is a column already; call the target something else.", "name")
    _check_task(section, target, answer, kind, table)
    return target, answer


def _check_task(section: y.Section, target: Target, answer: Expression, kind: str, table: Cleaned) -> None:
    if target.task != "binary" and "positive" in section:
        section.wrong("'positive' goes with binary only.", "positive")
    if target.task == "regression" and kind != "number":
        section.wrong(f"a regression predicts a number, and {target.expression!r} is a {kind}.", "expression")
    if target.task == "multiclass" and kind in ("date", "timestamp", "boolean"):
        section.wrong(f"a multiclass task predicts texts or whole numbers, not a {kind}.", "expression")
    if target.task != "binary":
        return
    column = answer.column()
    if kind == "boolean":
        if not isinstance(target.positive, bool):
            section.wrong(
                f"{target.expression!r} is true or false; 'positive' cannot be {target.positive!r}.", "positive"
            )
    elif column is None or kind in ("date", "timestamp"):
        section.wrong(f"a binary task predicts true or false, and {target.expression!r} is a {kind}.", "expression")
    elif "positive" not in section:
        section.wrong(f"'positive' is missing; say which value of {column!r} is predicted.")
    elif isinstance(target.positive, bool) or isinstance(target.positive, str) != (kind == "string"):
        section.wrong(f"'positive' is {target.positive!r} and {column!r} is a {kind}.", "positive")
    elif table.columns[column].values and target.positive not in table.columns[column].values:
        advice = y.listed(table.columns[column].values)
        section.wrong(f"'positive' is {target.positive!r} and {column!r} is one of {advice}.", "positive")
