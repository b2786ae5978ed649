"""CodeTokenizer: tokenizer.json; text of the user never becomes a control token.

Text and tokens correspond byte for byte: what a byte-level BPE encodes it must give back, and a
character that the vocabulary cannot spell is an error, not a gap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import InfillUnsupportedError, InputError, TokenizerError
from gpt_bigcode.tokenization.tokenizer_json import (
    BYTE_OF,
    END_OF_TEXT,
    INFILL_SPELLINGS,
    TokenizerDefinition,
)

# Longer texts are not tokenized whole where only one end is needed.
WHOLE_CHARACTERS = 1 << 18
_LATIN_1 = {ord(char): byte for char, byte in BYTE_OF.items()}  # as str.translate takes it
_CONTINUATION = range(0x80, 0xC0)  # bytes inside a character of UTF-8
_PROBE = "def f(x):\n\treturn  [1, 'é', \"中😀\"]\r\n\n    # 2024 ,?  "


@dataclass(frozen=True)
class InfillTokens:
    """Ids of the sentinels for infilling; `pad` only where the vocabulary has it."""

    prefix: int
    middle: int
    suffix: int
    pad: int | None = None


@dataclass(frozen=True)
class RepositoryTokens:
    """Ids of the tokens that name a repository and a file."""

    repository: int
    file: int


class CodeTokenizer:
    """Byte-level BPE with control tokens apart.

    Attributes:
        special_ids: content -> id of every control token.
        control_ids: their ids; each of them ends a text.
        end_of_text_id: the token between documents.
        infill: the sentinels, or None.
        repository: the tokens for file names, or None.
        vocabulary_size: highest id + 1; a model may have more rows.
        longest_token_bytes: bytes of the longest ordinary token.
        missing_bytes: byte values that no token spells (StarCoder's vocabulary lacks some).
    """

    def __init__(self, definition: TokenizerDefinition) -> None:
        self._definition = definition
        self.special_ids = definition.special_ids
        self.control_ids = frozenset(self.special_ids.values())
        self.vocabulary_size = max(definition.contents) + 1
        spelled = {BYTE_OF[char] for char in BYTE_OF.keys() & definition.ordinary}
        self.missing_bytes = frozenset(range(256)) - spelled
        self.longest_token_bytes = max(map(len, definition.ordinary), default=1)
        self.end_of_text_id = _first(self.special_ids, END_OF_TEXT)
        self.infill = _infill_tokens(self.special_ids)
        self.repository = _repository_tokens(self.special_ids)
        self._bytes: dict[int, bytes] = {}
        self._encoder = _build_encoder(definition.encoder_json)
        self._probe()

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a tokenizer.json of at most 64 MiB.

        Raises:
            CheckpointMissingError: no such file.
            TokenizerError: damaged, not a lossless byte-level BPE, or with an unknown pattern.
        """
        return cls(TokenizerDefinition.from_file(Path(path)))

    def validate_against(self, config: GPTBigCodeConfig) -> None:
        """Check that every id has a row in the model's token table.

        Raises:
            TokenizerError: an id is too high.
        """
        if self.vocabulary_size > config.vocab_size:
            raise TokenizerError(
                f"tokenizer.json: id {self.vocabulary_size - 1}, but the model's vocabulary "
                f"has {config.vocab_size} tokens"
            )

    def start_id(self, config: GPTBigCodeConfig) -> int:
        """The token that starts a text: the configuration's, if the vocabulary has it as control.

        Else `end_of_text_id`: published files often keep GPT-2's 50256, which is another token.
        """
        bos = config.bos_token_id
        return bos if bos is not None and bos in self.control_ids else self.end_of_text_id

    def has(self, token: int) -> bool:
        """Whether the vocabulary has this id."""
        return token in self._definition.contents

    def encode(self, text: str) -> list[int]:
        """Ids of a text, none of them special; `decode_bytes` gives back exactly its UTF-8.

        Raises:
            InputError: a lone surrogate, or a character that the vocabulary cannot spell.
        """
        return self._encode(text)[0]

    def _encode(self, text: str) -> tuple[list[int], list[bytes]]:
        """Ids and the bytes of each."""
        try:
            raw = text.encode()
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            raise InputError(
                f"invalid Unicode: a lone surrogate U+{code:04X} at character {error.start}"
            ) from None
        ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        pieces = [self.token_bytes(token) for token in ids]
        if b"".join(pieces) != raw:
            raise self._lossy(text)
        if not self.control_ids.isdisjoint(ids):
            raise TokenizerError("tokenizer.json: ordinary text becomes a control token")
        return ids, pieces

    def encode_tail(self, text: str, max_tokens: int) -> tuple[list[int], int]:
        """The last tokens of a text that may be far too long, and how many were left out.

        The cut is at a line start if one lies in the first half of what fits, else between
        characters. Of a text of more than 256 Ki characters only enough is tokenized to fill
        `max_tokens`; the number left out is then estimated.

        Raises:
            InputError: as for `encode`.
        """
        ids, pieces, skipped = self._window(text, max_tokens, tail=True)
        if len(ids) <= max_tokens and not skipped:
            return ids, 0
        first = max(len(ids) - max_tokens, 0)
        kept = self._from_line_start(pieces, first)
        if kept is None or len(kept) > max_tokens:
            kept = ids[_whole_character(pieces, first, 1) :]
        return kept, _left_out(ids, kept, skipped, len(text))

    def encode_head(self, text: str, max_tokens: int) -> tuple[list[int], int]:
        """The first tokens of a text, and how many were left out; otherwise as `encode_tail`."""
        ids, pieces, skipped = self._window(text, max_tokens, tail=False)
        if len(ids) <= max_tokens and not skipped:
            return ids, 0
        kept = self._to_line_end(pieces, max_tokens)
        if kept is None or len(kept) > max_tokens:
            kept = ids[: _whole_character(pieces, max_tokens, -1)]
        return kept, _left_out(ids, kept, skipped, len(text))

    def _from_line_start(self, pieces: Sequence[bytes], first: int) -> list[int] | None:
        """Ids from the first line start in the pieces from `first` on, if it is in their half."""
        raw = b"".join(pieces[first:])
        before = b"".join(pieces[max(first - 1, 0) : first])
        line = 0 if before.endswith(b"\n") else raw.find(b"\n", 0, len(raw) // 2) + 1
        return self.encode(raw[line:].decode()) if line or before.endswith(b"\n") else None

    def _to_line_end(self, pieces: Sequence[bytes], count: int) -> list[int] | None:
        """Ids up to the last line end among the first `count` pieces, if it is in their half."""
        raw = b"".join(pieces[:count])
        line = raw.rfind(b"\n", len(raw) // 2) + 1
        return self.encode(raw[:line].decode()) if line else None

    def _window(
        self, text: str, max_tokens: int, *, tail: bool
    ) -> tuple[list[int], list[bytes], int]:
        """Ids and bytes of enough of one end of a text, and the number of characters left out."""
        enough = max(max_tokens + 1, 1) * self.longest_token_bytes
        size = len(text) if len(text) <= WHOLE_CHARACTERS else min(8 * max_tokens + 1, enough)
        while True:
            size = min(size, len(text))
            ids, pieces = self._encode(text[len(text) - size :] if tail else text[:size])
            # One token more than fits shows where a real cut is.
            if size == len(text) or len(ids) > max_tokens or size >= enough:
                return ids, pieces, len(text) - size
            size *= 2

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of token ids; control tokens and unknown ids have none."""
        return b"".join(map(self.token_bytes, ids))

    @cached_property
    def spellings(self) -> tuple[bytes, ...]:
        """The bytes of every id, in order."""
        return tuple(map(self.token_bytes, range(self.vocabulary_size)))

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one id; may end inside a character."""
        known = self._bytes.get(token)
        if known is None:
            known = self._spell(token)
            if self.has(token):  # unknown ones have no end
                self._bytes[token] = known
        return known

    def require_infill(self) -> InfillTokens:
        """The sentinels.

        Raises:
            InfillUnsupportedError: the vocabulary has none.
        """
        if self.infill is None:
            raise InfillUnsupportedError(
                "cannot infill: its tokenizer has no sentinel tokens",
                hint="use a model that was trained to infill, such as SantaCoder or StarCoder",
            )
        return self.infill

    def _spell(self, token: int) -> bytes:
        content = self._definition.contents.get(token)
        if content is None or token in self.control_ids:
            return b""
        if token in self._definition.literal_ids:
            return content.encode()
        return content.translate(_LATIN_1).encode("latin-1")

    def _lossy(self, text: str) -> InputError:
        """Which character of a text is lost, as an error."""
        for place, char in enumerate(text):
            if self.missing_bytes.intersection(char.encode()):
                return InputError(
                    f"the tokenizer cannot spell {char!a} (U+{ord(char):04X}) at character {place}"
                )
        return InputError("the tokenizer does not give this text back unchanged")

    def _probe(self) -> None:
        """Encode a little of everything once, so that a lossy definition shows at load."""
        probe = "".join(c for c in _PROBE if not self.missing_bytes.intersection(c.encode()))
        try:
            self.encode(probe)
        except InputError:
            raise TokenizerError(
                "tokenizer.json: not a lossless byte-level BPE: text does not come back unchanged"
            ) from None


def _first(special_ids: Mapping[str, int], names: Sequence[str]) -> int:
    for name in names:
        if name in special_ids:
            return special_ids[name]
    raise TokenizerError(f"tokenizer.json: no {names[0]}")


def _infill_tokens(special_ids: Mapping[str, int]) -> InfillTokens | None:
    for spelling in INFILL_SPELLINGS:
        prefix, middle, suffix, pad = (
            special_ids.get(spelling.format(part)) for part in ("prefix", "middle", "suffix", "pad")
        )
        if prefix is not None and middle is not None and suffix is not None:
            return InfillTokens(prefix, middle, suffix, pad)
    return None


def _repository_tokens(special_ids: Mapping[str, int]) -> RepositoryTokens | None:
    repository, file = special_ids.get("<reponame>"), special_ids.get("<filename>")
    return None if repository is None or file is None else RepositoryTokens(repository, file)


def _build_encoder(definition: str) -> Tokenizer:
    try:
        encoder = Tokenizer.from_str(definition)
    except Exception as error:  # noqa: BLE001 - the library raises nothing more precise
        raise TokenizerError(f"tokenizer.json: {str(error)[:200]}") from None
    # A second lock: the definition has no added tokens that could match.
    encoder.encode_special_tokens = True
    return encoder


def _whole_character(pieces: Sequence[bytes], place: int, step: int) -> int:
    """The nearest place, going by `step`, where a cut between tokens is one between characters."""
    while 0 < place < len(pieces) and pieces[place][:1] and pieces[place][0] in _CONTINUATION:
        place += step
    return place


def _left_out(ids: Sequence[int], kept: Sequence[int], skipped: int, characters: int) -> int:
    """Tokens left out: counted among `ids`, estimated for the `skipped` characters."""
    estimate = round(skipped * len(ids) / max(characters - skipped, 1))
    return max(len(ids) - len(kept) + estimate, 1)
