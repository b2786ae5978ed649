"""`--where` reads comparisons of columns, and nothing else."""

import pyarrow as pa
import pytest

from bigcode_cli.distributed.where import parse, select
from bigcode_cli.framework.errors import UsageFailure

TABLE = pa.table(
    {"bits": [0.5, 1.5, None, 3.0], "tokens": [1, 20, 300, 4000], "label": ["C", "Go", "C", None]}
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("bits < 2", [1, 20]),
        ("bits >= 1.5 and tokens > 50", [4000]),
        ("bits < 1 or bits > 2", [1, 4000]),
        ("not bits < 2", [4000]),
        ("1 < bits < 2", [20]),
        ("label == 'C'", [1, 300]),
        ("label in ['Go', 'Rust']", [20]),
        ("tokens != 20 and label not in ('C',)", [4000]),
        ("tokens > -1", [1, 20, 300, 4000]),
    ],
)
def test_rows_for_which_it_holds(text: str, kept: list[int]) -> None:
    condition, names = parse(text)
    assert names <= set(TABLE.column_names)
    assert select(TABLE, condition)["tokens"].to_pylist() == kept


@pytest.mark.parametrize(
    "text",
    [
        *("", "bits", "bits <", "bits + 1 < 2", "f(bits) < 2", "bits.x < 2", "bits is None"),
        *("__import__('os').system('true') == 0", "bits < [1]", "label in 'Go'", "(" * 500),
        *("lambda: 0", "bits < 1j", "x" * 1001, "bits < 1; bits > 2", "bits < None"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageFailure, match="--where"):
        parse(text)
