"""Laws of the language classifier's recipe: licences, splits, rows, snippets and fast paths."""

import io
import json
import random
import re
import subprocess
import tarfile
import tomllib
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt_bigcode.modeling.heads import GPTBigCodeForSequenceClassification
from training.corpus import MANIFEST, Document
from training.languages import cases, embedding, licences, mean, snippets, sources
from training.languages.corpus import (
    LANGUAGE_BYTES,
    judge,
    relabelled,
    translated_text,
    within_limits,
)
from training.languages.evaluate import summary
from training.languages.labels import LABELS, label_of
from training.languages.shape import configuration
from training.languages.snippets import LEAST_TOKENS, RowMaker, draw_snippet
from training.languages.sources import Kind, Source
from training.languages.train import loss_of, scores_everywhere
from training.languages.warmstart import evidence_table, fit_head, within
from training.train_tokenizer import train as train_tokenizer

PYTHON = "import os\n\n\ndef size(path):\n    return os.path.getsize(path)\n" * 4
SHELL = "#!/bin/sh\nfor file in *; do\n    wc -c $file\ndone\n" * 4


def tiny() -> GPTBigCodeForSequenceClassification:
    torch.manual_seed(3)
    config = replace(configuration(), vocab_size=300, n_embd=16, n_positions=32)
    return GPTBigCodeForSequenceClassification(config).eval()


def test_the_fast_path_computes_what_the_model_computes_of_every_beginning() -> None:
    model = tiny()
    ids = torch.randint(0, 300, (2, 12))
    with torch.no_grad():
        fast = scores_everywhere(model, ids)
        for end in (1, 7, 12):
            mask = torch.ones(2, end, dtype=torch.int64)
            slow = model(ids[:, :end], attention_mask=mask).logits
            assert torch.allclose(fast[:, end - 1], slow, atol=1e-5)


def test_the_loss_asks_at_real_tokens_only() -> None:
    first = LEAST_TOKENS - 1
    scores = torch.zeros(1, first + 3, len(LABELS))
    scores[0, first : first + 2, 2] = 50.0
    scores[0, :first, 5] = scores[0, first + 2, 5] = 50.0  # too few tokens, and padding
    places = torch.tensor([first]), torch.tensor([first + 2])
    assert loss_of(scores, torch.tensor([2]), *places) < 3.5
    assert loss_of(scores, torch.tensor([5]), *places) > 40


def test_evidence_points_to_the_language_that_has_the_token() -> None:
    counts = torch.full((3, 4), 500.0)
    counts[1, 2] = 50_000.0
    table = evidence_table(counts)
    assert table.shape == (4, 3)
    assert table[2].argmax() == 1
    assert table[2, 1] > 0.8


def test_a_batch_is_a_function_of_seed_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snippets, "NOISY_ROWS", 0.0)
    monkeypatch.setattr(snippets, "DENSE_SHARE", 0.0)
    monkeypatch.setattr(snippets, "EMBEDDED_SHARE", 0.0)
    tokenizer = train_tokenizer([PYTHON, SHELL], vocabulary=290)
    records = [
        {"label": "Python", "package": "a", "path": "a.py", "text": PYTHON},
        {"label": "Shell", "package": "b", "path": "b.sh", "text": SHELL},
    ]
    maker = RowMaker(records, tokenizer)
    ids, labels, firsts, ends = maker.batch(7, 3, (40, 16))
    again = maker.batch(7, 3, (40, 16))
    other = maker.batch(7, 4, (40, 16))
    assert (ids == again[0]).all()
    assert (ids != other[0]).any()
    assert {LABELS[label] for label in labels} == {"Python", "Shell"}
    assert ends.min() >= LEAST_TOKENS
    assert set(firsts) == {LEAST_TOKENS - 1}
    text = tokenizer.decode([int(i) for i in ids[0, : ends[0]]])
    assert text in (PYTHON if LABELS[labels[0]] == "Python" else SHELL)


