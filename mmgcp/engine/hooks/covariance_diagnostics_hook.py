"""Hook that logs how well a model's covariances are estimated and normalised."""
from functools import partial

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmgcp.ops import CovariancePooling, covariance_diagnostics
from mmgcp.registry import HOOKS
from mmgcp.utils.errors import SetupError, check_counts


@HOOKS.register_module()
class CovarianceDiagnosticsHook(Hook):
    """Log :func:`mmgcp.ops.covariance_diagnostics` of the input of every ``CovariancePooling``.

    Means over the batch appear beside the losses in the text log and in all visualisation backends, under names such as
    ``neck.pooling/effective_rank``. One or two images would dominate a mean of condition numbers: it is replaced by
    ``condition_log10``, the mean of their decimal logarithms.

    The hook measures in the iterations that ``LoggerHook`` with the same interval logs; log lines in between repeat the
    last values. Other iterations cost nothing. In distributed training, rank 0 measures its part of the batch. A layer
    that runs several times per iteration is measured at its last run. The values are those of the centred covariance
    under iSQRT-COV with the layer's ``num_iters``, or 5 if its method has none; its other options do not matter.

    Args:
        interval (int): Iterations between measurements; a shorter epoch is measured once, at its end. Default: 100.

    Raises:
        ValueError: If ``interval`` is not an integer of at least 1.
        SetupError: In training, if the model has no ``CovariancePooling`` or is compiled.
    """

    def __init__(self, interval: int = 100) -> None:
        check_counts(interval=interval)
        self.interval = interval
        self.layers, self.inputs, self.handles = {}, {}, []

    def before_run(self, runner: Runner) -> None:
        """Find the layers to measure, or raise a SetupError if there are none."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, CovariancePooling)}
        if not self.layers:
            raise SetupError(f'{type(model).__name__} has no covariance pooling that CovarianceDiagnosticsHook could '
                             "examine: take the hook out of custom_hooks, or set model.neck to a "
                             "'mmgcp.GlobalCovariancePooling'")

    def before_train(self, runner: Runner) -> None:
        """Refuse compiled networks, which would run without the hooks that record the inputs."""
        if runner.cfg.get('compile'):
            raise SetupError('CovarianceDiagnosticsHook records inputs while the network runs, which torch.compile '
                             'does not see: leave compile out of the config, or the hook out of custom_hooks')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Start to record the layers' inputs if this iteration is to be measured."""
        last_of_short_epoch = (self.end_of_epoch(runner.train_dataloader, batch_idx)
                               and len(runner.train_dataloader) <= self.interval)
        if is_main_process() and (self.every_n_inner_iters(batch_idx, self.interval) or last_of_short_epoch):
            self.handles = [layer.register_forward_pre_hook(partial(self._keep, name), with_kwargs=True)
                            for name, layer in self.layers.items()]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Measure the recorded inputs."""
        for handle in self.handles:
            handle.remove()
        for name, (x, mask) in self.inputs.items():
            layer = self.layers[name]
            num_iters = layer.options.get('num_iters', 5) if layer.method == 'newton_schulz' else 5
            values = covariance_diagnostics(x, num_iters, mask)
            values['condition_log10'] = values.pop('condition_number').log10()
            for key, value in values.items():
                runner.message_hub.update_scalar(f'train/{name}/{key}', value.mean())
        self.handles, self.inputs = [], {}

    def _keep(self, name: str, layer: CovariancePooling, args: tuple, kwargs: dict) -> None:
        def detached(x, mask=None):
            return x.detach(), mask

        self.inputs[name] = detached(*args, **kwargs)
