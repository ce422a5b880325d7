"""The page that tells the results of a plan."""
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmgcp.analysis.tables import markdown_table

from .claims import Finding, findings
from .measured import Measured
from .tables import Table
from .verdict import HOLDS, MISSING, OPEN, REVERSED, RULE

WORDS = {HOLDS: 'hold', REVERSED: 'do not hold', OPEN: 'cannot be told at this scale', MISSING: 'were not measured'}


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        heading (str): Its heading.
        claims (Sequence[str]): Subjects of the claims that it judges.
        text (str): What stands above its tables.
        tables (Sequence[str]): Names of its tables.
        figure (tuple[str, str]): Name and caption of its figure; empty for none.
    """
    heading: str
    claims: Sequence[str]
    text: str
    tables: Sequence[str] = ()
    figure: tuple[str, str] = ()


SECTIONS = (
    Section(
        'Accuracy and speed of convergence (Table 2, Figs. 1, 3 and 4)', ('accuracy', 'convergence', 'schedules'),
        'Accuracy after the last epoch, mean and standard deviation over the seeds. The matching epoch is the first '
        'that reaches what GAP under LR_norm ends with.', ('accuracy', ),
        ('results_convergence', 'Top-1 accuracy against epochs, mean and range over the seeds')),
    Section('Down-sampling (Table 8), and a control', ('resolution', ), ''),
    Section(
        'The landscape of the loss (Fig. 2)', ('landscape', ),
        'Ranges over the step sizes, averaged over the measurements, and the effective beta-smoothness. All of these '
        'trainings are far shorter than the 20 epochs of ImageNet that Fig. 2 shows.',
        ('landscape', ), ('results_landscape', 'Loss and gradient distance along the gradient, first seed')),
    Section(
        'Curvature', (), 'Largest eigenvalue and trace of the Hessian by the weights after training, on 32 training '
        'photos (not in the paper):', ('curvature', )),
    Section(
        'Gradients of GCP and of K-FAC (Table 1)', ('gradients', ),
        'Cosines between the gradients of Table 1 by the same weights, after training:', ('gradients', )),
    Section(
        'Robustness (Table 4)', ('robustness', ),
        'Means over 15 corruptions at 5 severities, and over 10 perturbations, in %; uT5D is a distance. No reference '
        'divides them, so that they are not mCE and mFR.',
        ('robustness_c', 'robustness_p', 'corruptions', 'perturbations'),
        ('results_robustness', 'Errors by corruption and by severity, means over the seeds')),
    Section(
        'Transfer to detection (Tables 6 and 7)', ('transfer', ),
        'Mask R-CNN on drawn shapes, from the networks trained on photos; average precision in %, mean and standard '
        'deviation over the seeds:', ('detection', )),
    Section(
        'Normalisations, dimensions, iterations and other settings', ('reduction', ),
        'Each row changes one thing in GCP_M, or in GAP, under LR_short, which is LR_adju in two epochs. GCP_M itself '
        'is five Newton-Schulz iterations on 256 channels. What they cost is told in [performance](performance.md).',
        ('variants', )),
)


def make_page(measured: Measured, made: Mapping[str, Table], command: str) -> str:
    """Write the page.

    Args:
        measured (Measured): The results.
        made (Mapping[str, Table]): From :func:`~mmgcp.experiments.tables.make_tables`.
        command (str): Command line that makes it.

    Returns:
        str: Markdown.
    """
    name = measured.plan.name
    found = findings(measured)
    return '\n\n'.join(filter(None, [
        '# Results',
        f'{measured.plan.title}. This page is made from the files in [results/{name}](../results/{name}) by',
        f'```bash\n{command} --report\n```',
        'which trains nothing. Any run is repeated by its name, with the log of the new one in place of the old:',
        f'```bash\n{command} --only NAME --seeds 0 --again\n```',
        f'Numbers called the paper\'s are from Wang et al., CVPR 2020, all others were measured here. {RULE}',
        _summary([finding for some in found.values() for finding in some]),
        *(paragraph for section in SECTIONS for paragraph in _paragraphs(section, made)),
        '## Where it was made',
        f'Versions, hardware, seed and command of every run: [runs.csv](../results/{name}/runs.csv).',
        markdown_table(*made['made_on']),
    ])) + '\n'


def _paragraphs(section: Section, made: Mapping[str, Table]) -> list[str]:
    """What a section says; nothing where nothing was measured for it."""
    shown = [name for name in section.tables if name in made]
    claims = [made[f'claims_{subject}'] for subject in section.claims if f'claims_{subject}' in made]
    if not shown and not claims:
        return []
    figure = f'![{section.figure[1]}](figures/{section.figure[0]}.png)' if section.figure and shown else ''
    rows = [row for claim in claims for row in claim.rows]
    judged = [markdown_table(claims[0].header, rows, text=len(claims[0].header))] if claims else []
    return [f'## {section.heading}', *judged, figure, *([section.text] if shown else []),
            *(markdown_table(*made[name]) for name in shown)]


def _summary(found: Sequence[Finding]) -> str:
    """How many comparisons ended how, and which claims did not hold."""
    counts = Counter(finding.verdict for finding in found)
    line = f'**In short**: of {len(found)} comparisons, ' + ', '.join(
        f'{counts[word]} {said}' for word, said in WORDS.items() if counts[word]) + '.'
    listed = [f'- {finding.claim} ({finding.compared}): {finding.ours}' for finding in found
              if finding.verdict == REVERSED]
    return '\n'.join([line, *([] if not listed else ['', 'What did not hold:', '', *listed])])
