"""One engine behind a pipe: reads a JSON line that says what to time, answers with one.

Started by decode.py: python benchmarks/engines.py KIND FOLDER THREADS
"""

import json
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch


class Engine(ABC):
    """What all are asked to do."""

    @abstractmethod
    def prefill(self, ids: list[int]) -> None:
        """Read a prompt, to its first new token."""

    @abstractmethod
    def decode(self, ids: list[int], count: int) -> float:
        """Read a prompt, write `count` more tokens; seconds of the writing alone."""


class Bigcode(Engine):
    """This project's own decoder."""

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        from gpt_bigcode.config import GPTBigCodeConfig
        from gpt_bigcode.hardware import LoadingPolicy, Precision
        from gpt_bigcode.loading import open_decoder

        config = GPTBigCodeConfig.from_json_file(folder / "config.json")
        self._decoder = open_decoder(
            folder,
            config,
            device="cpu",
            precision=Precision(precision),
            threads=threads,
            policy=LoadingPolicy(cache_folder=folder / "quantized"),  # as the commands do
        )

    def prefill(self, ids: list[int]) -> None:
        """See `Engine`."""
        self._decoder.prefill([ids])

    def decode(self, ids: list[int], count: int) -> float:
        """See `Engine`."""
        logits = self._decoder.prefill([ids])
        started = time.perf_counter()
        for _ in range(count):
            logits = self._decoder.decode([int(logits[0].argmax())])
        return time.perf_counter() - started


class Transformers(Engine):
    """The reference, with its own cache, one call a token as in its `generate`."""

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        dtype = getattr(torch, precision)
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)

    @torch.inference_mode()
    def prefill(self, ids: list[int]) -> None:
        """See `Engine`."""
        self._model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)

    @torch.inference_mode()
    def decode(self, ids: list[int], count: int) -> float:
        """See `Engine`."""
        output = self._model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        started = time.perf_counter()
        for _ in range(count):
            token = output.logits[:, -1:].argmax(-1)
            output = self._model(token, past_key_values=output.past_key_values, use_cache=True)
        return time.perf_counter() - started


class CTranslate2(Engine):
    """Its generator; the time of a prompt with one new token is taken off."""

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        _write_words(folder)
        with tempfile.TemporaryDirectory() as converted:
            converter = TransformersConverter(str(folder))
            converter.convert(converted, quantization=precision, force=True)
            self._generator = ctranslate2.Generator(
                converted, compute_type=precision, intra_threads=threads
            )

    def prefill(self, ids: list[int]) -> None:
        """See `Engine`."""
        self._write(ids, 1)

    def decode(self, ids: list[int], count: int) -> float:
        """See `Engine`."""
        started = time.perf_counter()
        self._write(ids, 1)
        read = time.perf_counter()
        self._write(ids, count + 1)
        return time.perf_counter() - read - (read - started)

    def _write(self, ids: list[int], count: int) -> None:
        self._generator.generate_batch(
            [[f"w{token}" for token in ids]],
            max_length=count,
            min_length=count,
            sampling_topk=1,
            end_token=[],
            include_prompt_in_result=False,
        )


class LlamaCpp(Engine):
    """llama.cpp's server, in this process, without its cache of prompts."""

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import xllamacpp

        from gguf_export import write_gguf

        path = folder / f"{precision}.gguf"
        if not path.exists():
            write_gguf(folder, path, precision)
        wanted = xllamacpp.CommonParams()
        wanted.model.path = str(path)
        wanted.n_ctx, wanted.n_parallel, wanted.n_gpu_layers = 4096, 1, 0
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads
        self._server = xllamacpp.Server(wanted)

    def prefill(self, ids: list[int]) -> None:
        """See `Engine`."""
        self._write(ids, 1)

    def decode(self, ids: list[int], count: int) -> float:
        """See `Engine`; its own clock, which starts with the first token."""
        return float(self._write(ids, count + 1)["timings"]["predicted_ms"]) / 1000

    def _write(self, ids: list[int], count: int) -> Any:
        request = {
            "prompt": ids,
            "n_predict": count,
            "ignore_eos": True,
            "cache_prompt": False,
            "top_k": 1,
        }
        answer = self._server.handle_completions(request)
        if answer.get("timings", {}).get("predicted_n") != count:
            raise RuntimeError(str(answer)[:1000])
        return answer


def _write_words(folder: Path) -> None:
    """One word for each token: the converter asks for names."""
    vocabulary = json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"]
    words = {f"w{index}": index for index in range(vocabulary)}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    tokenizer = {"version": "1.0", "added_tokens": [], "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "w0")
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind), "utf-8")


KINDS: dict[str, Any] = {
    "bigcode": Bigcode,
    "transformers": Transformers,
    "ctranslate2": CTranslate2,
    "llama.cpp": LlamaCpp,
}


def _prompt(tokens: int) -> list[int]:
    return [100 + (7919 * place) % 40_000 for place in range(tokens)]


def main() -> None:
    """Load, say how long that took, then answer until the pipe is closed."""
    kind, precision = sys.argv[1].split(":")
    started = time.perf_counter()
    engine: Engine = KINDS[kind](Path(sys.argv[2]), precision, int(sys.argv[3]))
    print(json.dumps({"load_seconds": round(time.perf_counter() - started, 2)}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        engine.prefill(_prompt(request["prefill"]))
        prefill = request["prefill"] / (time.perf_counter() - started)
        decode = request["new"] / engine.decode(_prompt(request["context"]), request["new"])
        print(json.dumps({"prefill": prefill, "decode": decode}), flush=True)


if __name__ == "__main__":
    main()
