"""More clients that others wrote; each test is skipped where its client is not installed.

text-generation asks for an older huggingface_hub than this project, and lm-eval for forty packages
that these requests do not need:
`pip install --no-deps text-generation lm-eval sqlitedict tenacity`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from program import TIMEOUT_SECONDS
from served import Server

PROMPT = "def area(width, height):\n    return"
MODEL = Path(__file__).resolve().parents[2] / "model" / "pocket_coder"
TEXT = "".join(f"def f{number}(x):\n    return x + {number}\n\n\n" for number in range(100))


@pytest.fixture(scope="module")
def written(server: Server) -> str:
    """What the server writes after the prompt, greedily, in 8 tokens."""
    body = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    return str(server.ask("POST", "/v1/completions", body)[1]["choices"][0]["text"])


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_text_generation(server: Server) -> None:
    text_generation = pytest.importorskip("text_generation")
    client = text_generation.Client(server.url)
    whole = client.generate(PROMPT, max_new_tokens=8)
    assert whole.generated_text
    assert whole.details.generated_tokens == 8
    pieces = list(client.generate_stream(PROMPT, max_new_tokens=8))
    assert pieces[-1].generated_text == whole.generated_text
    assert "".join(piece.token.text for piece in pieces) == whole.generated_text
    with pytest.raises(text_generation.errors.ValidationError):
        client.generate(PROMPT, max_new_tokens=8, stop_sequences=list(map(str, range(40))))


LLM = """
import json, sys, llm
model, call = llm.get_model("pocket"), {"max_tokens": 8, "temperature": 0}
print(json.dumps([model.prompt(sys.argv[1], stream=s, **call).text() for s in (True, False)]))
"""


def test_llm(server: Server, written: str, tmp_path: Path) -> None:
    pytest.importorskip("llm")
    models = [
        {
            "model_id": "pocket",
            "model_name": "pocket-coder",
            "api_base": f"{server.url}/v1",
            "completion": True,
        }
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))
    done = subprocess.run(
        [sys.executable, "-c", LLM, PROMPT],
        env=os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert json.loads(done.stdout) == [written, written]


@pytest.mark.slow
def test_lm_eval_scores_as_the_program_does(server: Server, tmp_path: Path) -> None:
    openai_completions = pytest.importorskip("lm_eval.models.openai_completions")
    make = pytest.importorskip("lm_eval.api.instance").Instance
    client = openai_completions.LocalCompletionsAPI(
        base_url=f"{server.url}/v1/completions",
        model="pocket-coder",
        tokenizer=str(MODEL),
        max_length=2047,
        batch_size=4,
    )
    # A longer text has other windows there: an engine has to write a token after the last one.
    texts = [TEXT, PROMPT, TEXT[:700]]
    asked = [make("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    found = client.loglikelihood_rolling(asked, disable_tqdm=True)
    run = server.run(tmp_path)
    for place, text in enumerate(texts):
        (tmp_path / "text.py").write_text(text)
        call = ("score", "text.py", "--window", "disjoint", "--no-cache", "--format", "json")
        (scored,) = run(*call).json["files"]
        assert found[place] == pytest.approx(-scored["nll"], abs=1e-4, rel=1e-6)


JAVASCRIPT = """
import OpenAI from "openai";
const client = new OpenAI({baseURL: process.argv[2] + "/v1", apiKey: "none"});
const call = {model: "pocket-coder", prompt: process.argv[3], max_tokens: 8, temperature: 0};
const whole = await client.completions.create(call);
let streamed = "";
for await (const part of await client.completions.create({...call, stream: true}))
  streamed += part.choices[0].text;
const names = [];
for await (const model of client.models.list()) names.push(model.id);
let missing = null;
try { await client.completions.create({...call, model: "nothing"}); }
catch (error) { missing = error.status; }
console.log(JSON.stringify({whole: whole.choices[0].text, streamed, names, missing}));
"""


@pytest.mark.slow
def test_openai_for_javascript(server: Server, written: str, tmp_path: Path) -> None:
    folder = os.environ.get("BIGCODE_NODE_MODULES", "")
    if shutil.which("node") is None or not (Path(folder) / "openai").is_dir():
        pytest.skip("BIGCODE_NODE_MODULES names no folder with npm's openai")
    (tmp_path / "node_modules").symlink_to(folder)
    (tmp_path / "ask.mjs").write_text(JAVASCRIPT)
    done: Any = subprocess.run(
        ["node", "ask.mjs", server.url, PROMPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert json.loads(done.stdout) == {
        "whole": written,
        "streamed": written,
        "names": ["pocket-coder"],
        "missing": 404,
    }
