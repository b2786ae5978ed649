"""A block's rows get the values of the one-file commands, and no row is lost."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import torch

from bigcode_cli.distributed.cluster import Resources, Share, share_out, versions
from bigcode_cli.distributed.inputs import find_files, split
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import (
    BlockSize,
    BlockStats,
    DataFormat,
    JobKind,
    ModelPlan,
    Plan,
)
from bigcode_cli.distributed.tracker import FATAL_DEATHS, Attempt, Tracker
from bigcode_cli.distributed.worker import BlockComputer, Listener, output_schema
from bigcode_cli.framework.errors import Failure
from gpt_bigcode.checkpoint.loading import save_model
from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.modeling.heads import GPTBigCodeForTokenClassification
from gpt_bigcode.scoring.text_scorer import TextScorer

TEXTS = [
    "def area(width, height):\n    return width * height\n",
    "",
    None,
    "größer 日本語 😀\n" * 40,
    "nul \0 byte",
    "x = 1\n" * 200,
]


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that find spans of two kinds in any text."""
    folder = tmp_path_factory.mktemp("tagger")
    shutil.copy(tiny_checkpoint / "tokenizer.json", folder)
    labels = ["O", "B-KEY", "I-KEY", "B-NAME", "I-NAME"]
    values = json.loads((tiny_checkpoint / "config.json").read_text("utf-8"))
    values["id2label"] = {str(number): label for number, label in enumerate(labels)}
    values["label2id"] = {label: number for number, label in enumerate(labels)}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = GPTBigCodeForTokenClassification(GPTBigCodeConfig.from_dict(values))
    save_model(model, folder)
    return folder


def redacted(data: bytes, spans: list[dict[str, Any]], encoding: str = "utf-8") -> bytes:
    """What is expected: the bytes with each span replaced by its label."""
    place, parts = 0, []
    for span in spans:
        parts += [data[place : span["start"]], f"<{span['label']}>".encode(encoding)]
        place = span["end"]
    return b"".join([*parts, data[place:]])


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
    output = Output(pafs.LocalFileSystem(), str(tmp_path / "out"), plan.output_format)
    size = output.prepare(plan, [file])
    (block,), schema, file = split(filesystem, file, size)
    output.begin(plan, [file], size)
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
    told: list[int | None] = []
    plan = make_plan(tiny_checkpoint, JobKind.SCORE)
    attempt = Attempt(probe=True, left_out=frozenset({3}))
    rows, stats = computed(
        plan,
        tmp_path,
        {"content": TEXTS},
        attempt=attempt,
        listener=Listener(at=told.append),
    )
    assert rows[3]["status"] == "error"
    assert rows[3]["reason"] == f"ended {FATAL_DEATHS} workers"
    assert told == [0, 1, 5, None]
    assert stats.failed == 2


@pytest.mark.parametrize("attempt", [Attempt(probe=True), Attempt(probe=True, alone=True)])
def test_a_death_changes_no_value(tiny_checkpoint: Path, tmp_path: Path, attempt: Attempt) -> None:
    plan = make_plan(tiny_checkpoint, JobKind.SCORE)
    for name in ("plain", "again"):
        (tmp_path / name).mkdir()
    plain, counts = computed(plan, tmp_path / "plain", {"content": TEXTS})
    again, others = computed(plan, tmp_path / "again", {"content": TEXTS}, attempt=attempt)
    assert counts.rows == others.rows
    if attempt.alone:
        assert [row["nll"] for row in again] == pytest.approx([row["nll"] for row in plain])
    else:
        assert (again, others) == (plain, counts)


def test_deaths_find_the_row() -> None:
    tracker = Tracker()
    assert tracker.begin("a") == Attempt()
    assert tracker.begin("a") == Attempt(probe=True)
    tracker.at("a", 7)
    assert tracker.begin("a") == Attempt(probe=True)  # one death alone may be the machine's
    tracker.at("a", 6)
    tracker.at("a", 7)
    assert tracker.begin("a") == Attempt(probe=True, left_out=frozenset({7}))
    tracker.end("a")
    assert tracker.begin("a") == Attempt()


def test_rows_that_end_workers_only_together_are_kept_alone() -> None:
    tracker = Tracker()
    tracker.begin("a")
    for _ in range(FATAL_DEATHS - 1):
        assert not tracker.begin("a").alone
        tracker.at("a", 0)
        tracker.at("a", None)
    assert tracker.begin("a").alone


def test_progress_is_that_of_unfinished_blocks() -> None:
    tracker = Tracker()
    for name in "ab":
        tracker.begin(name)
        tracker.advance(name, (1, 20, 0))
    assert tracker.progress() == (2, 40, 0)
    tracker.end("a")
    assert tracker.progress() == (1, 20, 0)
    tracker.begin("b")
    assert tracker.progress() == (0, 0, 0)


def test_workers_that_die_while_they_load_are_counted() -> None:
    tracker = Tracker()
    assert [tracker.loading(1) for _ in range(4)] == [False, False, False, True]
    tracker.loaded()
    assert not tracker.loading(1)


