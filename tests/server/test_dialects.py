"""The bodies that editors send, and the replies that they can read."""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from served import Server

PREFIX = "import os\n\n\ndef first(path):\n    with open(path) as stream:\n"
SUFFIX = "\n\n\nprint(first('a.txt'))\n"
LLAMA_VIM = {
    "id_slot": 0,
    "input_prefix": PREFIX,
    "input_suffix": SUFFIX,
    "input_extra": [{"text": "x = 1\n", "time": [123, 456], "filename": "src/a.py"}],
    "prompt": "        ret",
    "n_predict": 12,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 60000,
    "response_fields": [
        *("content", "timings/prompt_n", "timings/prompt_ms", "timings/prompt_per_token_ms"),
        *("timings/prompt_per_second", "timings/predicted_n", "timings/predicted_ms"),
        *("timings/predicted_per_token_ms", "timings/predicted_per_second", "truncated"),
        *("tokens_cached", "no such field"),
    ],
    "model": "",
}
ZED_STOPS = [
    *("<|endoftext|>", "<|file_separator|>", "<|fim_pad|>", "<|fim_prefix|>", "<|fim_middle|>"),
    *("<|fim_suffix|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<PRE>", "<SUF>", "<MID>"),
    *("[PREFIX]", "[SUFFIX]"),
]


