"""`bigcode corpus`: one function per job; the work is in `distributed/`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import typer

from bigcode_cli.commands.corpus.options import (
    BatchGenerationOptions,
    ClusterOptions,
    Data,
    DataOptions,
    Labels,
    Redact,
    SuffixColumn,
)
from bigcode_cli.distributed.plan import JobKind, ModelPlan, Plan
from bigcode_cli.framework.errors import ExitStatus, Failure, UsageFailure


def score(data: Data, *, where_to: DataOptions, cluster: ClusterOptions) -> None:
    """Score every document: adds nll, bits_per_byte, perplexity and tokens."""
    options = {"window": "strided", "stride": None}
    wanted = _Wanted(job=JobKind.SCORE, options=options)
    _run(wanted, data, where_to, cluster)


def classify(data: Data, *, where_to: DataOptions, cluster: ClusterOptions) -> None:
    """Label every document: adds label and score."""
    wanted = _Wanted(job=JobKind.CLASSIFY)
    _run(wanted, data, where_to, cluster)


def tag(
    data: Data,
    *,
    where_to: DataOptions,
    cluster: ClusterOptions,
    redact: Redact = False,
    labels: Labels = None,
) -> None:
    """Find personal data and secrets in every document: adds spans, or redacts the text."""
    chosen = [name.strip() for name in (labels or "").split(",") if name.strip()]
    options = {"labels": chosen}
    wanted = _Wanted(job=JobKind.TAG, options=options, redact=redact)
    _run(wanted, data, where_to, cluster)


def complete(
    data: Data,
    *,
    where_to: DataOptions,
    cluster: ClusterOptions,
    generation: BatchGenerationOptions,
) -> None:
    """Complete every prompt: adds completion, finish_reason and completion_tokens."""
    wanted = _Wanted(job=JobKind.COMPLETE, options=_generation(generation))
    _run(wanted, data, where_to, cluster)


def infill(
    data: Data,
    *,
    where_to: DataOptions,
    cluster: ClusterOptions,
    generation: BatchGenerationOptions,
    suffix_column: SuffixColumn = "suffix",
) -> None:
    """Fill every gap between two columns: adds completion, finish_reason and completion_tokens."""
    options = _generation(generation)
    wanted = _Wanted(job=JobKind.INFILL, options=options, suffix_column=suffix_column)
    _run(wanted, data, where_to, cluster)


def _generation(options: BatchGenerationOptions) -> dict[str, Any]:
    """The library's option fields, as plain data."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    return {
        **{name: getattr(options, name) for name in names},
        "max_tokens": options.max_tokens,
        "seed": options.seed,
        "stop": list(options.stop or ()),
        "until": None if options.until is None else options.until.value,
        "time_budget_seconds": options.time_budget,
        "min_confidence": options.min_confidence,
        "truncate": not options.no_truncate,
        "heal": not options.no_healing,
        "speculate": not options.no_speculation,
    }


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What one of the commands asks for.

    Attributes:
        job: what is done.
        options: of the library, as plain data.
        redact: see `Plan`.
        suffix_column: see `Plan`.
    """

    job: JobKind
    options: Mapping[str, Any] = field(default_factory=dict)
    redact: bool = False
    suffix_column: str | None = None


def _run(wanted: _Wanted, data: str, where_to: DataOptions, cluster: ClusterOptions) -> None:
    _require_extra()
    from bigcode_cli.commands.corpus.progress import RowProgress
    from bigcode_cli.commands.corpus.run import CorpusRun, summary_target, write_summary
    from bigcode_cli.distributed.cluster import Resources, versions
    from bigcode_cli.distributed.where import parse
    from bigcode_cli.framework.output import Notes

    if where_to.where is not None:
        parse(where_to.where)
    if where_to.summary is not None:
        summary_target(where_to.summary)
    if cluster.device.startswith("cuda") and not cluster.gpus_per_worker:
        raise UsageFailure(f"--device {cluster.device} needs --gpus-per-worker")
    plan = Plan(
        job=wanted.job,
        model=_model_plan(cluster, wanted.job),
        text_column=where_to.text_column,
        suffix_column=wanted.suffix_column,
        limit=where_to.limit,
        redact=wanted.redact,
        where=where_to.where,
        output_format=where_to.format,
        options=dict(wanted.options),
        versions=versions(),
    )
    resources = Resources(
        address=cluster.address,
        workers=cluster.workers,
        threads=cluster.threads,
        gpus_per_worker=cluster.gpus_per_worker,
    )
    started = monotonic()
    total = CorpusRun(plan, data, where_to, resources).execute(RowProgress(quiet=cluster.quiet))
    if where_to.summary is not None:
        write_summary(where_to.summary, plan, total, monotonic() - started)
    notes = Notes(quiet=cluster.quiet)
    if total.skipped:
        notes.note(f"{total.skipped:,} of {total.rows:,} rows skipped: not UTF-8 text")
    if total.failed:
        notes.note(f"{total.failed:,} of {total.rows:,} rows failed; status and reason say why")
        raise typer.Exit(ExitStatus.FAILED)


def _model_plan(cluster: ClusterOptions, job: str) -> ModelPlan:
    from bigcode_cli.distributed.cluster import content_hash
    from bigcode_cli.models.resolve import find_model

    found = find_model(cluster.model, command=job)
    return ModelPlan(
        name=found.name,
        folder=os.fspath(Path(found.directory).resolve()),
        revision=found.revision,
        content=content_hash(found.directory),
        device=cluster.device,
        precision=cluster.precision.value,
        threads=cluster.threads or 1,
        batch_tokens=cluster.batch_tokens,
    )


def _require_extra() -> None:
    """Say how to get Ray where it is missing; it is not imported yet.

    Raises:
        Failure: it is missing.
    """
    from importlib.util import find_spec

    if find_spec("ray") is None or find_spec("pyarrow") is None:
        hint = "pip install 'bigcode-cli[corpus]' installs it"
        raise Failure("extra-missing", "bigcode corpus needs Ray Data and pyarrow", hint=hint)


COMMANDS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"score": score, "classify": classify, "tag": tag, "complete": complete, "infill": infill}
)
EXAMPLES = MappingProxyType(
    {
        "score": (
            "bigcode corpus score data/ --output scored/ --where 'bits_per_byte < 2'",
            "bigcode corpus score s3://bucket/code/ -o s3://bucket/scored/ --address auto",
        ),
        "classify": (
            "bigcode corpus classify data/ --output labelled/",
            "bigcode corpus classify src/ -o labels/ --format jsonl --summary labels.json",
        ),
        "tag": (
            "bigcode corpus tag data/ --output tagged/",
            "bigcode corpus tag data/ --output clean/ --redact --labels EMAIL,KEY",
        ),
        "complete": (
            "bigcode corpus complete prompts.jsonl --text-column prompt -o done/ --max-tokens 64",
        ),
        "infill": (
            "bigcode corpus infill gaps.parquet --text-column before --suffix-column after -o out/",
        ),
    }
)
