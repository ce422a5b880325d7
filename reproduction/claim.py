"""What a claim of the paper states, and what becomes of it on one network."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .measured import Measured
from .metrics import Metric, Outcome
from .paper_plan import NETWORKS, Variant

CLASSIFIERS = ('resnet18', 'resnet50', 'mobilenetv2')


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper, or a control of ours: the left training is higher than the right one in a metric.

    Attributes:
        subject (str): Names the table that it stands in, ``claims_<subject>.csv``.
        statement (str): What is claimed.
        source (str): Where the paper says so.
        paper (str | Mapping[str, str]): The paper's number, for all networks or by network; empty if it prints none.
        left (Variant): One training. GCP_M of MobileNetV2, which has no conv5, is its GCP.
        right (Variant): The other one; the same for a metric of a single training.
        metric (Metric | None): What they are compared in; None for what no plan measures.
        higher (bool): Whether the left one is claimed to be higher; lower otherwise.
        networks (Sequence[str]): Networks that it is about.
        compared (str): What to write of the comparison, with ``{left}`` and ``{right}`` for the poolings; empty for a
            text made from both trainings.
    """
    subject: str
    statement: str
    source: str
    paper: str | Mapping[str, str] = ''
    left: Variant
    right: Variant
    metric: Metric | None
    higher: bool = True
    networks: Sequence[str] = CLASSIFIERS
    compared: str = ''

    def compare(self, measured: Measured, network: str) -> 'Finding':
        """Compare the trainings of one network, yet without a verdict."""
        left, right = (variant._replace(pooling='gcp') if (network, variant.pooling) == ('mobilenetv2', 'gcp_m')
                       else variant for variant in (self.left, self.right))
        outcome = self.metric(measured, network, left, right, self.higher) if self.metric else Outcome()
        titles = {'left': left.pooling_title(network), 'right': right.pooling_title(network)}
        compared = (self.compared or _comparison(left, right)).format(**titles)
        paper = self.paper if isinstance(self.paper, str) else self.paper.get(network, '')
        return Finding(self.statement, self.source, paper, f'{NETWORKS[network]}: {compared}', outcome)


class Finding(NamedTuple):
    """A claim and what became of it on one network.

    Attributes:
        claim (str): The statement.
        source (str): Where the paper says so.
        paper (str): Its number.
        compared (str): What was compared here.
        outcome (Outcome): What was measured.
        verdict (str): One of :data:`reproduction.verdict.WORDS`.
        p (float): p-value, corrected for the comparisons of the page; NaN if it was not tested.
    """
    claim: str
    source: str
    paper: str
    compared: str
    outcome: Outcome
    verdict: str = ''
    p: float = float('nan')


def _comparison(left: Variant, right: Variant) -> str:
    """Template of what is compared: what both share is said once."""
    lr = f', LR_{left.schedule}' if left.schedule else ''
    if left.schedule != right.schedule:
        return f'{{left}} LR_{left.schedule}, {{right}} LR_{right.schedule}'
    return f'{{left}}{lr}' if left.pooling == right.pooling else f'{{left}} and {{right}}{lr}'
