"""Learning rates and a momentum as functions of the epoch (Wang et al., CVPR 2020, Eq. 9 and Table 3).

Each value is computed from the epoch, not from the previous value, so that rounding errors do not accumulate and a
schedule combines with learning-rate multipliers. Like MMEngine's schedulers, these keep the changes of other schedulers
as a factor: combined with a warm-up, in either order, the two are multiplied. With ``begin`` a schedule starts later,
on the same curve as if it had run from the first epoch.
"""
from collections.abc import Sequence

from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.momentum_scheduler import MomentumSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler
from torch.optim import Optimizer

from mmgcp.registry import PARAM_SCHEDULERS


class _ClosedForm(_ParamScheduler):
    """Scheduler that sets each group's value to its initial value times ``factor(epoch)`` of the subclass.

    ``first_epoch`` is the number of the first epoch in the formula, ``epoch_length`` that of the steps per epoch.
    """

    def __init__(self, optimizer: Optimizer | OptimWrapper, param_name: str, first_epoch: float,
                 epoch_length: int = 1, **kwargs) -> None:
        self.first_epoch = first_epoch
        self.epoch_length = epoch_length
        super().__init__(optimizer, param_name, **kwargs)

    @classmethod
    def build_iter_from_epoch(cls, *args, begin: int = 0, end: int = INF, by_epoch: bool = True,
                              epoch_length: int | None = None, **kwargs) -> '_ClosedForm':
        """Build a scheduler that follows the same curve by iteration (``convert_to_iter_based=True`` in a config)."""
        if not by_epoch or not epoch_length:
            raise ValueError(f'{cls.__name__} converts epochs to iterations: it needs by_epoch=True and the number of '
                             f'iterations per epoch, got by_epoch={by_epoch}, epoch_length={epoch_length}')
        end = end if end == INF else int(end * epoch_length)
        return cls(
            *args, begin=int(begin * epoch_length), end=end, by_epoch=False, epoch_length=epoch_length, **kwargs)

    def _factor_at(self, step: int) -> float:
        return self.factor(self.first_epoch + (self.begin + step) / self.epoch_length)

    def _get_value(self) -> list[float]:
        old, new = self._factor_at(self.last_step - 1) if self.last_step else 1., self._factor_at(self.last_step)
        # Exact where no other scheduler has changed the value. From 0 there is no factor to keep.
        return [base * new if not old or group[self.param_name] == base * old else group[self.param_name] * new / old
                for base, group in zip(self.base_values, self.optimizer.param_groups, strict=True)]


class _Polynomial(_ClosedForm):
    """Eq. 9 for learning rate or momentum; the arguments are those of :class:`PolynomialLR`."""

    def __init__(self, optimizer: Optimizer | OptimWrapper, param_name: str, power: float, final_epoch: float,
                 start_epoch: float = 1, first_epoch: float = 1, **kwargs) -> None:
        if final_epoch <= start_epoch:
            raise ValueError(f'final_epoch={final_epoch} must be greater than start_epoch={start_epoch}')
        if power <= 0:
            raise ValueError(f'power={power} must be positive')
        self.power = power
        self.start_epoch = start_epoch
        self.final_epoch = final_epoch
        super().__init__(optimizer, param_name, first_epoch, **kwargs)

    def factor(self, epoch: float) -> float:
        """Compute Eq. 9 for an initial value of 1."""
        left = (self.final_epoch - epoch) / (self.final_epoch - self.start_epoch)
        return max(left, 0.)**self.power


