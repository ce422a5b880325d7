"""Measure the checkpoints of a training that have not been measured yet, and append the results to a file."""
import hashlib
import time
import zlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device

from mmgcp.analysis.curvature import FILE_NAME, check_same_settings
from mmgcp.probes.gradients import compare_gradients, weight_gradients
from mmgcp.probes.hessian import measure_curvature
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import append_record, open_records
from mmgcp.utils.versions import library_versions

from .config_data import require_model
from .trained import saved_checkpoints, trained_model, training_batches, unmeasured

UNITS = {'epoch': 'epoch', 'iter': 'iteration'}
INTERVAL = 10  # seconds between progress lines


def measure_curvatures(cfgs: dict[str, Config], every: int, batches: int, seed: int, **how) -> None:
    """Measure the checkpoints of trainings that are not in ``WORK_DIR/curvature.json`` yet, on the same images.

    Args:
        cfgs (dict[str, Config]): Configs of the trainings by name.
        every (int): Measure every n-th checkpoint, and always the last one.
        batches (int): Number of batches of ``train_dataloader.batch_size`` images.
        seed (int): Seed for images, augmentations, dropout and random vectors.
        **how: Further arguments of :func:`~mmgcp.probes.hessian.measure_curvature`.

    Raises:
        SetupError: If there are no checkpoints or no images, or a checkpoint cannot be read.
        ValueError: If the trainings do not use the same images, or a file was written with other settings.
    """
    checkpoints, data, settings = {}, {}, {}
    for name, cfg in cfgs.items():
        found = saved_checkpoints(cfg.work_dir)
        # Counted from the first one, so that the choice stays the same while a training adds checkpoints.
        checkpoints[name] = sorted({*found[every - 1::every], found[-1]}, key=found.index)
        data[name] = training_batches(cfg, batches, seed)
        settings[name] = dict(images=_count_images(data[name]), batches=batches, fingerprint=_fingerprint(data[name]),
                              **how, seed=seed)
    check_same_settings(settings)
    missing, costs = [], []
    for name, cfg in cfgs.items():
        known = open_records(Path(cfg.work_dir, FILE_NAME), dict(settings[name], **_made_with(cfg)))
        costs += [record['products'] for record in known]
        todo = unmeasured(checkpoints[name], known)
        print(f'{name}: {len(checkpoints[name])} checkpoints, {len(todo)} to be measured', flush=True)
        missing += [(name, path, checksum) for path, checksum in todo]
    how, device = dict(how, seed=seed), get_device()
    print(f"Curvature of the loss of {settings[name]['images']} training images, on the {device.upper()}: "
          f'{", ".join(f"{key} {value}" for key, value in how.items())}', flush=True)
    for number, (name, path, checksum) in enumerate(missing, 1):
        title = f'[{number}/{len(missing)}] {name} {path.name}'
        progress = Progress(title, how['samples'], costs, len(missing) - number)
        model, _ = trained_model(cfgs[name], path)
        curvature = measure_curvature(model.to(device), data[name], progress=progress, **how)
        unit, step = path.stem.split('_')
        append_record(path.with_name(FILE_NAME), dict(checkpoint=path.name, crc32=checksum, unit=UNITS[unit],
                                                      step=int(step), **curvature._asdict()))
        costs.append(curvature.products)
        _print_result(title, curvature)


def measure_gradients(cfg: Config, path: Path, checkpoints: Sequence[Path], number: int, damping: float, seed: int,
                      **origin) -> None:
    """Measure Table 1 on the checkpoints that are not in a file yet.

    Args:
        cfg (Config): Config of the training.
        path (Path): File of the measurements.
        checkpoints (Sequence[Path]): Checkpoints.
        number (int): Number of batches of ``train_dataloader.batch_size`` images.
        damping (float): Damping of K-FAC.
        seed (int): Seed for images and augmentations.
        **origin: Further settings that the file must have been written with.

    Raises:
        SetupError: If a checkpoint is missing, cannot be read or does not record its iteration.
        ValueError: If the file was written with other settings.
    """
    require_model(cfg)
    for checkpoint in checkpoints:
        if not checkpoint.is_file():
            raise SetupError(f'the checkpoint {checkpoint} does not exist')
    batches = training_batches(cfg, number, seed)
    known = open_records(path, dict(origin, batches=number, damping=damping, seed=seed, images=_count_images(batches),
                                    fingerprint=_fingerprint(batches), **_made_with(cfg)))
    missing = unmeasured(checkpoints, known)
    print(f'{len(checkpoints)} checkpoints, {len(missing)} of them to be measured', flush=True)
    for count, (checkpoint, checksum) in enumerate(missing, 1):
        start = time.perf_counter()
        model, meta = trained_model(cfg, checkpoint)
        if 'iter' not in meta:
            raise SetupError(f'{checkpoint} does not say after how many iterations it was saved: give a checkpoint '
                             'that a training has saved')
        gradients = weight_gradients(model.to(get_device()), batches, damping)
        rows = {name: row._asdict() for name, row in compare_gradients(gradients.rows).items()}
        append_record(path, dict(checkpoint=checkpoint.name, crc32=checksum, iter=meta['iter'],
                                 layer=gradients.layer, loss=gradients.loss, rows=rows))
        print(f'[{count}/{len(missing)}] {checkpoint}: loss {gradients.loss:.4g}, gradients by {gradients.layer} '
              f'({time.perf_counter() - start:.1f} s)', flush=True)


class Progress:
    """Print the progress of a measurement and the estimated time left for all of them."""

    def __init__(self, name: str, samples: int, costs: list[int], following: int) -> None:
        self.name, self.samples, self.costs, self.following = name, samples, costs, following
        self.began = self.printed = time.perf_counter()

    def __call__(self, products: int) -> None:
        """Print the progress after so many products, at most every :data:`INTERVAL` seconds."""
        now = time.perf_counter()
        if now - self.printed < INTERVAL:
            return
        self.printed, each = now, (now - self.began) / products
        outlook = f', {each:.2g} s each: {self.samples} for the trace, then until the eigenvalues converge'
        if self.costs:
            usual = sum(self.costs) / len(self.costs)
            left = max(usual - products, 0) + usual * self.following
            outlook = f' of about {usual:.0f}, {each:.2g} s each: {timedelta(seconds=round(left * each))} left in all'
        print(f'{self.name}: {products} products{outlook}', flush=True)


def _print_result(name, curvature):
    values = ', '.join(f'{value:.4g}' for value in curvature.eigenvalues) or 'none found'
    print(f'{name}: loss {curvature.loss:.4g}, largest eigenvalues {values}, trace {curvature.trace:.4g} +- '
          f'{curvature.trace_error:.4g} ({curvature.products} products, {curvature.seconds:.0f} s)', flush=True)
    if curvature.fault:
        print(f'{name}: left incomplete, because {curvature.fault}', flush=True)


def _made_with(cfg):
    """CRC-32 of the settings of the network, as an option may change them, and the versions of the libraries."""
    network = zlib.crc32(repr((cfg.model.to_dict(), cfg.get('data_preprocessor'))).encode())
    return dict(network=network, libraries=library_versions())


def _count_images(batches):
    return sum(len(batch['inputs']) for batch in batches)


def _fingerprint(batches):
    """Return a short hash of all images in order."""
    digest = hashlib.sha256()
    for image in (image for batch in batches for image in batch['inputs']):
        digest.update(image.numpy().tobytes())
    return digest.hexdigest()[:12]
