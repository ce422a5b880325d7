"""List the networks of the model zoo, with the accuracies of the paper, of its authors' release and of this project."""
import difflib
import fnmatch

import yaml

from mmgcp.analysis.tables import markdown_table
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError

HEADER = ('config', 'family', 'parameters (M)', 'paper', 'release', 'mmgcp')
METRICS = ('Top 1 Accuracy', 'box AP')


def listing(pattern: str = '*') -> str:
    """Tabulate the networks whose names match a pattern: top-1 accuracy (%) on ImageNet, or box AP on COCO.

    Args:
        pattern (str): Shell pattern, ``'resnet50*'``; a name without ``*`` or ``?`` matches where it is a part.

    Returns:
        str: Markdown table, and the folder of the configs.

    Raises:
        SetupError: If no name matches.

    Examples:
        >>> print(listing('resnet18_gcp_imagenet').splitlines()[2])
        | gcp/resnet18_gcp_imagenet.py         | ResNet GCP |           44.2 | 74.86 |   74.86 |       - |
    """
    folder = configs_folder()
    metafiles = yaml.safe_load((folder.parent / 'model-index.yml').read_text())['Import']
    models = {model['Name']: model for metafile in metafiles
              for model in yaml.safe_load((folder.parent / metafile).read_text())['Models']}
    names = fnmatch.filter(models, pattern if set(pattern) & set('*?[') else f'*{pattern}*')
    if not names:
        nearest, = difflib.get_close_matches(pattern, models, n=1, cutoff=0)
        raise SetupError(f"no network of the zoo is called '{pattern}'; the nearest name is {nearest}")
    table = markdown_table(HEADER, [_row(models[name]) for name in names], text=2)
    return f'{table}\n\nTop-1 accuracy (%) or box AP; configs are in {folder}'


def _row(model: dict) -> list[str]:
    metadata = model['Metadata']
    published = metadata.get('Published', {})
    measured = {name: value for result in model['Results'] for name, value in result['Metrics'].items()}
    cells = [next((f'{values[key]:g}' for key in METRICS if key in values), '-')
             for values in (published.get('Paper', {}), published.get('Release', {}), measured)]
    return [model['Config'].removeprefix('configs/'), model['In Collection'], f"{metadata['Parameters'] / 1e6:.1f}",
            *cells]