def test_a_long_literal_keeps_its_hosts_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the row is asked for only where its host can be told."""
    monkeypatch.setattr(snippets, "NOISY_ROWS", 0.0)
    monkeypatch.setattr(snippets, "DENSE_SHARE", 0.0)
    monkeypatch.setattr(snippets, "EMBEDDED_SHARE", 1.0)
    monkeypatch.setattr(embedding, "GUESTS", ("SQL",))
    query = "SELECT name, size FROM files WHERE size > 3 ORDER BY size;\n" * 20
    tokenizer = train_tokenizer([PYTHON, query], vocabulary=290)
    records = [
        {"label": "Python", "package": "a", "path": "a.py", "text": PYTHON},
        {"label": "SQL", "package": "b", "path": "b.sql", "text": query},
    ]
    batch = RowMaker(records, tokenizer).batch(7, 3, (40, 200))
    hosts = [row for row in range(40) if LABELS[batch.labels[row]] == "Python"]
    assert 10 < len(hosts) < 30
    for row in hosts:
        ids = [int(number) for number in batch.ids[row, : batch.ends[row]]]
        assert "SELECT" in tokenizer.decode(ids)
        before = tokenizer.decode(ids[: batch.firsts[row]])
        assert "SELECT" not in before or batch.firsts[row] == LEAST_TOKENS - 1
        assert re.search(r"\"\"\"|'''", before) is not None


def test_translations_are_natural_text() -> None:
    catalogue = (
        'msgid ""\nmsgstr "Language: de\\n"\n\nmsgid "Open"\nmsgstr "\u00d6ffnen"\n\n'
        'msgid "The file could not be read, so nothing was changed."\n'
        'msgstr "Die Datei konnte nicht gelesen "\n"werden, also blieb alles, wie es war."\n'
    )
    text = "Die Datei konnte nicht gelesen werden, also blieb alles, wie es war."
    assert translated_text(catalogue) == text
    assert label_of("po/de.po", text) == "Plain text"


def test_a_head_is_fitted_to_features() -> None:
    torch.manual_seed(1)
    labels = torch.arange(300) % 3
    features = torch.eye(4)[labels] + 0.1 * torch.randn(300, 4)
    head = fit_head(features, labels, torch.zeros(3, 4))
    assert ((features @ head.T).argmax(dim=1) == labels).all()


def test_evidence_of_many_labels_fits_into_a_head() -> None:
    torch.manual_seed(1)
    few, directions = within(torch.randn(50, 3), 4)
    assert few.shape == (50, 3)
    assert torch.equal(directions, torch.eye(3))
    evidence = torch.randn(50, 2) @ torch.randn(2, 9)
    few, directions = within(evidence, 4)
    assert few.shape == (50, 4)
    assert torch.allclose(few @ directions.T, evidence, atol=1e-4)


def test_missing_packages_are_named_and_cost_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a client of ours that stops at the first package that it does not have."""
    monkeypatch.setattr(sources, "HOME", tmp_path / "home")
    client = tmp_path / "npm"
    client.write_text(
        "#!/bin/sh\nshift 2\nfor each; do\n  case $each in gone*) exit 1;; esac\n"
        '  touch "$(echo "$each" | tr @ -).tgz"\ndone\n'
    )
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    wanted = [
        Source(Kind.NPM, name, "1", "MIT", "train") for name in ("a", "gone", "b", "gone2", "c")
    ]
    missing = sources.fetch(wanted)
    assert {source.name for source in missing} == {"gone", "gone2"}
    assert all(sources.archives_of(source) for source in wanted if source not in missing)


def test_snippets_are_whole_lines_and_mostly_not_comments() -> None:
    header = "# Copyright 2024 somebody, all of it, for ever and ever\n" * 5
    body = "".join(f"value_{number} = compute({number})\n\n" for number in range(30))
    for seed in range(20):
        snippet = draw_snippet("Python", header + body, random.Random(seed))
        assert snippet is not None
        lines = snippet.splitlines()
        assert len(lines) == 3
        assert sum(line.startswith("value_") for line in lines) >= 2
        assert f"{lines[-1]}\n" in body
    assert draw_snippet("Python", header, random.Random(1)) is None
    assert draw_snippet("Python", "a\nb\nc\n", random.Random(1)) is None


def test_held_out_packages_take_turns() -> None:
    records = [
        {"label": "C", "package": package, "path": f"{number}.c", "text": f"int {package}{number};"}
        for package, count in (("big", 9), ("small", 1))
        for number in range(count)
    ]
    chosen = cases.files(records, 4, seed=1)
    assert [case.package for case in chosen] == ["big", "small", "big", "big"]
    assert chosen == cases.files(records[::-1], 4, seed=1)


def test_a_summary_counts_every_case_once() -> None:
    asked = [cases.Case("C", "p", str(n)) for n in range(4)] + [cases.Case("Go", "q", "x")]
    report = summary(asked, ["C", "C", "C++", "C", "Go"])
    assert report["share"] == 0.8
    assert report["mean_of_languages"] == 0.875
    assert report["languages"]["C"] == {
        "cases": 4,
        "share": 0.75,
        "interval_95": report["languages"]["C"]["interval_95"],
    }
    assert report["confusions"] == [{"is": "C", "said": "C++", "cases": 1}]


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("MIT", "used"),
        ("GPL-2+ or Apache-2.0", "used"),
        ("GPL-2+", "left out"),
        ("MPL-2.0", "left out"),
        ("BSD-3-clause and GPL-2+", "left out"),
        ("", "left out"),
    ],
)
def test_licences_that_may_be_used(expression: str, verdict: str) -> None:
    assert ("used" if licences.is_permissive(expression) else "left out") == verdict


