"""The families of MMPretrain's configs that train a classifier, with a small network of each.

``python -m tests.families`` puts covariance pooling into them as they are and prints the table of
docs/any_classifier.md; with names of families behind it, their rows.
"""
import sys
import warnings

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmgcp.apis.complexity import blank_image, complexity, scope_of
from mmgcp.apis.launch import load_config
from mmgcp.apis.with_gcp import find_config, with_gcp
from mmgcp.utils.errors import SetupError

from .shortcuts import no_initial_weights

FAMILIES = {
    'arcface': 'resnet50-arcface_8xb32_inshop',
    'barlowtwins': 'benchmarks/resnet50_8xb32-linear-coslr-100e_in1k',
    'beit': 'benchmarks/beit-base-p16_8xb128-coslr-100e_in1k',
    'beitv2': 'benchmarks/beit-base-p16_8xb128-coslr-100e_in1k',
    'byol': 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k',
    'cae': 'benchmarks/beit-base-p16_8xb128-coslr-100e_in1k',
    'clip': 'vit-base-p16_pt-64xb64_in1k',
    'conformer': 'conformer-tiny-p16_8xb128_in1k',
    'convmixer': 'convmixer-768-32_10xb64_in1k',
    'convnext': 'convnext-tiny_32xb128_in1k',
    'convnext_v2': 'convnext-v2-atto_32xb32_in1k',
    'cspnet': 'cspresnet50_8xb32_in1k',
    'csra': 'resnet101-csra_1xb16_voc07-448px',
    'davit': 'davit-tiny_4xb256_in1k',
    'deit': 'deit-tiny-distilled_4xb256_in1k',
    'deit3': 'deit3-small-p16_64xb64_in1k',
    'densecl': 'benchmarks/resnet50_8xb32-linear-steplr-100e_in1k',
    'densenet': 'densenet121_4xb256_in1k',
    'edgenext': 'edgenext-xxsmall_8xb256_in1k',
    'efficientformer': 'efficientformer-l1_8xb128_in1k',
    'efficientnet': 'efficientnet-b0_8xb32_in1k',
    'efficientnet_v2': 'efficientnetv2-b0_8xb32_in1k',
    'eva': 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k',
    'eva02': 'eva02-tiny-p14_in1k',
    'hivit': 'hivit-tiny-p16_16xb64_in1k',
    'hornet': 'hornet-tiny_8xb128_in1k',
    'hrnet': 'hrnet-w18_4xb32_in1k',
    'inception_v3': 'inception-v3_8xb32_in1k',
    'lenet': 'lenet5_mnist',
    'levit': 'levit-128s_8xb256_in1k',
    'mae': 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k',
    'maskfeat': 'benchmarks/vit-base-p16_8xb256-coslr-100e_in1k',
    'mff': 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k',
    'milan': 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k',
    'mixmim': 'benchmarks/mixmim-base_8xb128-coslr-100e_in1k',
    'mlp_mixer': 'mlp-mixer-base-p16_64xb64_in1k',
    'mobilenet_v2': 'mobilenet-v2_8xb32_in1k',
    'mobilenet_v3': 'mobilenet-v3-small-050_8xb128_in1k',
    'mobileone': 'mobileone-s0_8xb32_in1k',
    'mobilevit': 'mobilevit-xxsmall_8xb128_in1k',
    'mocov2': 'benchmarks/resnet50_8xb32-linear-steplr-100e_in1k',
    'mocov3': 'benchmarks/vit-small-p16_8xb128-linear-coslr-90e_in1k',
    'mvit': 'mvitv2-tiny_8xb256_in1k',
    'poolformer': 'poolformer-s12_32xb128_in1k',
    'regnet': 'regnetx-400mf_8xb128_in1k',
    'replknet': 'replknet-31L_32xb64_in1k-384px',
    'repmlp': 'repmlp-base_8xb64_in1k',
    'repvgg': 'repvgg-A0_8xb32_in1k',
    'res2net': 'res2net50-w14-s8_8xb32_in1k',
    'resnest': 'resnest50_32xb64_in1k',
    'resnet': 'resnet18_8xb32_in1k',
    'resnext': 'resnext50-32x4d_8xb32_in1k',
    'revvit': 'revvit-small_8xb256_in1k',
    'riformer': 'riformer-s12_8xb128_in1k',
    'seresnet': 'seresnet50_8xb32_in1k',
    'shufflenet_v1': 'shufflenet-v1-1x_16xb64_in1k',
    'shufflenet_v2': 'shufflenet-v2-1x_16xb64_in1k',
    'simclr': 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k',
    'simmim': 'benchmarks/swin-base-w6_8xb256-coslr-100e_in1k-192px',
    'simsiam': 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k',
    'spark': 'benchmarks/convnextv2-tiny_8xb256-coslr-300e_in1k',
    'swav': 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k',
    'swin_transformer': 'swin-tiny_16xb64_in1k',
    'swin_transformer_v2': 'swinv2-tiny-w8_16xb64_in1k-256px',
    't2t_vit': 't2t-vit-t-14_8xb64_in1k',
    'tinyvit': 'tinyvit-5m_8xb256_in1k',
    'tnt': 'tnt-s-p16_16xb64_in1k',
    'twins': 'twins-pcpvt-small_8xb128_in1k',
    'van': 'van-tiny_8xb128_in1k',
    'vgg': 'vgg11_8xb32_in1k',
    'vig': 'vig-tiny_8xb128_in1k',
    'vision_transformer': 'vit-base-p16_64xb64_in1k',
    'wrn': 'wide-resnet50_8xb32_in1k',
    'xcit': 'xcit-nano-12-p8_8xb128_in1k',
}