@PARAM_SCHEDULERS.register_module()
class PolynomialLR(LRSchedulerMixin, _Polynomial):
    r"""Learning rate with polynomial decay, Eq. 9: ``l_e = l_0 (1 - (e - e_s) / (e_f - e_s))^rho``.

    Before ``e_s`` the formula exceeds ``l_0``; from ``e_f`` on the lr is 0. MMEngine's ``PolyLR`` is recursive and
    reaches its end at the last trained epoch; Eq. 9 need not: LR_fast stops after 30 of its 52 epochs.

    Args:
        optimizer (Optimizer or OptimWrapper): Optimizer; its lr is ``l_0``.
        power (float): ``rho``: 11 in LR_fast, 2 in LR_adju.
        final_epoch (float): ``e_f``: 53 in LR_fast, 50 in LR_adju.
        start_epoch (float): ``e_s``. Default: 1.
        first_epoch (float): Number of the first epoch. Default: 1 as in the paper; the authors' release counts from 0,
            so that its first lr is above ``l_0`` and the curve is shifted by one epoch.
        **kwargs: ``begin``, ``end``, ``last_step``, ``by_epoch`` and ``verbose`` of MMEngine's schedulers.

    Raises:
        ValueError: If ``final_epoch`` is not greater than ``start_epoch``, or ``power`` is not positive.
    """


@PARAM_SCHEDULERS.register_module()
class PolynomialMomentum(MomentumSchedulerMixin, _Polynomial):
    """Momentum with the decay and the arguments of :class:`PolynomialLR`.

    Together with that schedule and the same settings, it keeps the momentum proportional to the learning rate,
    ``m_e = m_0 / l_0 l_e``, as in the K-FAC trainings of Osawa et al., CVPR 2019.
    """


@PARAM_SCHEDULERS.register_module()
class StagewiseLinearLR(LRSchedulerMixin, _ClosedForm):
    r"""Linear decay in stages, Table 3: ``linear(l_s, l_e, n) = l_s - (l_s - l_e) / 50 (e - n)`` from epoch ``n`` on.

    The rates are exact if the optimizer's lr is the first ``l_s``; with another lr, the whole curve scales with it.

    Args:
        optimizer (Optimizer or OptimWrapper): Optimizer.
        stages (Sequence[tuple]): ``(l_s, l_e, n)`` per stage, ``n`` increasing from ``first_epoch``.
        stage_length (float): Epochs in which a stage goes from ``l_s`` to ``l_e``; then it stays there. Default: 50.
        first_epoch (float): Number of the first epoch. Default: 0, as in Table 3 for MobileNetV2.
        **kwargs: ``begin``, ``end``, ``last_step``, ``by_epoch`` and ``verbose`` of MMEngine's schedulers.

    Raises:
        ValueError: If there is no stage, a stage is not a triple, starts do not increase from ``first_epoch``, or the
            first ``l_s`` or ``stage_length`` is not positive.
    """

    def __init__(self, optimizer: Optimizer | OptimWrapper, stages: Sequence[tuple[float, float, float]],
                 stage_length: float = 50, first_epoch: float = 0, **kwargs) -> None:
        stages = [tuple(stage) for stage in stages]
        if not stages or any(len(stage) != 3 for stage in stages):
            raise ValueError(f'stages={stages} must be triples (lr at the start, lr at the end, start epoch)')
        starts = [start for _, _, start in stages]
        if starts[0] != first_epoch or any(a >= b for a, b in zip(starts, starts[1:], strict=False)):
            raise ValueError(f'the start epochs {starts} of the stages must increase from first_epoch={first_epoch}')
        if stages[0][0] <= 0 or stage_length <= 0:
            raise ValueError(f'the first lr {stages[0][0]} and stage_length={stage_length} must be positive')
        self.stages = stages
        self.stage_length = stage_length
        super().__init__(optimizer, first_epoch=first_epoch, **kwargs)

    def factor(self, epoch: float) -> float:
        """Compute the current stage's lr as a multiple of the first ``l_s``."""
        start_lr, end_lr, start = [stage for stage in self.stages if stage[2] <= epoch][-1]
        lr = start_lr - (start_lr - end_lr) * min((epoch - start) / self.stage_length, 1.)
        return lr / self.stages[0][0]
