"""The warm path beside llama.cpp's server on the same weights, and as whole processes.

    python benchmarks/server.py [santacoder|pocket-coder] [--only clients,keystroke,process,files]

`clients`: 1 to 32 clients at once, each with a prompt of its own as token ids, streamed. Both
servers are up all the time and take turns. `keystroke`: a character more at the end of a file, and
before a gap. `process`: `bigcode complete` from start to end. `files`: one call a file, 50 files.
The peer needs `pip install xllamacpp gguf`; without it only our own figures are shown.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contest import machine
from gpt_bigcode.benchmarking.random_weights import FAMILY, family_config, write_random_checkpoint

HERE = Path(__file__).resolve().parent
BUILT_IN = HERE.parent / "model/pocket_coder"
PROGRAM = str(Path(sys.executable).with_name("bigcode"))
START_SECONDS, NEW_TOKENS = 600.0, 16
SLOTS = 32


@dataclass(frozen=True)
class Answer:
    """How long one client waited, in seconds, and for how many tokens."""

    first: float
    whole: float
    tokens: int


class Served:
    """A server as a process."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        self.process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            self.address = urlsplit(self._await_address()).netloc
        except BaseException:
            self.process.kill()
            raise

    def _await_address(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            lines = self._log.read_text("utf-8", "replace").splitlines()
            found = [line for line in lines if "http://127" in line and "load_model" not in line]
            if found and self._is_ready(found[-1][found[-1].index("http://") :]):
                return found[-1][found[-1].index("http://") :]
            time.sleep(0.1)
        raise SystemExit(self._log.read_text("utf-8", "replace")[-2000:])

    def _is_ready(self, address: str) -> bool:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def ask(self, path: str, body: dict[str, Any]) -> Answer:
        """Send a request and read the stream of events."""
        connection = http.client.HTTPConnection(self.address, timeout=300)
        started = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body | {"stream": True}), headers)
        response = connection.getresponse()
        first, tokens = 0.0, 0
        while line := response.readline():
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            shown = event["choices"][0] if event.get("choices") else event
            if not first and (shown.get("text") or shown.get("content")):
                first = time.perf_counter() - started
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
        connection.close()
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status}")
        whole = time.perf_counter() - started
        return Answer(first or whole, whole, tokens)

    def close(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.terminate()
        self.process.wait()


def prepare(shape: str, folder: Path) -> Path:
    """A folder with a model of that shape, with a tokenizer."""
    model = folder / shape
    if model.exists():
        return model
    model.mkdir(parents=True)
    if shape == "pocket-coder":
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            shutil.copy(BUILT_IN / name, model / name)
        return model
    write_random_checkpoint(model, family_config(shape))
    tokenizer = json.loads((BUILT_IN / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    for number in range(len(vocabulary), FAMILY[shape]["vocab_size"]):
        vocabulary[f"w{number}"] = number  # no merge leads there, but random weights do
    (model / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    return model


class Contest:
    """Our server and, where it is installed, the peer, with one model."""

    def __init__(self, model: Path, kind: str, threads: int) -> None:
        self.model, self.threads = model, threads
        self.folder = Path(tempfile.mkdtemp(prefix="bc"))
        limits = [f"--parallel={SLOTS}", f"--threads={threads}", "--keep-alive=-1"]
        command = [PROGRAM, "serve", "-m", str(model), "--port", "0", "-v", *limits]
        self.environment = {"XDG_RUNTIME_DIR": str(self.folder), "OMP_NUM_THREADS": str(threads)}
        started = time.perf_counter()
        ours = Served(command, self.environment, self.folder / "ours.log")
        self.load_seconds = time.perf_counter() - started
        self.servers = {"bigcode serve": ours}
        try:
            import xllamacpp  # noqa: F401

            from gguf_export import write_gguf
        except ImportError:
            print("llama-server: not here, left out", file=sys.stderr)
            return
        file = model / f"{kind}.gguf"
        if not file.exists():
            write_gguf(model, file, kind)
        words = [str(threads), str(SLOTS), "2048"]
        peer = [sys.executable, str(HERE / "llama_server.py"), str(file), *words]
        self.servers[f"llama-server {kind}"] = Served(peer, {}, self.folder / "peer.log")

    @property
    def ours(self) -> Served:
        """Our server."""
        return self.servers["bigcode serve"]

    def close(self) -> None:
        """End both."""
        for server in self.servers.values():
            server.close()
        shutil.rmtree(self.folder)


def at_once(server: Served, prompts: Sequence[Sequence[int]]) -> tuple[list[Answer], float]:
    """One client a prompt; their answers, and the tokens a second that all got together."""
    answers: list[Answer] = []
    start = threading.Barrier(len(prompts) + 1)

    def ask(prompt: Sequence[int]) -> None:
        start.wait()
        body = {"prompt": list(prompt), "max_tokens": NEW_TOKENS, "temperature": 0}
        asked = {**body, "stream_options": {"include_usage": True}, "ignore_eos": True}
        answers.append(server.ask("/v1/completions", asked))

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return answers, sum(answer.tokens for answer in answers) / seconds


def clients(contest: Contest, arguments: argparse.Namespace) -> None:
    """The table of many clients."""
    draw = random.Random(3)  # noqa: S311 - repeatable
    print("| clients | server | first token, s: median, last | whole, s | tokens/s |")
    print("|---|---|---|---|---|")
    for server in contest.servers.values():
        at_once(server, [[5] * 8])
    for count in arguments.clients:
        prompts = [
            [draw.randrange(20, 8000) for _ in range(arguments.prompt)] for _ in range(count)
        ]
        for name, server in contest.servers.items():
            answers, rate = at_once(server, prompts)
            firsts = sorted(answer.first for answer in answers)
            whole = statistics.median(answer.whole for answer in answers)
            shown = f"{statistics.median(firsts):.3f}, {firsts[-1]:.3f}"
            print(f"| {count} | {name} | {shown} | {whole:.3f} | {rate:.1f} |", flush=True)


def text_of(tokens: int) -> str:
    """So many of the built-in model's tokens of real code."""
    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

    tokenizer = CodeTokenizer.from_file(BUILT_IN / "tokenizer.json")
    sources = sorted((HERE.parent / "model/gpt_bigcode").rglob("*.py"))
    text = "".join(path.read_text("utf-8") for path in sources)
    return tokenizer.decode_bytes(tokenizer.encode(text)[:tokens]).decode("utf-8", "ignore")


def keystroke(contest: Contest, arguments: argparse.Namespace) -> None:
    """A character more: first token of a warm server, and of the program as a process."""
    text, typed = text_of(1500), "    return value"
    middle = len(text) // 2
    print("| a keystroke after 1,500 tokens | first token, s: median (range) |\n|---|---|")
    for order in ("spm", "psm"):

        def ask(place: int, order: str = order) -> float:
            sides = {"prefix": text[:middle] + typed[:place], "suffix": text[middle:]}
            body = {**sides, "order": order, "max_tokens": 1}
            return contest.ours.ask("/bigcode/v1/infill", body).first

        _show(f"`/bigcode/v1/infill`, {order.upper()}, in the middle", ask, arguments.runs)
    for name, server in contest.servers.items():

        def append(place: int, server: Served = server) -> float:
            asked = {"prompt": text + typed[:place], "max_tokens": 1, "temperature": 0}
            return server.ask("/v1/completions", asked).first

        _show(f"{name} `/v1/completions`, at the end", append, arguments.runs)

    def run(place: int) -> float:
        return contest_run(contest, text + typed[:place], ["--max-tokens", "1"])

    _show("`bigcode complete --max-tokens 1`, whole process", run, arguments.runs)


def _show(name: str, work: Callable[[int], float], runs: int) -> None:
    work(0)
    times = [work(place) for place in range(1, runs + 1)]
    shown = f"{statistics.median(times):.3f} ({min(times):.3f} to {max(times):.3f})"
    print(f"| {name} | {shown} |", flush=True)


def contest_run(contest: Contest, text: str, words: Sequence[str]) -> float:
    """Seconds of one `bigcode complete` that reads standard input."""
    started = time.perf_counter()
    _complete(contest, text, words)
    return time.perf_counter() - started


def _complete(contest: Contest, text: str, words: Sequence[str]) -> bytes:
    return subprocess.run(
        [PROGRAM, "complete", "--quiet", "-m", str(contest.model), *words, "-"],
        input=text.encode(),
        env=os.environ | contest.environment,
        check=True,
        capture_output=True,
    ).stdout


def process(contest: Contest, arguments: argparse.Namespace) -> None:
    """A warm `bigcode complete` as a whole process, and what of it is decoding."""
    print("| warm `bigcode complete`, 16 tokens | s: median (range) |\n|---|---|")
    text, rest = text_of(300), []

    def run(place: int) -> float:
        words = ["--max-tokens", "16", "--format", "json", "--seed", str(place)]
        started = time.perf_counter()
        answer = json.loads(_complete(contest, text, words))
        seconds = time.perf_counter() - started
        rest.append(seconds - answer["timings"]["decode_seconds"])
        return seconds

    _show("whole process", run, arguments.runs)
    print(f"| without its decoding | {statistics.median(rest[1:]):.3f} |")


def files(contest: Contest, arguments: argparse.Namespace) -> None:
    """One call a file: the sum, beside a load and the answers that the server timed."""
    sources = sorted((HERE.parent / "model/gpt_bigcode").rglob("*.py"))[: arguments.files]
    answers = seconds = 0.0
    for source in sources:
        text = source.read_text("utf-8")[:1000]
        started = time.perf_counter()
        timings = json.loads(_complete(contest, text, ["--max-tokens", "4", "--format", "json"]))
        seconds += time.perf_counter() - started
        timings = timings["timings"]
        answers += timings["prefill_seconds"] + timings["decode_seconds"]
    load = contest.load_seconds
    print(
        f"{len(sources)} files: load {load:.1f} s + calls {seconds:.1f} s, answers {answers:.1f} s"
    )


PARTS = {"clients": clients, "keystroke": keystroke, "process": process, "files": files}


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", nargs="?", default="santacoder", choices=[*FAMILY, "pocket-coder"])
    parser.add_argument("--folder", type=Path, help="keep models here for the next run")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--clients", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--prompt", type=int, default=64, help="tokens")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers end with this program
    arguments.clients = arguments.clients or [1, 2, 4, 8, 16, 32]
    with tempfile.TemporaryDirectory() as temporary:
        model = prepare(arguments.shape, arguments.folder or Path(temporary))
        print(machine())
        contest = Contest(
            model, "f32" if arguments.shape == "pocket-coder" else "q8_0", arguments.threads
        )
        try:
            for name in arguments.only:
                PARTS[name](contest, arguments)
                print()
        finally:
            contest.close()


if __name__ == "__main__":
    main()
