"""Where the configs of mmgcp are."""
import difflib
from pathlib import Path


def configs_folder() -> Path:
    """Folder of the configs: in the checkout, or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def nearest_config(name: str) -> str:
    """End of a sentence about a config that does not exist: the one whose name is most like it, if any is."""
    paths = {path.stem: path.relative_to(configs_folder()) for path in configs_folder().rglob('*.py')}
    nearest = difflib.get_close_matches(Path(name).stem, paths, n=1)
    return f'; the nearest name is {paths[nearest[0]]}' if nearest else ''
