"""Steps of several texts in one pass of the model, and prompts that are read once."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from bigcode_cli.server.engine.prefills import Prefills
from bigcode_cli.server.engine.thread import CancelledRequestError, Engine, Ticket

TEXTS, STEPS = 4, 30


class Counting:
    """A decoder of one row whose logits are the number of tokens that it was given."""

    def __init__(self, passes: list[int], *, broken: bool = False) -> None:
        self.passes, self.broken, self.given = passes, broken, 0

    def append_each(
        self, decoders: Sequence["Counting"], tokens: Sequence[Sequence[int]]
    ) -> list[np.ndarray[Any, Any]]:
        if any(one.broken for one in decoders):
            raise ValueError("broken")
        self.passes.append(len(decoders))
        for one, part in zip(decoders, tokens, strict=True):
            one.given += len(part)
        return [
            np.full((len(part), 1), one.given) for one, part in zip(decoders, tokens, strict=True)
        ]


@pytest.fixture
def engine() -> Any:
    engine = Engine("test")
    yield engine
    engine.close()


def _write(engine: Engine, decoder: Any, steps: int = STEPS) -> list[int]:
    ticket = Ticket()
    try:
        return [int(engine.step(ticket, decoder, [1])[-1, 0]) for _ in range(steps)]
    finally:
        engine.leave(ticket)


def _await(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def _block(engine: Engine) -> Callable[[], None]:
    """Keep the engine busy until the returned function is called."""
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        free.wait()

    threading.Thread(target=lambda: engine.call(Ticket(), hold)).start()
    held.wait()  # else it may take what comes next together with this
    return free.set


def test_texts_that_wait_together_go_on_together(engine: Engine) -> None:
    passes: list[int] = []
    go = _block(engine)
    with ThreadPoolExecutor(TEXTS) as pool:
        texts = [pool.submit(_write, engine, Counting(passes)) for _ in range(TEXTS)]
        go()
        assert [text.result() for text in texts] == [list(range(1, STEPS + 1))] * TEXTS
    assert sum(passes) == TEXTS * STEPS
    assert max(passes) > 1


def test_a_step_that_fails_fails_alone(engine: Engine) -> None:
    passes: list[int] = []
    go = _block(engine)
    with ThreadPoolExecutor(TEXTS) as pool:
        texts = [
            pool.submit(_write, engine, Counting(passes, broken=place == 1)) for place in range(3)
        ]
        go()
        assert texts[0].result() == texts[2].result() == list(range(1, STEPS + 1))
        with pytest.raises(ValueError, match="broken"):
            texts[1].result()


def test_a_cancelled_text_ends_and_the_others_go_on(engine: Engine) -> None:
    passes: list[int] = []
    gone = Ticket()
    engine.step(gone, Counting(passes), [1])  # type: ignore[arg-type]
    gone.cancel("disconnect")
    with pytest.raises(CancelledRequestError):
        engine.step(gone, Counting(passes), [1])  # type: ignore[arg-type]
    assert _write(engine, Counting(passes)) == list(range(1, STEPS + 1))  # waits, not for ever


def test_the_parts_of_a_prompt_stay_together(engine: Engine) -> None:
    done: list[str] = []
    go = _block(engine)
    first, second = engine.turn(), engine.turn()

    def read(name: str, turn: int) -> None:
        for _ in range(3):
            engine.call(Ticket(), lambda: done.append(name), turn)

    with ThreadPoolExecutor(2) as pool:
        later = pool.submit(read, "second", second)
        pool.submit(read, "first", first)
        _await(lambda: engine._arrived.qsize() == 2)
        go()
        later.result()
    assert done[0] == "first"
    assert sorted(done) == ["first"] * 3 + ["second"] * 3


def test_equal_prompts_are_read_once() -> None:
    prefills: Prefills[str] = Prefills()
    begun, go, read = threading.Event(), threading.Event(), []

    def compute() -> str:
        begun.set()
        go.wait()
        read.append(1)
        return "state"

    def copies(state: str, count: int) -> list[str]:
        return [f"{state} {number}" for number in range(count)]

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(prefills.read, "a", Ticket(), compute, copies)
        begun.wait()
        others = [pool.submit(prefills.read, "a", Ticket(), compute, copies) for _ in range(2)]
        _await(lambda: len(prefills._waiting["a"]) == 2)
        go.set()
        assert first.result() == ("state", False)
        assert {other.result() for other in others} == {("state 0", True), ("state 1", True)}
    assert len(read) == 1


def test_who_waits_for_a_prompt_that_fails_reads_it() -> None:
    prefills: Prefills[str] = Prefills()
    begun, go = threading.Event(), threading.Event()

    def fail() -> str:
        begun.set()
        go.wait()
        raise CancelledRequestError("disconnect")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(prefills.read, "a", Ticket(), fail, lambda *_: [])
        begun.wait()
        other = pool.submit(prefills.read, "a", Ticket(), lambda: "own", lambda *_: [])
        _await(lambda: bool(prefills._waiting["a"]))
        go.set()
        assert other.result() == ("own", False)
        with pytest.raises(CancelledRequestError):
            first.result()
