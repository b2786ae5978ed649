"""The gates of `score`: above a limit, or worse than an earlier report or HEAD."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bigcode_cli.commands.score.options import DEFAULT_MAX_RISE, GateOptions
from bigcode_cli.files.results import GateResult, Verdict
from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.framework.output import plural

if TYPE_CHECKING:
    from bigcode_cli.commands.score.baseline import ScoreBaseline
    from gpt_bigcode.scoring.results import NllStats


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The limits of one call.

    Attributes:
        max_bits_per_byte: see `GateOptions`.
        min_tokens: files with fewer are not judged.
        baseline: an earlier report, if any.
        head: added lines are compared with what is around their place in HEAD.
        max_rise: the largest increase that passes, in bits per byte.
    """

    max_bits_per_byte: float | None = None
    min_tokens: int = 0
    baseline: "ScoreBaseline | None" = None
    head: bool = False
    max_rise: float = DEFAULT_MAX_RISE

    @classmethod
    def of(cls, options: GateOptions, *, staged: bool) -> "Gates":
        """Return the gates of a command line.

        Raises:
            Failure: `baseline`: the file cannot be read or is no report.
        """
        baseline = None
        if options.baseline is not None:
            from bigcode_cli.commands.score.baseline import ScoreBaseline

            baseline = ScoreBaseline.read(options.baseline)
        if baseline is not None and staged:
            from bigcode_cli.files.git_staged import top_folder

            baseline = baseline.within(top_folder())  # what is staged is named from there
        rise = DEFAULT_MAX_RISE if options.max_rise is None else options.max_rise
        return cls(
            max_bits_per_byte=options.max_bits_per_byte,
            min_tokens=options.min_tokens,
            baseline=baseline,
            head=staged and baseline is None and options.max_rise is not None,
            max_rise=rise,
        )

    @property
    def compare(self) -> bool:
        """Whether files are compared with a report or HEAD, which may lack some of them."""
        return self.baseline is not None or self.head

    def check_model(self, name: str) -> None:
        """Refuse to compare the values of two models.

        Raises:
            UsageFailure: the baseline says that another one made it.
        """
        made_with = None if self.baseline is None else self.baseline.model
        if made_with is not None and made_with != name:
            raise UsageFailure(f"--baseline: was made with the model {made_with}, this is {name}")

    def known(self, path: str, past: "NllStats | None") -> float | None:
        """Return the bits per byte to compare a file with; None if they are not known.

        Args:
            path: its name in the report.
            past: the value of what is around the added lines in HEAD, if it was computed.
        """
        if self.baseline is not None:
            return self.baseline.get(path)
        enough = past is not None and past.tokens >= self.min_tokens  # fewer tokens mean nothing
        return past.bits_per_byte if past is not None and enough else None

    def judge(
        self, judged: "NllStats", whole: "NllStats", known: float | None
    ) -> GateResult | None:
        """Judge a file; None if there are no gates.

        Args:
            judged: the value to judge: of the file, or of its added lines.
            whole: the value of the file.
            known: see `known`.
        """
        if self.max_bits_per_byte is None and not self.compare:
            return None
        if judged.tokens < self.min_tokens:
            return GateResult(Verdict.TOO_SHORT)
        findings = tuple(self._findings(judged, whole, known))
        if findings:
            return GateResult(Verdict.FAIL, findings)
        unknown = known is None and self.max_bits_per_byte is None
        return GateResult(Verdict.NOT_COMPARED if unknown else Verdict.PASS)

    def unknown_files(self, count: int, files: int) -> str:
        """Describe files that were not compared.

        Args:
            count: how many.
            files: the number of all files.
        """
        lack = "is in the baseline" if self.baseline is not None else "has enough text in HEAD"
        if count == files:
            return f"nothing was compared: no file {lack}"
        missing = "not in the baseline" if self.baseline is not None else "without enough in HEAD"
        return f"{count:,} of {plural(files, 'file')} {missing}"

    def _findings(
        self, judged: "NllStats", whole: "NllStats", known: float | None
    ) -> Iterator[str]:
        bits = judged.bits_per_byte
        limit = math.inf if self.max_bits_per_byte is None else self.max_bits_per_byte
        if bits is not None and bits > limit:
            yield f"above the limit of {limit:g}"
        now = bits if self.head else whole.bits_per_byte
        if known is None or now is None or now - known <= self.max_rise:
            return
        what = "the lines around them in HEAD" if self.head else "the baseline"
        yield f"{now - known:.3f} above {what} ({known:.3f}); at most {self.max_rise:g} is allowed"
