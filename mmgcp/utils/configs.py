"""Find the configs of mmgcp."""
import difflib
from pathlib import Path


def configs_folder() -> Path:
    """Return the folder of the configs, in the checkout or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def find_configs(name: str, folder: Path | None = None) -> list[Path]:
    """List the configs in a folder, by default mmgcp's, whose paths end with ``name``, such as ``gcp/resnet50.py``."""
    folder = folder or configs_folder()
    return sorted(path for path in folder.rglob('*.py') if f'/{path.relative_to(folder)}'.endswith(f'/{name}'))


def nearest_config(name: str, folder: Path | None = None) -> str:
    """Return an ending for error messages: the nearest config name in a folder, by default mmgcp's; empty if none."""
    folder = folder or configs_folder()
    paths = {path.stem: path.relative_to(folder) for path in folder.rglob('*.py')}
    nearest = difflib.get_close_matches(Path(name).stem, paths, n=1)
    return f'; the nearest name is {paths[nearest[0]]}' if nearest else ''