def read(family: str) -> Config:
    """Config of a family."""
    return load_config(str(find_config(f'mmpretrain::{family}/{FAMILIES[family]}')[1]))


def train_and_evaluate(cfg: Config) -> nn.Module:
    """Build the network and optimizer of a config, train one step on two images, and predict their classes."""
    with scope_of(cfg):
        model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
        optimizer = dict(cfg.optim_wrapper.optimizer, lr=1e-4)  # which others reach by a warm-up
        optim_wrapper = build_optim_wrapper(model, dict(cfg.optim_wrapper, type='OptimWrapper', optimizer=optimizer))
        image = blank_image(cfg)[0]
        data = dict(inputs=[torch.randint_like(image, 256, dtype=torch.uint8) for _ in range(2)],
                    data_samples=[DataSample().set_gt_label(label) for label in range(2)])
        model.train()
        loss, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
        loss.backward()  # each process of DDP waits for the gradient of each weight
        idle = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
        assert bool(idle) == cfg.get('find_unused_parameters', False), idle
        optim_wrapper.zero_grad()
        assert model.train_step(data, optim_wrapper)['loss'].isfinite()
        model.eval()
        with torch.no_grad():
            predictions = model.test_step(data)
    assert all(prediction.pred_score.isfinite().all() for prediction in predictions)
    return model


def row(family: str) -> str:
    """Row of the table for one family."""
    name = f'| {family} | `{FAMILIES[family]}` |'
    try:
        cfg = read(family)
        network = with_gcp(cfg)
    except SetupError as error:
        return f'{name} - | - | no: {error} |'
    before, after = complexity(cfg), complexity(network.cfg)
    changes, (features, _, head, *_) = network.changes['model'], network.findings
    changed = [f'`{key}={value!r}`' for key, value in changes.get('backbone', {}).items()]
    if 'type' in changes['head']:
        changed.append(head.partition(',')[0])
    return (f'{name} {features.partition(" returns ")[2]} | {before.parameters / 1e6:.1f} → '
            f'{after.parameters / 1e6:.1f} M, {before.flops / 1e9:.2f} → {after.flops / 1e9:.2f} G | '
            f'yes{": " + "; ".join(changed) if changed else ""} |')


def main() -> None:
    MMLogger.get_instance('mmengine', log_level='ERROR')
    warnings.filterwarnings('ignore')
    for family in sys.argv[1:] or FAMILIES:
        with no_initial_weights():
            print(row(family), flush=True)


if __name__ == '__main__':
    main()
