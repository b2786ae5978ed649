"""Client libraries that others wrote, against a real server."""

import warnings
from typing import Any

import pytest

from served import Server

PREFIX = "import os\n\n\ndef first(path):\n    with open(path) as stream:\n"
SUFFIX = "\n\n\nprint(first('a.txt'))\n"


@pytest.fixture(scope="module")
def middle(server: Server) -> str:
    """What the server writes between the two, greedily, in 8 tokens."""
    sides = {"prefix": PREFIX, "suffix": SUFFIX, "max_tokens": 8}
    answer = server.ask("POST", "/bigcode/v1/infill", sides)[1]
    return str(answer["choices"][0]["text"])


def test_openai(server: Server, middle: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        names = [model.id for model in client.models.list()]
        assert names == ["pocket-coder"]
        call: dict[str, Any] = {"model": names[0], "prompt": PREFIX, "suffix": SUFFIX}
        call |= {"max_tokens": 8, "temperature": 0}
        whole = client.completions.create(**call)
        assert whole.choices[0].text == middle
        assert whole.usage
        assert whole.usage.completion_tokens > 0
        with client.completions.create(**call, stream=True) as stream:
            pieces = list(stream)
        assert "".join(piece.choices[0].text for piece in pieces) == middle
        assert pieces[-1].choices[0].finish_reason in ("stop", "length")
        drawn = client.completions.create(
            model=names[0], prompt=["def f(", "class A"], n=2, max_tokens=3, seed=1
        )
        assert [choice.index for choice in drawn.choices] == [0, 1, 2, 3]
        listed = client.completions.create(
            model=names[0], prompt="def f(x):\n", max_tokens=3, logprobs=2, echo=True
        )
        assert listed.choices[0].text.startswith("def f(x):\n")
        assert listed.choices[0].logprobs
        with pytest.raises(openai.NotFoundError, match="not in the local cache"):
            client.completions.create(model="nothing", prompt="x")
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            client.completions.create(model=names[0], prompt="x", max_tokens="many")  # type: ignore[call-overload]


def test_ollama(server: Server, middle: str) -> None:
    import ollama

    with ollama.Client(host=server.url) as client:
        assert [model.model for model in client.list().models] == ["pocket-coder"]
        call: dict[str, Any] = {"model": "pocket-coder", "prompt": PREFIX, "suffix": SUFFIX}
        call |= {"options": {"num_predict": 8, "temperature": 0}, "keep_alive": "5m"}
        assert client.generate(**call).response == middle
        parts = list(client.generate(**call, stream=True))
        assert "".join(part.response or "" for part in parts) == middle
        assert parts[-1].done
        assert "insert" in (client.show("pocket-coder").capabilities or ())
        assert client.ps().models[0].model == "pocket-coder"
        with pytest.raises(ollama.ResponseError) as raised:
            client.generate(model="nothing", prompt="x")
        assert raised.value.status_code == 404


def test_mistral(server: Server, middle: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mistralai.client import Mistral

    with Mistral(api_key="none", server_url=server.url) as client:
        call: dict[str, Any] = {"model": "pocket-coder", "prompt": PREFIX, "suffix": SUFFIX}
        call |= {"max_tokens": 8, "temperature": 0}
        whole = client.fim.complete(**call)
        assert whole.choices[0].message
        assert whole.choices[0].message.content == middle
        events = list(client.fim.stream(**call))
        text = "".join(str(event.data.choices[0].delta.content) for event in events)
        assert text == middle


def test_hugging_face(server: Server) -> None:
    from huggingface_hub import InferenceClient

    with InferenceClient(base_url=server.url) as client:
        call: dict[str, Any] = {"max_new_tokens": 6}
        whole = client.text_generation("def f(x):\n", **call)
        pieces = list(client.text_generation("def f(x):\n", stream=True, **call))
        assert whole
        assert "".join(map(str, pieces)) == whole
        details = client.text_generation("def f(x):\n", details=True, **call)
        assert details.details
        assert details.details.generated_tokens == 6
