"""Every error that the library raises for a fault of its input; imports nothing of the library.

GPTBigCodeError
├── ConfigError                  config.json says something impossible
│   └── UnsupportedModelError    ... or something that this library does not implement
├── CheckpointError              a weights file is damaged
│   ├── CheckpointMismatchError  its tensors do not fit the configuration
│   ├── CheckpointMissingError   there is no checkpoint
│   ├── NonFiniteError           its numbers give NaN or infinity
│   └── UnsafeCheckpointError    only a pickle is there
├── TokenizerError               tokenizer.json is damaged or does not fit the configuration
├── InfillUnsupportedError       the checkpoint has no sentinels for infilling
├── DraftMismatchError           a draft model with other tokens
├── ContextError                 more tokens than the model has positions
├── InputError                   tensors or text that cannot be worked on
├── OptionError                  a sampling rule or limit outside its range
├── DeviceError                  a device or precision that is not there
├── UnreadableFileError          a file that cannot be read or parsed within bounds
│   └── MissingFileError         the file does not exist
└── MemoryLimitError             not enough memory
"""

import os
from typing import ClassVar, Self


class GPTBigCodeError(Exception):
    """Base of all errors; `slug` is stable for scripts, `hint` says what to do next."""

    slug: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(GPTBigCodeError):
    """A configuration value is missing, of the wrong type or out of bounds."""

    slug = "model-config"


class UnsupportedModelError(ConfigError):
    """The configuration asks for another architecture or for a switch that is not implemented."""

    slug = "model-unsupported"


class CheckpointError(GPTBigCodeError):
    """A weights file cannot be read."""

    slug = "model-corrupt"


class CheckpointMismatchError(CheckpointError):
    """Tensors are missing, unexpected or of another shape than the configuration says."""

    slug = "model-mismatch"


class CheckpointMissingError(CheckpointError):
    """There is no checkpoint at the given place."""

    slug = "model-missing"


class NonFiniteError(CheckpointError):
    """The model computed NaN or infinity."""

    slug = "model-nonfinite"

    @classmethod
    def computed(cls, *, float16: bool = False) -> Self:
        """The result is NaN or infinite; in float16, sound weights can overflow too."""
        if float16:
            return cls(
                "the model computed NaN or infinity: its numbers are too large for float16",
                hint="--precision bfloat16 or float32 holds them",
            )
        return cls("the model computed NaN or infinity: its weights are damaged")


class UnsafeCheckpointError(CheckpointError):
    """The weights exist only as a pickle, which can run code when it is loaded."""

    slug = "model-unsafe"


class TokenizerError(GPTBigCodeError):
    """tokenizer.json cannot be read or does not fit the model."""

    slug = "tokenizer-corrupt"


class InfillUnsupportedError(GPTBigCodeError):
    """The tokenizer has no sentinel tokens for infilling."""

    slug = "no-infill"


class DraftMismatchError(GPTBigCodeError):
    """A draft model has other tokens than the model that it guesses for."""

    slug = "draft-mismatch"


class ContextError(GPTBigCodeError):
    """The text needs more positions than the model has."""

    slug = "context"


class InputError(GPTBigCodeError):
    """Tensors or text of a form that cannot be worked on."""

    slug = "input"


class OptionError(GPTBigCodeError):
    """An option is outside its range."""

    slug = "option"


class DeviceError(GPTBigCodeError):
    """The device or precision asked for is not available here."""

    slug = "device"


class MemoryLimitError(GPTBigCodeError):
    """There is not enough memory for the model or the request."""

    slug = "memory"


class UnreadableFileError(GPTBigCodeError):
    """A file is not a regular one, is too large, cannot be read, or is not what it should be.

    Attributes:
        reason: why, without the file's name.
    """

    slug = "unreadable"

    def __init__(self, message: str, *, hint: str | None = None, reason: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason or message

    @classmethod
    def at(cls, path: str | os.PathLike[str], reason: str) -> Self:
        """The error for a file, whose name begins the message."""
        return cls(f"{os.fspath(path)}: {reason}", reason=reason)


class MissingFileError(UnreadableFileError):
    """The file does not exist."""
