"""The built-in tagger is what its card says, loads elsewhere unchanged, and still finds."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.labeling.text_tagger import TextTagger
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from training.secret_tagger.cases import Case
from training.secret_tagger.evaluate import findings_of, measure
from training.secret_tagger.passages import Passages
from training.secret_tagger.planting import LABELS, Planted
from training.secret_tagger.sources import RealFile
from training.secret_tagger.tokens import TAGS
from training.secret_tagger.vocabulary import TEST

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "model" / "pocket_secrets"
_MAX_BYTES = 7 * 10**6
_PASSAGES = 40
# What the sample gave, less a little for another order of additions.
_EXACT_F1, _OVERLAP_F1 = 0.80, 0.82
# The library's own files were never trained on.
_HOSTS = ("heads", "sampling", "threads", "infilling")


_CODE = """import json
from pathlib import Path


class Store:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def save(self, name: str, value: object) -> None:
        # One file for each name; the last one wins.
        text = json.dumps(value, indent=2, sort_keys=True)
        (self.folder / f"{name}.json").write_text(text)
        self.count += 1

    def load(self, name: str, default: object = None) -> object:
        path = self.folder / f"{name}.json"
        if not path.exists():
            return default
        return json.loads(path.read_text())
"""
_SETTINGS = """logging:
  level: info
  format: "%(levelname)s %(message)s"
server:
  workers: 4
  timeout: 30
  paths:
    - /static
    - /media
"""


@pytest.fixture(scope="module")
def tagger() -> TextTagger:
    return TextTagger.load(FOLDER)


def own_files() -> list[RealFile]:
    folder = Path(__file__).with_name("own_code")
    return [
        RealFile("gpt_bigcode", f"{name}.py", "python", (folder / f"{name}.txt").read_text("utf-8"))
        for name in _HOSTS
    ]


def test_shape_size_and_labels() -> None:
    config = GPTBigCodeConfig.from_json_file(FOLDER / "config.json")
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= _MAX_BYTES
    assert [config.label(index) for index in range(config.label_count)] == list(TAGS)
    assert config.extra["tagging"]["read"] == "lines"
    assert f"{load_parameters():,}" in (FOLDER / "README.md").read_text("utf-8")


def load_parameters() -> int:
    model = load_model(FOLDER, task=Task.TOKEN_CLASSIFICATION)
    assert next(model.parameters()).dtype is torch.bfloat16
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_reference_loads_it_unchanged() -> None:
    theirs = transformers.GPTBigCodeForTokenClassification.from_pretrained(
        FOLDER, dtype=torch.float32, attn_implementation="eager"
    )
    ours = load_model(FOLDER, task=Task.TOKEN_CLASSIFICATION, dtype=torch.float32)
    text = 'SERVER = "9.9.9.9"  # Größe\n'
    ids = CodeTokenizer.from_file(FOLDER / "tokenizer.json").encode(text)
    assert transformers.AutoTokenizer.from_pretrained(FOLDER)(text)["input_ids"] == ids
    with torch.no_grad():
        wanted = theirs(torch.tensor([ids])).logits
        got = ours(torch.tensor([ids])).logits
    assert wanted.shape == (1, len(ids), len(TAGS))
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert theirs.config.id2label == dict(enumerate(TAGS))


def test_planted_values_are_found(tagger: TextTagger) -> None:
    """A fixed small sample of what the card measures on held-out packages."""
    hosts = [
        RealFile("sample", "store.py", "python", _CODE * 2),
        RealFile("sample", "settings.yaml", "yaml", _SETTINGS * 3),
    ]
    source = Passages(hosts, "sample", TEST)
    passages = [source.next() for _ in range(_PASSAGES)]
    found = [
        (Case(str(number), "python", "planted", planted), findings_of(tagger, planted.text))
        for number, planted in enumerate(passages)
    ]
    every = measure(found)["planted"]["all"]
    assert every["known"] >= _PASSAGES
    assert every["exact"]["f1"] >= _EXACT_F1
    assert every["overlap"]["f1"] >= _OVERLAP_F1


def test_clean_code_stays_clean(tagger: TextTagger) -> None:
    cases = [
        Case(file.path, "python", "clean python", Planted(file.text, ())) for file in own_files()
    ]
    report = measure([(case, findings_of(tagger, case.planted.text)) for case in cases])
    assert report["clean_python"]["lines"] > 500
    assert report["clean_python"]["spans"] <= 1


def test_the_card_quotes_the_report() -> None:
    report = json.loads((FOLDER / "evaluation.json").read_text("utf-8"))
    card = (FOLDER / "README.md").read_text("utf-8")
    for label in (*LABELS, "all"):
        measured = report["planted"][label]
        exact = measured["exact"]
        shares = (exact["precision"], exact["recall"], exact["f1"], measured["overlap"]["f1"])
        row = " | ".join(f"{value:.3f}" for value in shares)
        low, high = exact["interval"]
        assert low <= exact["f1"] <= high
        name = "all" if label == "all" else f"`{label}`"
        assert f"| {name} | {measured['known']} | {row} | {low:.3f} to {high:.3f} |" in card
    for kind in ("clean_python", "clean_other"):
        clean = report[kind]
        assert f"{clean['spans']} spans in {clean['lines']:,} lines" in card
        assert f"{clean['outside_per_1000_lines']:.2f} per 1,000 lines" in card
    for program in ("pocket_secrets", "detect-secrets"):
        for label in LABELS:
            assert f"{report['by_line'][program]['recall'][label]:.3f}" in card
