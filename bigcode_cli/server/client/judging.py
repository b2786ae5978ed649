"""Scores, labels and spans from the server, in the place of a model that is loaded here."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bigcode_cli.server.client.connection import ServerUnusableError, as_agreed
from bigcode_cli.server.client.warm import Warm
from bigcode_cli.server.judged_text import JudgedText

if TYPE_CHECKING:
    from gpt_bigcode.labeling.options import TagOptions
    from gpt_bigcode.labeling.results import Advance, Classification, Tagging
    from gpt_bigcode.scoring.results import Score, ScoreOptions

_GROUP_CHARACTERS = 1 << 21
"""Texts are sent in groups of this size: even with every character escaped a body has room."""
Documents = Iterable[Iterable[str]]
Read = Callable[[dict[str, Any], str], Any]
Many = Callable[[Any, Documents], Iterator[Any]]


class _WarmModel:
    """A model of the server that is asked about many texts."""

    job: str

    def __init__(self, warm: Warm, load: Callable[[], Any]) -> None:
        """Ask nothing yet.

        Args:
            warm: the server's model.
            load: loads the model here, if the server cannot be used.
        """
        self.name, self.revision = warm.name, warm.revision
        self._warm, self._load = warm, load
        self._local: Any = None

    def _many(
        self, body: dict[str, Any], documents: Documents, read: Read, many: Many
    ) -> Iterator[Any]:
        """What the library gives for texts that come in pieces, in their order.

        Args:
            body: the request's fields besides the texts.
            documents: the texts.
            read: a finding and its text -> the library's result.
            many: a model that was loaded here and texts -> the library's results.
        """
        group: list[JudgedText | Exception] = []
        size = 0
        for document in documents:
            try:
                text = "".join(document)
            # Whatever the reader of one text raises must not end the others.
            except Exception as error:  # noqa: BLE001
                group.append(error)
                continue
            if size + len(text) > _GROUP_CHARACTERS:
                yield from self._flush(group, body, read, many)
                group, size = [], 0
            group.append(JudgedText(text, getattr(document, "lines", None)))
            size += len(text)
        yield from self._flush(group, body, read, many)

    def _flush(
        self, group: list[JudgedText | Exception], body: dict[str, Any], read: Read, many: Many
    ) -> Iterator[Any]:
        """The results of a group; those that the server does not give are computed here."""
        texts = [text for text in group if isinstance(text, JudgedText)]
        answers = self._answers(texts, body, read, many)
        for outcome in group:
            yield next(answers) if isinstance(outcome, JudgedText) else outcome

    def _answers(
        self, texts: list[JudgedText], body: dict[str, Any], read: Read, many: Many
    ) -> Iterator[Any]:
        given = 0
        small = sum(len(text.text) for text in texts) <= _GROUP_CHARACTERS
        if texts and self._local is None and small:
            try:
                for found in self._ask(texts, body):
                    with as_agreed():
                        result = read(found, texts[given].text)
                    yield result
                    given += 1
            except ServerUnusableError as error:
                self._warm.give_up(error)
        if given < len(texts):
            self._local = self._local or self._load()
            yield from many(self._local, [text.document() for text in texts[given:]])

    def _ask(self, texts: list[JudgedText], body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        files = [text.fields() for text in texts]
        given = 0
        for event in self._warm.events(self.job, {**body, "files": files}):
            if event["event"] != "file":
                continue
            with as_agreed():
                status = event["file"]["status"]
            if status != "ok":  # computed here it is told in full
                raise ServerUnusableError("a text cannot be worked on")
            if not given:
                self._warm.note_used()
            given += 1
            yield event["file"]
        if given < len(texts):
            raise ServerUnusableError("it has left out some texts")


class WarmScorer(_WarmModel):
    """The twin of the library's `TextScorer`."""

    job = "score"

    def score_many(
        self, documents: Documents, options: "ScoreOptions"
    ) -> Iterator["Score | Exception"]:
        """Score texts; see the library's method of this name."""
        body = {
            "window": options.mode.value,
            "stride": options.stride,
            "lines": options.lines,
            "tokens": options.tokens,
        }

        def local(model: Any, texts: Documents) -> Iterator[Any]:
            return model.score_many(texts, options)  # type: ignore[no-any-return]

        return self._many(body, documents, _score, local)