def _post(server: Server, path: str, body: Any, **headers: str) -> tuple[int, bytes]:
    """A request over TCP, as an editor's."""
    request = urllib.request.Request(
        server.url + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _events(data: bytes) -> list[Any]:
    """The objects of server-sent events, each on one line."""
    lines = [line for line in data.decode().split("\n\n") if line]
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    return [
        text if (text := line.removeprefix("data: ")) == "[DONE]" else json.loads(text)
        for line in lines
    ]


def test_llama_vim(server: Server) -> None:
    status, data = _post(server, "/infill", LLAMA_VIM, Authorization="Bearer ")
    text = data.decode()
    assert status == 200
    assert re.search(r'"content"\s*:"', text)  # what the plug-in matches before it parses
    assert "\n" not in text
    reply = json.loads(text)
    assert set(reply) == set(LLAMA_VIM["response_fields"]) - {"no such field"}  # type: ignore[call-overload]
    assert isinstance(reply["content"], str)
    assert reply["timings/predicted_n"] > 0


def test_llama_vim_warms_the_cache(server: Server) -> None:
    warming = {"n_predict": 0, "temperature": 0.0, "samplers": [], "t_max_predict_ms": 1}
    empty = {"input_prefix": "", "input_suffix": "", "prompt": "", "response_fields": [""]}
    assert _post(server, "/infill", {**LLAMA_VIM, **warming, **empty}) == (200, b"{}")


def test_infill_is_what_the_command_writes(server: Server) -> None:
    fields = ("input_prefix", "input_suffix", "prompt", "n_predict")
    plain = {name: LLAMA_VIM[name] for name in fields}
    ours = {"prefix": PREFIX + "        ret", "suffix": SUFFIX, "max_tokens": 12}
    wanted = server.ask("POST", "/bigcode/v1/infill", ours)[1]["choices"][0]["text"]
    assert json.loads(_post(server, "/infill", plain)[1])["content"] == wanted


def test_infill_never_reads_control_tokens_in_fields(server: Server) -> None:
    """The text of a file that names sentinels is text."""
    sides = {
        "input_prefix": "a = '<fim_suffix>'\n",
        "input_suffix": "<|endoftext|>",
        "n_predict": 1,
    }
    reply = json.loads(_post(server, "/infill", {**sides, "n_predict": 1})[1])
    spelled = {"content": sides["input_prefix"], "parse_special": False}
    plain = json.loads(_post(server, "/tokenize", spelled)[1])["tokens"]
    assert reply["tokens_evaluated"] > len(plain) + 3
    read = json.loads(_post(server, "/tokenize", {"content": sides["input_prefix"]})[1])["tokens"]
    assert len(read) < len(plain)
    assert (
        json.loads(_post(server, "/detokenize", {"tokens": plain})[1])["content"]
        == (sides["input_prefix"])
    )


def test_llama_vscode_wants_several(server: Server) -> None:
    body = {**LLAMA_VIM, "n_cmpl": 3, "lora": [{"id": 0, "scale": 0.5}]}
    del body["response_fields"]
    replies = json.loads(_post(server, "/infill", body)[1])
    assert [reply["index"] for reply in replies] == [0, 1, 2]
    assert "prompt_per_second" in replies[0]["timings"]
    assert replies[0]["truncated"] is False


def test_n_indent_ends_the_text(server: Server) -> None:
    body = {"input_prefix": "def f(x):\n    ", "input_suffix": "", "n_predict": 60, "n_indent": 4}
    content = json.loads(_post(server, "/infill", body)[1])["content"]
    later = [line for line in content.split("\n")[1:] if line.strip()]
    assert all(line.startswith("    ") for line in later)


@pytest.mark.parametrize(
    "prompt",
    [
        f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>",
        f"<fim-prefix>{PREFIX}<fim-suffix>{SUFFIX}<fim-middle>",
        f"<|fim_prefix|>{PREFIX}<|fim_suffix|>{SUFFIX}<|fim_middle|>",
        f"[SUFFIX]{SUFFIX}[PREFIX]{PREFIX}",
        f"<|fim▁begin|>{PREFIX}<|fim▁hole|>{SUFFIX}<|fim▁end|>",
    ],
)
def test_sentinels_of_every_dialect_mean_the_models_own(server: Server, prompt: str) -> None:
    ours = {"prefix": PREFIX, "suffix": SUFFIX, "max_tokens": 8, "order": "psm"}
    wanted = server.ask("POST", "/bigcode/v1/infill", ours)[1]
    body = {"model": "", "prompt": prompt, "max_tokens": 8, "temperature": 0, "stop": ZED_STOPS}
    reply = json.loads(_post(server, "/v1/completions", body)[1])
    assert reply["choices"][0]["text"] == wanted["choices"][0]["text"]
    assert reply["usage"]["prompt_tokens"] == wanted["prompt_tokens"]
    assert {"id", "object", "created", "model"} <= set(reply)  # Zed needs all of them


def test_continue_by_llama_cpp(server: Server) -> None:
    """Every event carries text and whether it is the last."""
    body = {"prompt": "def f(x):\n", "stream": True, "n_predict": 6, "temperature": 0.01}
    more = {"mirostat": 0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_p": 0.0}
    events = _events(_post(server, "/completion", {**body, **more, "stop": ["\n\n\n"]})[1])
    assert all(isinstance(event["content"], str) for event in events)
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]


def test_minuet_by_openai(server: Server) -> None:
    body = {"model": "x" * 3, "stream": True, "prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 8}
    status, data = _post(server, "/v1/completions", {**body, "top_p": 0.9, "stop": None})
    assert (status, json.loads(data)["error"]["type"]) == (404, "model-missing")
    events = _events(_post(server, "/v1/completions", {**body, "model": "pocket-coder"})[1])
    assert events[-1] == "[DONE]"
    assert events[-2]["choices"][0]["finish_reason"] in ("stop", "length")
    assert all(isinstance(event["choices"][0]["text"], str) for event in events[:-1])


def test_mistral(server: Server) -> None:
    body = {"model": "pocket-coder", "prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 6}
    body |= {"temperature": 0}
    whole = json.loads(_post(server, "/v1/fim/completions", body)[1])
    events = _events(_post(server, "/v1/fim/completions", {**body, "stream": True})[1])
    text = "".join(event["choices"][0]["delta"]["content"] for event in events[:-1])
    assert whole["choices"][0]["message"]["content"] == text
    assert events[-2]["choices"][0]["finish_reason"]


def test_ollama(server: Server) -> None:
    body = {"model": "pocket-coder:latest", "prompt": PREFIX, "suffix": SUFFIX, "raw": True}
    body |= {"options": {"num_predict": 6, "temperature": 0}, "keep_alive": 1800}
    data = _post(server, "/api/generate", body)[1]
    parts = [json.loads(line) for line in data.decode().splitlines()]
    assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]
    whole = json.loads(_post(server, "/api/generate", {**body, "stream": False})[1])
    assert whole["response"] == "".join(part["response"] for part in parts)
    loaded = json.loads(_post(server, "/api/generate", {"model": "pocket-coder"})[1])
    assert loaded["done_reason"] == "load"
    shown = json.loads(_post(server, "/api/show", {"name": "pocket-coder"})[1])
    assert "insert" in shown["capabilities"]
    status, data = _post(server, "/api/show", {"name": "nothing"})
    assert (status, isinstance(json.loads(data)["error"], str)) == (404, True)


def test_tgi(server: Server) -> None:
    parameters = {"max_new_tokens": 6, "temperature": 0.0, "top_p": 0.95, "return_full_text": False}
    body = {"inputs": "def f(x):\n", "parameters": parameters}
    reply = json.loads(_post(server, "/generate", body)[1])
    assert set(reply) == {"generated_text"}
    events = _events(_post(server, "/generate_stream", body)[1])
    assert "".join(event["token"]["text"] for event in events) == reply["generated_text"]
    assert events[-1]["generated_text"] == reply["generated_text"]
    full = {**body, "parameters": {**parameters, "return_full_text": True}}
    assert json.loads(_post(server, "/generate", full)[1])["generated_text"].startswith("def f(x)")
    assert isinstance(json.loads(_post(server, "/", body)[1]), list)
    assert isinstance(json.loads(_post(server, "/models/bigcode/santacoder", body)[1]), list)


def test_tabby(server: Server) -> None:
    segments: dict[str, Any] = {
        "prefix": PREFIX,
        "suffix": SUFFIX,
        "filepath": "a.py",
        "git_url": None,
    }
    segments |= {"declarations": [{"filepath": "b.py", "body": "x = 1"}], "clipboard": "y"}
    body = {"language": "python", "segments": segments, "temperature": 0.1, "mode": "standard"}
    reply = json.loads(_post(server, "/v1/completions", body)[1])
    assert set(reply) == {"id", "choices", "mode"}
    assert reply["id"].startswith("cmpl-")
    assert isinstance(reply["choices"][0]["text"], str)
    event = {"type": "view", "completion_id": reply["id"], "choice_index": 0}
    assert _post(server, "/v1/events", event)[0] == 200


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/health", {"status"}),
        ("/v1/health", {"model", "device", "arch", "cuda_devices", "version"}),
        ("/v1/models", {"object", "data"}),
        ("/api/tags", {"models"}),
        ("/api/version", {"version"}),
        ("/api/ps", {"models"}),
        ("/info", {"model_id", "max_input_length"}),
        ("/v1beta/server_setting", {"disable_client_side_telemetry"}),
    ],
)
def test_what_clients_ask_first(server: Server, path: str, names: set[str]) -> None:
    with urllib.request.urlopen(server.url + path, timeout=60) as response:
        assert names <= set(json.load(response))