def test_a_debian_copyright_file_is_read_file_by_file() -> None:
    text = (
        "Format: 1.0\n\nFiles: *\nCopyright: A\nLicense: Expat\n\n"
        "Files: contrib/*\n docs/manual.txt\nCopyright: B\nLicense: GPL-2+\n"
    )
    verdict = licences.of_debian(text)
    assert verdict.permits("src/main.c")
    assert not verdict.permits("contrib/plugin.c")
    assert not verdict.permits("docs/manual.txt")
    assert not licences.of_debian(text.replace("Expat", "GPL-3")).allowed
    assert not licences.of_npm('{"license": "GPL-3.0"}').allowed
    assert licences.of_python("License-Expression: MIT\n\nBody: GPL").allowed


def test_an_npm_package_is_read_without_its_top_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HOME", tmp_path)
    source = Source(Kind.NPM, "@org/name", "1.2.3", "MIT", "train")
    assert sources.archives_of(source) == []
    source.folder.mkdir(parents=True)
    with tarfile.open(source.folder / "org-name-1.2.3.tgz", "w:gz") as opened:
        for path, text in (("package/package.json", "{}"), ("package/src/a.ts", "let a = 1;")):
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            opened.addfile(entry, io.BytesIO(text.encode()))
    assert list(sources.members(source)) == [("package.json", b"{}"), ("src/a.ts", b"let a = 1;")]


def test_the_manifest_splits_by_package() -> None:
    manifest = sources.read_manifest()
    assert len({(source.kind, source.name) for source in manifest}) == len(manifest)
    splits: dict[str, set[str]] = {}
    for source in manifest:
        splits.setdefault(source.name, set()).add(source.split)
    for package in tomllib.loads(MANIFEST.read_text("utf-8"))["package"]:
        splits.setdefault(package["name"].lower(), set()).add(package["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {source.split for source in manifest} == {"train", "validation", "test"}
    assert all(source.licence and source.version for source in manifest)


def test_dropped_files_and_limits() -> None:
    assert judge("dist/app.js", b"x" * 100)[0] == "dropped folder or name"
    assert judge("src/app.min.js", b"x" * 100)[0] == "dropped folder or name"
    assert judge("src/app.js", b"// Code generated by a tool\n" * 9)[0] == "generated"
    assert judge("src/app.js", b"\xff" * 100)[0] == "encoding"
    assert judge("src/app.js", b"let a = 1;\n" * 10) == (None, "let a = 1;\n" * 10)
    size = LANGUAGE_BYTES["test"] // 4
    documents = [
        Document(package, "test", f"C:{number}.c", "x" * size, None)
        for package in ("one", "two")
        for number in range(9)
    ]
    kept = within_limits(documents)
    assert [document.package for document in kept] == ["one", "two"] * 2


def test_labels_are_told_anew() -> None:
    documents = [
        Document("p", "train", "old name:tools/run.py", PYTHON, None),
        Document("p", "train", "old name:tools/one.py", "# " + "words " * 20, None),
        Document("p", "train", "JSON:broken.json", "{", None),
    ]
    assert [document.path for document in relabelled(documents)] == ["Python:tools/run.py"]


def test_the_peer_answers_line_by_line(tmp_path: Path) -> None:
    """With a magika of ours that calls everything C++, and unknown where it is unsure."""
    (tmp_path / "magika.py").write_text(
        "class Kind:\n    def __init__(self, label): self.label = label\n"
        "class Result:\n    dl, output = Kind('cpp'), Kind('unknown')\n"
        "class Magika:\n    def identify_bytes(self, data): return Result()\n"
    )
    script = Path(sources.__file__).with_name("peer.py")
    done = subprocess.run(
        ["python3", str(script)],
        input=json.dumps("int a;") + "\n",
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == ["unknown", "C++"]


def test_the_mean_of_checkpoints_is_weighted(tmp_path: Path) -> None:
    for name, value in (("one", 1.0), ("two", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
        save_file({"w": torch.full((2,), value)}, tmp_path / name / "model.safetensors")
    parts = [mean.weighted(f"3={tmp_path / 'one'}"), mean.weighted(f"1={tmp_path / 'two'}")]
    mean.write(tmp_path / "both", parts)
    assert load_file(tmp_path / "both" / "model.safetensors")["w"].tolist() == [1.25, 1.25]
    assert (tmp_path / "both" / "config.json").read_text() == "one"
    for wrong in ("0=a", "a", "-1=a"):
        with pytest.raises(ArgumentTypeError):
            mean.weighted(wrong)