class WarmClassifier(_WarmModel):
    """The twin of the library's `TextClassifier`."""

    job = "classify"

    def classify_many(
        self, documents: Documents, *, windows: bool = False
    ) -> Iterator["Classification | Exception"]:
        """Classify texts; see the library's method of this name."""

        def local(model: Any, texts: Documents) -> Iterator[Any]:
            return model.classify_many(texts, windows=windows)  # type: ignore[no-any-return]

        return self._many({"windows": windows}, documents, _classification, local)


class WarmTagger(_WarmModel):
    """The twin of the library's `TextTagger`."""

    job = "tag"
    reads_lines = False
    """Nothing is given before the end of a text, whatever the model can do."""

    def tag_many(
        self, documents: Documents, options: "TagOptions"
    ) -> Iterator["Tagging | Exception"]:
        """Find the spans of texts; see the library's method of this name."""
        labels = None if options.labels is None else sorted(options.labels)
        body = {
            "labels": labels,
            "min_score": options.min_score,
            "min_scores": dict(options.min_scores),
        }

        def local(model: Any, texts: Documents) -> Iterator[Any]:
            return model.tag_many(texts, options)  # type: ignore[no-any-return]

        return self._many(body, documents, _tagging, local)

    def stream(self, pieces: Iterable[str], options: "TagOptions") -> Iterator["Advance"]:
        """Find the spans of one text, all at its end; see the library's method of this name."""
        from gpt_bigcode.labeling.results import Advance

        size = 0

        def measured() -> Iterator[str]:
            nonlocal size
            for piece in pieces:
                size += len(piece.encode())
                yield piece

        outcome = next(iter(self.tag_many([measured()], options)))
        if isinstance(outcome, Exception):
            raise outcome
        yield Advance(spans=outcome.spans, offset=size)


KINDS = {kind.job: kind for kind in (WarmScorer, WarmClassifier, WarmTagger)}
"""By the name of the job."""


def _score(found: dict[str, Any], _text: str) -> "Score":
    from gpt_bigcode.scoring.results import LineScore, Score, TokenScore, TokenScores

    return Score(
        tokens=found["tokens"],
        bytes=found["bytes"],
        nll=found["nll"],
        windows=found["windows"],
        lines=tuple(LineScore(**line) for line in found.get("lines", ())),
        token_scores=TokenScores.of(TokenScore(**token) for token in found.get("token_scores", ())),
    )


def _classification(found: dict[str, Any], _text: str) -> "Classification":
    from gpt_bigcode.labeling.results import Classification, Problem, WindowLabels

    problem, names = Problem(found["problem"]), tuple(found["names"])
    shared: dict[str, Any] = {"problem": problem, "names": names}
    windows = tuple(
        WindowLabels(**shared, **_labels(one), start=one["start"], end=one["end"])
        for one in found.get("window_labels", ())
    )
    return Classification(
        **shared, **_labels(found), windows=found["windows"], window_labels=windows
    )


def _labels(found: dict[str, Any]) -> dict[str, Any]:
    values = tuple(found["scores"].values())
    return {"values": values, "tokens": found["tokens"], "bytes": found["bytes"]}


def _tagging(found: dict[str, Any], text: str) -> "Tagging":
    from gpt_bigcode.labeling.results import Span, Tagging

    data = text.encode()
    spans = tuple(
        Span(**span, text=data[span["start"] : span["end"]].decode()) for span in found["spans"]
    )
    return Tagging(spans=spans, tokens=found["tokens"], windows=found["windows"])
