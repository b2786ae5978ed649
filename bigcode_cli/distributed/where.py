"""`--where`: a filter over the output's columns, such as `bits_per_byte < 2 and tokens > 50`."""

import ast
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bigcode_cli.framework.errors import UsageFailure

_COMPARISONS: dict[type[ast.cmpop], Any] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_MOST_CHARACTERS = 1000


def parse(text: str) -> tuple[pc.Expression, frozenset[str]]:
    """Read a filter: column names, numbers and strings with < <= > >= == !=, in, and, or, not.

    Rows for which it is unknown (a null) are left out.

    Returns:
        The filter, and the names of the columns it uses.

    Raises:
        UsageFailure: it is something else.
    """
    if len(text) > _MOST_CHARACTERS:
        raise UsageFailure(f"--where: longer than {_MOST_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        return _condition(tree.body), names
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        message = f"--where {text[:80]!r}: {reason}"
        hint = "an example: --where 'bits_per_byte < 2 and tokens > 50'"
        raise UsageFailure(message, hint=hint) from None


def _condition(node: ast.expr) -> pc.Expression:
    if isinstance(node, ast.BoolOp):
        parts = [_condition(value) for value in node.values]
        if isinstance(node.op, ast.And):
            return reduce(lambda a, b: a & b, parts)
        return reduce(lambda a, b: a | b, parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_condition(node.operand)
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        parts = [
            _comparison(left, operator, right)
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return reduce(lambda a, b: a & b, parts)
    raise ValueError("is not a comparison of a column with a value")


def _comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> pc.Expression:
    if isinstance(operator, (ast.In, ast.NotIn)):
        if not isinstance(right, (ast.List, ast.Tuple)):
            why = "`in` needs a list of values, such as ['Python', 'C']"
            raise ValueError(why)  # noqa: TRY004  # what was written, not a type
        found = _value(left).isin([_constant(item) for item in right.elts])
        return ~found if isinstance(operator, ast.NotIn) else found
    if type(operator) not in _COMPARISONS:
        raise ValueError("`is` cannot be used; write == or !=")
    condition: pc.Expression = _COMPARISONS[type(operator)](_value(left), _value(right))
    return condition


def _value(node: ast.expr) -> pc.Expression:
    return pc.field(node.id) if isinstance(node, ast.Name) else pc.scalar(_constant(node))


def _constant(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_constant(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, bool)):
        return node.value
    raise ValueError("only column names, numbers and strings can be compared")


def check(text: str, name: str, schema: pa.Schema) -> None:
    """Try a filter on a file's columns.

    Raises:
        UsageFailure: it names a column that is not there, or compares what cannot be compared.
    """
    condition, columns = parse(text)
    unknown = sorted(columns - {*schema.names})
    if unknown:
        raise UsageFailure(f"--where: {name} has no column {unknown[0]!r}")
    try:
        select(schema.empty_table(), condition)
    except (pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UsageFailure(f"--where {text[:80]!r}: {name}: {reason}") from None


def select(table: pa.Table, condition: pc.Expression) -> pa.Table:
    """The rows for which it holds."""
    return table.filter(condition)