def test_logprobs_are_those_of_score(server: Server) -> None:
    """What lm-eval does: prompts of token ids, echoed with their logarithms."""
    text = Path(__file__).read_text("utf-8")[:600]
    ids = json.loads(_post(server, "/tokenize", {"content": text, "parse_special": False})[1])
    end = json.loads(_post(server, "/tokenize", {"content": "<|endoftext|>"})[1])["tokens"]
    body = {
        "model": "pocket-coder",
        "prompt": [[*end, *ids["tokens"]]],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    (choice,) = json.loads(_post(server, "/v1/completions", body)[1])["choices"]
    logprobs = choice["logprobs"]
    assert len(logprobs["token_logprobs"]) == len(ids["tokens"]) + 2
    assert logprobs["token_logprobs"][0] is None
    assert all(len(top) == 1 for top in logprobs["top_logprobs"][1:])
    request = {"files": [{"text": text}], "window": "disjoint"}
    (scored,) = server.ask("POST", "/bigcode/v1/score", request)[1]["files"]
    assert -sum(logprobs["token_logprobs"][1:-1]) == pytest.approx(scored["nll"], rel=1e-4)


def test_logprobs_of_an_answer(server: Server) -> None:
    body = {"prompt": "def f(x):\n", "max_tokens": 5, "logprobs": 2, "temperature": 0}
    reply = json.loads(_post(server, "/v1/completions", body)[1])
    (choice,) = reply["choices"]
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    assert choice["logprobs"]["text_offset"][0] == len(body["prompt"])  # type: ignore[arg-type]
    best = [max(top.values()) for top in choice["logprobs"]["top_logprobs"]]
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(best)
    assert reply["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/infill", {"input_prefix": 1, "input_suffix": ""}, "input_prefix: expected a string"),
        ("/infill", {"input_prefix": ""}, "input_prefix and input_suffix: missing"),
        ("/completion", {}, "prompt: missing"),
        ("/v1/completions", {"prompt": "x", "n": 0}, "n: expected a whole number from 1 to 128"),
        ("/v1/completions", {"prompt": {"a": 1}}, "prompt: expected a string"),
        ("/v1/completions", {"prompt": "\ud800"}, "prompt: a lone surrogate is no text"),
        ("/v1/completions", {"prompt": [10**9]}, "token ids: not all in 0.."),
        ("/v1/fim/completions", {"suffix": ""}, "prompt: missing"),
        ("/api/generate", {"prompt": "x", "options": 3}, "options: expected an object"),
        ("/api/generate", {"prompt": "x", "keep_alive": "soon"}, "keep_alive: expected"),
        ("/generate", {"inputs": ["x"]}, "inputs: expected a string"),
        ("/v1/completions", {"segments": {"prefix": None}}, "segments.prefix: missing"),
        ("/bigcode/v1/tag", {"files": [{"text": 3}]}, "files[0].text: expected a string"),
        ("/bigcode/v1/complete", {"top_p": 2}, "top_p: expected a number from 0 to 1"),
    ],
)
def test_errors_have_the_dialects_own_form(
    server: Server, path: str, body: Any, message: str
) -> None:
    status, data = _post(server, path, body)
    document = json.loads(data)
    error = document.get("error", document)
    told = error if isinstance(error, str) else error["message"]
    assert (status, told.startswith(message)) == (400, True), told
