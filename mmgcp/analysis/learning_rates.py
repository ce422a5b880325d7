"""Settings of the learning rate: those of Table 3 (Wang et al., CVPR 2020) and of the authors' release."""
from pathlib import Path
from typing import NamedTuple

from mmgcp.utils.configs import configs_folder

NETWORKS = ('ResNet', 'MobileNetV2', 'ShuffleNetV2')
# In this order a setting has the same colour in all panels.
SETTINGS = ('norm', 'fast', 'adju', 'adju_release')


class Schedule(NamedTuple):
    """A config, and settings that replace some of its own, by key as in ``--cfg-options``."""
    file: Path
    options: dict


def schedules() -> dict[str, dict[str, Schedule]]:
    """Return the settings of Table 3 and of the authors' release: by name, 'LR_norm', by family of networks."""
    folder = configs_folder() / '_base_' / 'schedules'
    files = {family: {f'LR_{setting}': folder / f'{family.lower()}_lr_{setting}.py' for setting in SETTINGS}
             for family in NETWORKS}
    found = {family: {name: Schedule(file, {}) for name, file in settings.items() if file.is_file()}
             for family, settings in files.items()}
    for name in ('LR_adju', 'LR_fast'):  # the release counts the epochs of ResNets from 0
        found['ResNet'][f'{name}_release'] = Schedule(files['ResNet'][name], {'param_scheduler.first_epoch': 0})
    return found
