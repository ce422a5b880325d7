"""Read config files."""
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.configs import nearest_config
from mmgcp.utils.errors import SetupError


def read_config(path: str | Path) -> Config:
    """Read a config file; a SetupError says why it cannot be read."""
    try:
        return Config.fromfile(path)
    except FileNotFoundError as error:
        reason = f'cannot be read: {error}' if Path(path).is_file() else f'does not exist{nearest_config(str(path))}'
        raise SetupError(f'the config {path} {reason}') from error
    except Exception as error:  # a config is a program, which may fail in any way
        raise SetupError(f'the config {path}, or one of its bases, cannot be read: {type(error).__name__}: '
                         f'{error}') from error
