"""Names of trainings, ``<network>_<pooling>[_lr-<setting>][_<variation>]``, and how tables and figures write them."""
import re

NETWORKS = {
    'resnet18': 'ResNet-18', 'resnet50': 'ResNet-50', 'mobilenetv2': 'MobileNetV2', 'mask_rcnn_r18': 'Mask R-CNN',
    'resnet18d': 'ResNet-18-D', 'resnet50d': 'ResNet-50-D'}
POOLINGS = {'gap_wo-ds': 'GAP w/o DS', 'gap': 'GAP', 'gcp_d': 'GCP_D', 'gcp_m': 'GCP_M', 'gcp': 'GCP w/o DS'}
PARTS = re.compile(rf"(?P<network>.+?)_(?P<pooling>{'|'.join(POOLINGS)})(_lr-(?P<lr>[a-z]+))?(_(?P<variation>.+))?")


def title(name: str) -> str:
    """Name of a training as text: ``'ResNet-18, GCP_M, LR_fast, 64 px'``; other names stay as they are."""
    return f'{NETWORKS.get(network(name), network(name))}, {short_title(name)}' if PARTS.fullmatch(name) else name


def short_title(name: str) -> str:
    """Name of a training as text, without its network."""
    parts = PARTS.fullmatch(name)
    if not parts:
        return name
    lr, variation = parts['lr'], parts['variation']
    pooling = pooling_title(parts['network'], parts['pooling'])
    return ', '.join(filter(None, (pooling, lr and f'LR_{lr}', variation and variation.replace('-', ' '))))


def pooling_title(network: str, pooling: str) -> str:
    """A pooling as text; MobileNetV2 has no conv5 whose down-sampling could be left out."""
    return 'GCP' if (network, pooling) == ('mobilenetv2', 'gcp') else POOLINGS[pooling]


def network(name: str) -> str:
    """Network of a training: the part of its name before the pooling."""
    parts = PARTS.fullmatch(name)
    return parts['network'] if parts else name
