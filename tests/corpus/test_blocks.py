"""A block's rows get the values of the one-file commands, and no row is lost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from bigcode_cli.distributed.engine import Deaths, versions
from bigcode_cli.distributed.inputs import find_files, split
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import BlockStats, DataFormat, JobKind, ModelPlan, Plan
from bigcode_cli.distributed.worker import FATAL_DEATHS, BlockComputer, output_schema
from bigcode_cli.framework.errors import Failure
from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.scoring.text_scorer import TextScorer

TEXTS = [
    "def area(width, height):\n    return width * height\n",
    "",
    None,
    "größer 日本語 😀\n" * 40,
    "nul \0 byte",
    "x = 1\n" * 200,
]


def make_plan(folder: Path, job: JobKind, **more: Any) -> Plan:
    model = ModelPlan(
        name="tiny",
        folder=str(folder),
        revision=None,
        content="0",
        device="cpu",
        precision="float32",
        threads=1,
        batch_tokens=None,
    )
    options = {"window": "strided", "stride": None} if job is JobKind.SCORE else {}
    values = {"options": options, "versions": versions(), **more}
    return Plan(job=job, model=model, text_column="content", **values)


def computed(
    plan: Plan, tmp_path: Path, rows: dict[str, Any], **how: Any
) -> tuple[list[dict[str, Any]], BlockStats]:
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(pa.table(rows), data / "a.parquet")
    filesystem, (file,) = find_files(str(data))
    (block,), schema, file = split(filesystem, file)
    output = Output(pafs.LocalFileSystem(), str(tmp_path / "out"), plan.output_format)
    output.prepare(plan, [file])
    wide = output_schema(plan, schema)
    stats = BlockComputer(plan, filesystem, output).compute(file, block, wide, **how)
    output.join(file, [block], wide)
    table = pq.read_table(tmp_path / "out" / "a.parquet")
    assert table.schema.equals(wide)
    return table.to_pylist(), stats


def test_scores_are_those_of_the_library(tiny_checkpoint: Path, tmp_path: Path) -> None:
    meta = pa.array([{"n": n, "tags": ["a"]} for n in range(len(TEXTS))])
    plan = make_plan(tiny_checkpoint, JobKind.SCORE)
    rows, stats = computed(plan, tmp_path, {"content": TEXTS, "meta": meta})
    scorer = TextScorer.load(tiny_checkpoint, device="cpu", precision="float32")
    for row, text, other in zip(rows, TEXTS, meta.to_pylist(), strict=True):
        assert (row["content"], row["meta"]) == (text, other)
        if text is None or "\0" in text:
            continue
        score = scorer.score(text)
        assert row["status"] == "ok"
        assert row["tokens"] == score.tokens
        assert row["nll"] == pytest.approx(score.nll, rel=1e-5)
        if score.perplexity is None:
            assert row["perplexity"] is None
        else:
            assert row["perplexity"] == pytest.approx(score.perplexity, rel=1e-5)
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "ok", "skipped", "ok"]
    assert rows[2]["reason"] == "null"
    assert rows[1]["bits_per_byte"] is None
    assert (stats.rows, stats.written, stats.failed, stats.skipped) == (6, 6, 1, 1)


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
)
def test_any_column_of_text(tiny_checkpoint: Path, tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["x = 1\n", None, "y = 2\n"]).cast(kind)
    rows, _ = computed(make_plan(tiny_checkpoint, JobKind.SCORE), tmp_path, {"content": texts})
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]


def test_bytes_that_are_not_utf8_keep_their_place(tiny_checkpoint: Path, tmp_path: Path) -> None:
    texts = pa.array([b"a\xff", b"ok"], pa.binary())
    rows, _ = computed(make_plan(tiny_checkpoint, JobKind.SCORE), tmp_path, {"content": texts})
    assert rows[0]["reason"] == "byte 0xff at offset 1 is not UTF-8"
    assert [row["status"] for row in rows] == ["skipped", "ok"]


def test_where_keeps_rows(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plan = make_plan(tiny_checkpoint, JobKind.SCORE, where="tokens > 20")
    rows, stats = computed(plan, tmp_path, {"content": TEXTS})
    assert rows
    assert all(row["tokens"] > 20 for row in rows)
    assert (stats.rows, stats.written) == (6, len(rows))


def test_completions_are_those_of_the_library(tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = {"max_tokens": 8}
    plan = make_plan(tiny_checkpoint, JobKind.COMPLETE, options=options)
    rows, _ = computed(plan, tmp_path, {"content": ["def f(", "x ="]})
    model = TextModel.load(tiny_checkpoint, device="cpu", precision="float32")
    for row in rows:
        choice = model.complete(row["content"], CompletionOptions(max_tokens=8)).choices[0]
        assert row["completion"] == choice.text
        assert row["completion_tokens"] == choice.completion_tokens


def test_infills_need_both_columns(tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = {"max_tokens": 4}
    plan = make_plan(tiny_checkpoint, JobKind.INFILL, options=options, suffix_column="suffix")
    data = {"content": ["a = ", "b", None], "suffix": ["\nc", None, "d"]}
    rows, _ = computed(plan, tmp_path, data)
    assert [row["status"] for row in rows] == ["ok", "error", "error"]


def test_a_row_that_ends_workers_is_marked(tiny_checkpoint: Path, tmp_path: Path) -> None:
    begun: list[int] = []
    plan = make_plan(tiny_checkpoint, JobKind.SCORE)
    rows, stats = computed(
        plan, tmp_path, {"content": TEXTS}, skipped=frozenset({3}), begin=begun.append
    )
    assert rows[3]["status"] == "error"
    assert rows[3]["reason"] == f"ended {FATAL_DEATHS} workers"
    assert begun == [0, 1, 5]
    assert stats.failed == 2


def test_deaths_find_the_row() -> None:
    deaths = Deaths()
    assert deaths.begin("a") == (0, [])
    assert deaths.begin("a") == (1, [])
    assert deaths.begin("a") == (2, [])  # from here on row by row
    deaths.at("a", 7)
    assert deaths.begin("a") == (0, [7])
    deaths.end("a")
    assert deaths.begin("a") == (0, [])


def test_an_output_folder_is_of_one_run(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plan = make_plan(tiny_checkpoint, JobKind.SCORE)
    output = Output(pafs.LocalFileSystem(), str(tmp_path / "out"), DataFormat.PARQUET)
    assert not output.prepare(plan, [])
    assert output.prepare(plan, [])
    other = replace(plan, model=replace(plan.model, precision="int8"))
    with pytest.raises(Failure, match=r"model.precision \(float32, now int8\)"):
        output.prepare(other, [])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(Failure, match="holds other files"):
        Output(pafs.LocalFileSystem(), str(tmp_path / "mine"), DataFormat.PARQUET).prepare(plan, [])