@pytest.mark.parametrize(
    ("cpus", "workers", "threads", "share"),
    [
        ([2.0], None, None, (2, 1, 0.9)),
        ([2.0], 1, None, (1, 2, 1.8)),
        ([2.0], 1, 1, (1, 1, 1.8)),
        ([2.0], 5, None, (5, 1, 0.2)),
        ([1.0, 1.0], 1, None, (1, 1, 0.9)),
        ([16.0, 4.0], 4, None, (4, 4, 3.6)),
        ([0.5], None, None, (1, 1, 0.25)),
    ],
)
def test_processors_are_shared_out(
    cpus: list[float], workers: int | None, threads: int | None, share: tuple[int, int, float]
) -> None:
    found = share_out(cpus, Resources(workers=workers, threads=threads))
    assert found == Share(workers=share[0], threads=share[1], cpus=share[2], gpus=0.0)


def test_an_output_folder_is_of_one_run(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plan = make_plan(tiny_checkpoint, JobKind.SCORE)
    output = Output(pafs.LocalFileSystem(), str(tmp_path / "out"), DataFormat.PARQUET)
    size = BlockSize(rows=7, bytes=70)
    assert output.prepare(plan, []) == BlockSize()
    output.begin(plan, [], size)
    assert output.prepare(plan, []) == size
    other = replace(plan, model=replace(plan.model, precision="int8"))
    with pytest.raises(Failure, match=r"model.precision \(float32, now int8\)"):
        output.prepare(other, [])
    with pytest.raises(Failure, match=r"limit \(None, now 5\)"):
        output.prepare(replace(plan, limit=5), [])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(Failure, match="holds other files"):
        Output(pafs.LocalFileSystem(), str(tmp_path / "mine"), DataFormat.PARQUET).prepare(plan, [])


def test_what_ended_workers_were_writing_is_dropped(tmp_path: Path) -> None:
    output = Output(pafs.LocalFileSystem(), str(tmp_path / "out"), DataFormat.PARQUET)
    output.drop_partials()
    parts = tmp_path / "out" / "_parts" / "key"
    parts.mkdir(parents=True)
    for name in ("00000001.parquet", "00000001.json", "00000002.parquet.tmp-1f2e"):
        (parts / name).touch()
    output.drop_partials()
    assert {path.name for path in parts.iterdir()} == {"00000001.parquet", "00000001.json"}


def test_what_was_computed_may_not_change(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plan = make_plan(tiny_checkpoint, JobKind.SCORE)
    computed(plan, tmp_path, {"content": TEXTS})
    output = Output(pafs.LocalFileSystem(), str(tmp_path / "out"), DataFormat.PARQUET)
    _, (file,) = find_files(str(tmp_path / "data"))
    more = replace(file, name="b.parquet")
    assert output.prepare(plan, [file, more]) == BlockSize()
    with pytest.raises(Failure, match=r"a\.parquet has changed or is new"):
        output.prepare(plan, [replace(file, size=1)])
    with pytest.raises(Failure, match=r"a\.parquet is not in the data"):
        output.prepare(plan, [more])
    with pytest.raises(Failure, match=r"would be written to a\.parquet"):
        output.prepare(plan, [file, file])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
)
def test_a_redacted_column_keeps_its_type(tagger: Path, tmp_path: Path, kind: pa.DataType) -> None:
    plan = make_plan(tagger, JobKind.TAG, redact=True)
    texts = ["x = 1\n", None, "\ufeffgrößer = 'jane.roe@mail.examplecorp.com'\n" * 3]
    rows, stats = computed(plan, tmp_path, {"content": pa.array(texts).cast(kind)})
    assert rows[1]["content"] is None
    for row, text in zip(rows, texts, strict=True):
        found = row["content"]
        if text is not None:
            expected = redacted(text.encode(), row["spans"])
            assert (found if isinstance(found, bytes) else found.encode()) == expected
    assert sum(stats.spans.values()) > 0


def test_a_search_reads_other_encodings(tagger: Path, tmp_path: Path) -> None:
    plan = make_plan(tagger, JobKind.TAG, redact=True)
    text = "größer = 'jane'\n" * 30
    texts = [text.encode("latin-1"), b"\xff\xfe" + text.encode("utf-16-le"), b"\0\xff"]
    rows, _ = computed(plan, tmp_path, {"content": pa.array(texts, pa.binary())})
    assert [row["status"] for row in rows] == ["ok", "ok", "skipped"]
    assert rows[2]["content"] is None
    for row, data, encoding in zip(rows, texts, ("latin-1", "utf-16-le"), strict=False):
        assert row["spans"]
        assert row["content"] == redacted(data, row["spans"], encoding)
    lengths = [[span["end"] - span["start"] for span in row["spans"]] for row in rows[:2]]
    assert lengths[1] == [2 * length for length in lengths[0]]
