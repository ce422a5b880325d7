"""Find the configs of mmgcp."""
import difflib
from pathlib import Path


def configs_folder() -> Path:
    """Return the folder of the configs, in the checkout or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def nearest_config(name: str) -> str:
    """Suggest the config with the most similar name, as the end of an error sentence; empty if there is none."""
    paths = {path.stem: path.relative_to(configs_folder()) for path in configs_folder().rglob('*.py')}
    nearest = difflib.get_close_matches(Path(name).stem, paths, n=1)
    return f'; the nearest name is {paths[nearest[0]]}' if nearest else ''
