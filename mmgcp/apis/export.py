"""Export classifiers for other runtimes, and compare their scores there with those of the network."""
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmgcp.ops import METHODS, CovariancePooling, CrossCovariancePooling
from mmgcp.ops.compat import COMPILES_FUNCTIONS
from mmgcp.utils.errors import SetupError

FORMATS = {'.onnx': 'ONNX', '.pt2': 'torch.export', '.pt': 'TorchScript'}
BATCHES = 2, 1, 3  # sizes of the batches to compare; the network is exported with the first
TOLERANCE = 1e-2  # of the largest score; rounding is up to 2e-4
FIXED_BATCH = (f'the exported network would take batches of {BATCHES[0]} images alone, as its code makes their number '
               'a constant: change that code, such as int(x.shape[0]), in its backbone, neck or head')


def export_classifier(model: nn.Module, file: str | Path, size: tuple[int, int], classes: Sequence[str] = ()) -> float:
    """Write a classifier as ONNX (``.onnx``), ``torch.export`` (``.pt2``) or TorchScript (``.pt``), and test the file.

    Its input is a normalised batch of any number of images, its output the scores before the softmax. Values of
    ``mean``, ``std``, ``channels``, ``size`` and ``classes`` are in the file, in JSON: as metadata of ONNX, elsewhere
    as the extra file ``preprocessing.json``.

    Args:
        model (nn.Module): ``ImageClassifier`` of MMPretrain, on the CPU. It is set to evaluation mode.
        file (str or Path): File to write; its suffix says the format.
        size (tuple[int, int]): Height and width of the images in pixels, which the file fixes.
        classes (Sequence[str]): Names of the classes in the order of the scores, for the metadata.

    Returns:
        float: Largest difference between scores of file and network, for random images in batches of 1, 2 and 3.

    Raises:
        SetupError: If the model is no classifier, has a part that the format cannot hold, or gives other scores from
            the file; if the suffix is unknown, the file exists or a package is missing.

    Examples:
        >>> import mmgcp.models
        >>> from mmpretrain import get_model
        >>> model = get_model('resnet18_gcp_m_imagenet')
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_classifier(model, f'{folder}/resnet18_gcp_m.pt', (64, 64)) < 1e-3
        True
    """
    file = Path(file)
    _check(model, file)
    form = FORMATS[file.suffix]
    preprocessing = _preprocessing(model, size, classes)
    images = [torch.randn(number, len(preprocessing['mean']), *size, generator=torch.Generator().manual_seed(number))
              for number in BATCHES]
    file.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), tempfile.TemporaryDirectory(dir=file.parent) as folder:
        written = Path(folder, file.name)
        expected = [model.eval()(batch) for batch in images]
        if not isinstance(expected[0], Tensor) or expected[0].dim() != 2:
            raise SetupError('the network returns no scores (images, classes): it needs a head that does')
        with warnings.catch_warnings(), _windows_of_any_batch(model):
            warnings.simplefilter('ignore')  # exporters warn of what the comparison checks
            _WRITERS[file.suffix](model, images[0], written, preprocessing)
            run = _READERS[file.suffix](written)
        try:
            scores = [run(batch) for batch in images]
        except Exception as error:
            raise SetupError(FIXED_BATCH) from error
        difference, largest = (float(values.abs().max()) for values in (
            torch.cat(scores) - torch.cat(expected), torch.cat(expected)))
        if not difference <= TOLERANCE * largest:
            raise SetupError(f'scores from the exported network differ by up to {difference:.2g}, where the largest is '
                             f'{largest:.2g}: {form} cannot hold this network')
        written.replace(file)
    return difference


