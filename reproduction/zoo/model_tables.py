"""Fill the tables of the READMEs beside the configs from the metafiles."""
from pathlib import PurePosixPath

from mmgcp.analysis.tables import markdown_table
from mmgcp.utils.errors import SetupError
from reproduction.blocks import fill_blocks

CLASSIFICATION, SEGMENTATION = 'Image Classification', 'Instance Segmentation'
SIZES = ('AP', 'AP50', 'AP75', 'AP_S', 'AP_M', 'AP_L')


def fill_tables(text: str, models: list[dict], collections: list[str]) -> str:
    """Fill the tables of a README.

    Args:
        text (str): README with places ``<!-- table: COLLECTION -->`` ... ``<!-- /table -->``, or without a name for
            all models.
        models (list[dict]): Entries of the metafile beside it.
        collections (list[str]): Names of its collections.

    Returns:
        str: The README with new tables in these places.

    Raises:
        SetupError: If a place names no collection of the metafile, or a model is in no table.
    """
    shown = set()

    def table(collection: str) -> str:
        if collection and collection not in collections:
            raise SetupError(f"a table is for collection '{collection}', the metafile has {', '.join(collections)}")
        chosen = [model for model in models if collection in ('', model['In Collection'])]
        shown.update(model['Name'] for model in chosen)
        return model_table(chosen)

    text = fill_blocks(text, 'table', table)
    for model in models:
        if model['Name'] not in shown:
            raise SetupError(f"no table shows {model['Name']}: add the lines <!-- table: {model['In Collection']} --> "
                             'and <!-- /table -->')
    return text


def model_table(models: list[dict]) -> str:
    """Build a table with a row per model, followed by the targets of its links.

    Empty columns are left out, except those of our results.

    Args:
        models (list[dict]): Entries of one metafile, all classifiers or all detectors.

    Returns:
        str: Markdown.
    """
    columns = _classification_columns() if CLASSIFICATION in _tasks(models) else _detection_columns(_tasks(models))
    cells = [(header, [cell(model) for model in models]) for header, cell in columns]
    cells = [(header, column) for header, column in cells if header.startswith('ours') or any(column)]
    rows = list(zip(*(column for _, column in cells), strict=True))
    releases = [_published(model, 'Release') for model in models if _published(model, 'Release')]
    links = {model['Name']: PurePosixPath(model['Config']).name for model in models}
    links |= {release['Model']: release['Checkpoint'] for release in releases}
    return '\n'.join([markdown_table([header for header, _ in cells], rows), '',
                      *(f'[{name}]: {target}' for name, target in links.items())])


def _common_columns() -> list[tuple]:
    return [
        ('config', lambda model: f"[{model['Name']}]"),
        ('lr', lambda model: model['Metadata'].get('Learning Rate', '')),
        ('starts from', lambda model: model['Metadata'].get('Pretrained Weights', '')),
        ('epochs', lambda model: str(model['Metadata']['Epochs'])),
        ('batch', lambda model: str(model['Metadata']['Batch Size'])),
        ('params (M)', lambda model: f"{model['Metadata']['Parameters'] / 1e6:.2f}"),
        ('FLOPs (G)', lambda model: f"{model['Metadata']['FLOPs'] / 1e9:.2f}"),
    ]


def _classification_columns() -> list[tuple]:
    return _common_columns() + [
        ('paper: top-1 / top-5', lambda model: _accuracies(_published(model, 'Paper'))),
        ('tables', _paper_tables),
        ('release: top-1 / top-5', _release),
        ('ours: top-1 / top-5', lambda model: _accuracies(_ours(model))),
    ]


def _detection_columns(tasks: set) -> list[tuple]:
    kinds = ['box', 'mask'] if SEGMENTATION in tasks else ['box']
    columns = _common_columns()
    for kind in kinds:
        for size in SIZES:
            header = f'paper: {kind} AP' if size == 'AP' else size
            columns.append((header, lambda model, metric=f'{kind} {size}': _ap(_published(model, 'Paper'), metric)))
    columns.append(('tables', _paper_tables))
    return columns + [(f'ours: {kind} AP', lambda model, metric=f'{kind} AP': _ap(_ours(model), metric))
                      for kind in kinds]


def _tasks(models: list[dict]) -> set[str]:
    return {result['Task'] for model in models for result in model['Results']}


def _published(model: dict, source: str) -> dict:
    return model['Metadata'].get('Published', {}).get(source, {})


def _ours(model: dict) -> dict:
    return {metric: value for result in model['Results'] for metric, value in result['Metrics'].items()}


def _accuracies(numbers: dict) -> str:
    if 'Top 1 Accuracy' not in numbers:
        return ''
    return ' / '.join(f'{numbers[metric]:.2f}' for metric in ('Top 1 Accuracy', 'Top 5 Accuracy') if metric in numbers)


def _ap(numbers: dict, metric: str) -> str:
    return f'{numbers[metric]:.1f}' if metric in numbers else ''


def _paper_tables(model: dict) -> str:
    return ', '.join(map(str, _published(model, 'Paper').get('Tables', [])))


def _release(model: dict) -> str:
    release = _published(model, 'Release')
    return f"[{_accuracies(release)}][{release['Model']}]" if release else ''
