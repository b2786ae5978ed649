"""The default model of each command, as set in config.toml."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from bigcode_cli.io import config_file
from bigcode_cli.models.aliases import full_name
from bigcode_cli.models.describe import describe
from bigcode_cli.models.resolve import (
    BUILT_IN_OF,
    BUILT_IN_PACKAGES,
    find_model,
    setting_of,
)


@dataclass(frozen=True, kw_only=True)
class DefaultModel:
    """The model of some commands.

    Attributes:
        setting: the key of config.toml that names it.
        tasks: the commands.
        model: its name.
    """

    setting: str
    tasks: tuple[str, ...]
    model: str


def default_models() -> Iterator[DefaultModel]:
    """Iterate over the default models.

    Raises:
        SettingsError: config.toml cannot be used.
    """
    for built_in, grouped in groupby(BUILT_IN_OF, BUILT_IN_OF.__getitem__):
        tasks = tuple(grouped)
        setting = setting_of(tasks)
        model = config_file.read_setting(setting) or built_in
        yield DefaultModel(setting=setting, tasks=tasks, model=model)


def set_default(name: str) -> tuple[str, str]:
    """Make a model the default of the commands that it can run.

    Returns:
        The key in config.toml, and what it is set to: a folder as an absolute path.

    Raises:
        Failure, GPTBigCodeError: there is no such model.
        SettingsError: config.toml cannot be used or written.
    """
    found = find_model(name, option="NAME")
    setting = setting_of(describe(found.directory).tasks)
    is_folder = found.revision is None and found.name not in BUILT_IN_PACKAGES
    chosen = str(found.directory.absolute()) if is_folder else full_name(name)
    config_file.write_setting(setting, chosen)
    return setting, chosen
