"""The built-in language classifier is what its card says, and other programs load it unchanged."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.labeling.description import label_names
from gpt_bigcode.labeling.languages import UNKNOWN
from gpt_bigcode.labeling.text_classifier import TextClassifier
from gpt_bigcode.modeling.heads import GPTBigCodeForSequenceClassification
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from training.intervals import interval
from training.languages.labels import LABELS, label_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "model" / "pocket_languages"
SAMPLES: dict[str, str] = tomllib.loads(
    Path(__file__).with_name("language_samples.toml").read_text("utf-8")
)
ASKED_FOR = {
    *("Python", "JavaScript", "TypeScript", "Java", "C", "C++", "C#", "Go", "Rust", "Ruby", "PHP"),
    *("Perl", "Shell", "SQL", "HTML", "CSS", "JSON", "YAML", "TOML", "Markdown", "XML"),
    *("Makefile", "Dockerfile", "Plain text"),
}
# Files of this repository, by what everybody calls their language.
OWN_FILES = {
    "bigcode_cli/app.py": "Python",
    "model/gpt_bigcode/modeling/heads.py": "Python",
    "pyproject.toml": "TOML",
    "Makefile": "Makefile",
    "CHANGELOG.md": "Markdown",
    "CONTRIBUTING.md": "Markdown",
    "LICENSE": "Plain text",
    "model/pocket_coder/config.json": "JSON",
    ".pre-commit-hooks.yaml": "YAML",
    "completions/bigcode.bash": "Shell",
}
_QUERY = """\
SELECT c.name, sum(o.total) AS spent
FROM customers c
JOIN orders o ON o.customer_id = c.id
WHERE o.paid AND o.created > '2024-01-01'
GROUP BY c.name
HAVING sum(o.total) > 100
ORDER BY spent DESC
LIMIT 20
"""
_PAGE = """\
<html>
<head><title>Orders</title></head>
<body>
<table class="orders">
<tr><th>Customer</th><th>Total</th></tr>
<tr><td>Ann</td><td>12.50</td></tr>
</table>
</body>
</html>
"""
# By host and guest.
HOSTS = {
    "Python, SQL": f'SPENT = """\n{_QUERY}"""\n\n\n'
    "def spent(db):\n    return list(db.execute(SPENT))\n",
    "Python, HTML": f'import sys\n\nPAGE = """\n{_PAGE}"""\n\nsys.stdout.write(PAGE)\n',
    "PHP, HTML": "<html>\n<body>\n<h2>Orders</h2>\n<ul>\n<?php foreach ($orders as $order): ?>\n"
    "  <li><?= htmlspecialchars($order) ?></li>\n<?php endforeach; ?>\n</ul>\n</body>\n</html>\n",
    "Go, SQL": "package store\n\nfunc (s *Store) Spent() (*sql.Rows, error) {\n"
    f"\treturn s.db.Query(`\n{_QUERY}`)\n}}\n",
    "JavaScript, HTML": "const page = (orders) => {\n  const rows = orders.length;\n"
    f"  return `\n{_PAGE}`;\n}};\n\nmodule.exports = page;\n",
    "Shell, SQL": f"#!/bin/sh\nset -eu\npsql -U shop shop <<'EOF'\n{_QUERY}EOF\necho done\n",
    "Ruby, SQL": f"class Spent\n  QUERY = <<~SQL\n{_QUERY}SQL\n\n  def self.all(db)\n"
    "    db.execute(QUERY).map { |row| row['name'] }\n  end\nend\n",
}
_MAX_FOLDER_BYTES = 7 * 10**6


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return TextClassifier.load(FOLDER)


def test_shape_size_and_labels() -> None:
    config = GPTBigCodeConfig.from_json_file(FOLDER / "config.json")
    stated = json.loads((FOLDER / "config.json").read_text("utf-8"))
    assert stated["architectures"] == ["GPTBigCodeForSequenceClassification"]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= _MAX_FOLDER_BYTES
    labels = {config.label(number) for number in range(config.label_count)}
    assert ASKED_FOR <= labels == set(LABELS)
    CodeTokenizer.from_file(FOLDER / "tokenizer.json").validate_against(config)


def test_the_reference_loads_it_unchanged() -> None:
    theirs = transformers.GPTBigCodeForSequenceClassification.from_pretrained(
        FOLDER, dtype=torch.float32, attn_implementation="eager"
    )
    ours = load_model(FOLDER, task=Task.SEQUENCE_CLASSIFICATION, dtype=torch.float32)
    assert isinstance(ours, GPTBigCodeForSequenceClassification)
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    own_tokenizer = CodeTokenizer.from_file(FOLDER / "tokenizer.json")
    assert theirs.config.id2label == dict(enumerate(label_names(ours.config)))
    for text in (SAMPLES["Go"], SAMPLES["YAML"]):
        ids = tokenizer(text)["input_ids"]
        assert ids == own_tokenizer.encode(text)
        with torch.no_grad():
            wanted = theirs(torch.tensor([ids])).logits
            got = ours(torch.tensor([ids])).logits
        assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_the_reference_reads_padded_rows_alike(classifier: TextClassifier) -> None:
    theirs = transformers.GPTBigCodeForSequenceClassification.from_pretrained(
        FOLDER, dtype=torch.float32, attn_implementation="eager"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    texts = [SAMPLES["C"], SAMPLES["TOML"], SAMPLES["Plain text"]]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        wanted = theirs(**batch).logits.softmax(-1).numpy()
    got = [classifier.classify(text).values for text in texts]
    assert np.abs(np.array(got) - wanted).max() <= 1e-4


def test_samples_of_every_language(classifier: TextClassifier) -> None:
    """A fixed small part of what the card measures on thousands of held-out texts.

    Prose of four lines without a mark is what it is least sure of.
    """
    assert set(SAMPLES) == set(classifier.names) - {UNKNOWN}
    wrong = {
        language: classifier.classify(text.lstrip("\n")).label
        for language, text in SAMPLES.items()
        if classifier.classify(text.lstrip("\n")).label != language
    }
    assert wrong == {"Plain text": "Roff"}


def test_files_of_this_repository(classifier: TextClassifier) -> None:
    told = {path: classifier.classify((ROOT / path).read_text("utf-8")).label for path in OWN_FILES}
    assert told == OWN_FILES


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_a_long_text_in_another_language_does_not_win(
    host: str, classifier: TextClassifier
) -> None:
    """Queries, pages and data in literals, longer than what is around them."""
    assert classifier.classify(HOSTS[host]).label == host.partition(",")[0]


def test_the_card_quotes_the_report() -> None:
    report = json.loads((FOLDER / "evaluation.json").read_text("utf-8"))
    card = (FOLDER / "README.md").read_text("utf-8")
    config = GPTBigCodeConfig.from_json_file(FOLDER / "config.json")
    head = config.label_count * config.n_embd
    assert f"{config.parameter_count() + head:,}" in card
    for name in ("files", "snippets_of_3_lines", "snippets_of_10_lines"):
        for measured in (report[name], report[name]["magika"]):
            low, high = measured["interval_95"]
            share = f"{100 * measured['share']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            assert share in card
            assert measured["interval_95"] == interval(
                round(measured["share"] * measured["cases"]), measured["cases"]
            )
        assert f"{report[name]['cases']:,} cases" in card
        if name != "snippets_of_10_lines":
            for language, measured in report[name]["languages"].items():
                low, high = (100 * value for value in measured["interval_95"])
                (row,) = re.findall(rf"(?m)^\| {re.escape(language)} \|.*$", card)
                share = f"{100 * measured['share']:.0f} ({low:.0f}-{high:.0f})"
                assert f"| {measured['cases']} | {share} |" in row


@pytest.mark.parametrize(
    ("name", "floor"),
    [("files", 0.89), ("snippets_of_3_lines", 0.77), ("snippets_of_10_lines", 0.83)],
)
def test_the_report_stays_above_what_was_measured(name: str, floor: float) -> None:
    report = json.loads((FOLDER / "evaluation.json").read_text("utf-8"))
    assert report[name]["share"] >= floor
    assert report[name]["share"] > report[name]["magika"]["share"]
    assert report["certainty"]["calibration_error"] <= 0.03


def test_the_report_is_of_these_weights() -> None:
    from training.output import file_hash

    report = json.loads((FOLDER / "evaluation.json").read_text("utf-8"))
    assert report["weights_sha256"] == file_hash(FOLDER / "model.safetensors")


@pytest.mark.parametrize(
    ("path", "text", "label"),
    [
        ("src/list.h", "#ifndef LIST_H\nstruct list *new_list(void);\n#endif\n", "C"),
        ("src/list.h", "namespace base {\nclass List;\n}\n", "C++"),
        (
            "ios/List.h",
            "#import <UIKit/UIKit.h>\n@interface List : NSObject\n@end\n",
            "Objective-C",
        ),
        ("lang/app_de.ts", "<?xml version='1.0'?>\n<!DOCTYPE TS>\n<TS></TS>\n", None),
        ("src/app.ts", "export const x: number = 1;\n", "TypeScript"),
        ("bin/run", "#!/bin/sh\necho hello\n", "Shell"),
        ("bin/run", "\x7fELF", None),
        ("data.json", "not json", None),
        ("CMakeLists.txt", "project(x)\n", "CMake"),
        ("requirements.txt", "numpy\ntorch\n", "unknown/Pins"),
        ("docs/notes.txt", "These are plain words about nothing in particular.\n", "Plain text"),
        ("views/index.html", "{% extends 'base' %}<p>hello</p>", None),
    ],
)
def test_labels_of_files(path: str, text: str, label: str | None) -> None:
    assert label_of(path, text) == label