def _check(model: nn.Module, file: Path) -> None:
    if file.suffix not in FORMATS:
        formats = ', '.join(f'{suffix} ({name})' for suffix, name in FORMATS.items())
        raise SetupError(f'the format of {file} is unknown: its name has to end in one of {formats}')
    if file.exists():
        raise SetupError(f'{file} exists: delete it, or write another file')
    if not isinstance(model, ImageClassifier):
        raise SetupError(f'the model is {type(model).__name__}, no classifier: only an ImageClassifier of MMPretrain '
                         'can be exported')
    if file.suffix == '.pt2' and not COMPILES_FUNCTIONS:
        raise SetupError('torch.export does not take a batch of any size before torch 2.7: export as .onnx or .pt')
    if file.suffix == '.onnx':
        missing = [name for name in ('onnx', 'onnxruntime', 'onnxscript') if not find_spec(name)]
        if missing:
            raise SetupError(f'ONNX needs packages that are not installed: pip install {" ".join(missing)}')
    for name, module in model.named_modules():
        if isinstance(module, CovariancePooling) and METHODS[module.method].factorises:
            setting, needed = f"method='{module.method}'", 'eigenvalues or Cholesky factors'
        elif isinstance(module, CrossCovariancePooling) and module.normalize:
            setting, needed = f'heads={module.heads}', 'singular values'
        elif file.suffix == '.onnx' and getattr(module, 'method', '') == 'compact_bilinear' and not COMPILES_FUNCTIONS:
            raise SetupError(f"{name} with method='compact_bilinear' is in ONNX from torch 2.7 on: export as .pt")
        else:
            continue
        if file.suffix != '.pt2':
            raise SetupError(f'{name} with {setting} computes {needed}, which {FORMATS[file.suffix]} cannot hold: '
                             'export as .pt2, with torch 2.7 or newer')


def _preprocessing(model: ImageClassifier, size: tuple[int, int], classes: Sequence[str]) -> dict:
    """Return the settings that turn an image with values from 0 to 255 into the network's input."""
    preprocessor = model.data_preprocessor
    mean, std = ([float(f'{value:.6g}') for value in getattr(preprocessor, name, torch.full((3, ), default)).flatten()]
                 for name, default in (('mean', 0.), ('std', 1.)))  # float32 to the digits that were set
    channels = 'RGB' if getattr(preprocessor, 'to_rgb', False) else 'BGR'
    return dict(mean=mean, std=std, channels=channels if len(mean) == 3 else '', size=list(size), classes=list(classes))


@contextmanager
def _windows_of_any_batch(model: nn.Module) -> Iterator[None]:
    """Replace the window_reverse of MMPretrain's Swin, which would fix the number of images."""
    modules = [module for module in model.modules() if hasattr(module, 'window_reverse')]
    for module in modules:
        module.window_reverse = _window_reverse
    try:
        yield
    finally:
        for module in modules:
            del module.window_reverse


def _window_reverse(windows: Tensor, height: int, width: int, size: int) -> Tensor:
    """Merge windows (B * n, size, size, C) into maps (B, height, width, C)."""
    channels = windows.shape[-1]
    maps = windows.view(-1, height // size, width // size, size, size, channels)
    return maps.transpose(2, 3).reshape(-1, height, width, channels)


def _write_onnx(model: nn.Module, images: Tensor, file: Path, preprocessing: dict) -> None:
    import onnx
    names = dict(input_names=['images'], output_names=['scores'])
    if COMPILES_FUNCTIONS:
        torch.onnx.export(_captured(model, images), (), file, dynamo=True, external_data=False, verbose=False, **names)
    else:
        dynamic = dict(images={0: 'batch'}, scores={0: 'batch'})
        torch.onnx.export(model, (images, ), str(file), dynamic_axes=dynamic, **names)
    written = onnx.load(file)
    onnx.helper.set_model_props(written, {key: json.dumps(value) for key, value in preprocessing.items()})
    onnx.save(written, file)


def _write_program(model: nn.Module, images: Tensor, file: Path, preprocessing: dict) -> None:
    torch.export.save(_captured(model, images), file, extra_files={'preprocessing.json': json.dumps(preprocessing)})


def _captured(model: nn.Module, images: Tensor) -> 'torch.export.ExportedProgram':
    try:
        return torch.export.export(model, (images, ), dynamic_shapes=({0: torch.export.Dim('batch')}, ), strict=False)
    except torch._dynamo.exc.UserError as error:
        if 'Constraints violated' not in str(error):
            raise
        raise SetupError(FIXED_BATCH) from error


def _write_script(model: nn.Module, images: Tensor, file: Path, preprocessing: dict) -> None:
    script = torch.jit.trace(model, (images, ), check_trace=False)
    torch.jit.save(script, str(file), _extra_files={'preprocessing.json': json.dumps(preprocessing)})


def _read_onnx(file: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    return lambda images: torch.from_numpy(session.run(['scores'], dict(images=images.numpy()))[0])


_WRITERS = {'.onnx': _write_onnx, '.pt2': _write_program, '.pt': _write_script}
_READERS = {'.onnx': _read_onnx, '.pt2': lambda file: torch.export.load(file).module(), '.pt': torch.jit.load}
