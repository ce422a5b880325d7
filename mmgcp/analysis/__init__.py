"""Reads logs and measurements, returns tables and figures. Needs numpy and matplotlib, neither torch nor mm."""
from .comparison import comparison_sentence, plot_comparison
from .convergence import (
    ConvergenceRow,
    convergence_table,
    draw_convergence,
    draw_curves,
    format_table,
    matching_epoch,
    plot_convergence,
    plot_convergence_panels,
    read_validated_runs,
)
from .curvature import Curvature, curvature_table, draw_curvature, plot_curvature, read_curvature
from .gradients import gradient_table, plot_gradients
from .landscape import (
    Landscape,
    draw_landscape,
    landscape_table,
    plot_landscape,
    read_landscape,
    read_landscapes,
)
from .learning_rates import draw_learning_rates, learning_rate_table, merge_equal_curves, plot_learning_rates
from .mosaic import mosaic
from .robustness import RobustnessResult, RobustnessSummary, reference_of, summaries
from .robustness_figure import draw_corruptions, draw_severities, plot_robustness
from .robustness_tables import corruption_table, robustness_table, table_4, write_csv, write_json
from .runs import Run, read_run, read_runs
from .style import save_figure, use_style
from .table_2 import Training, read_trainings, save_table, table_2
from .tables import markdown_table, results_table

__all__ = [
    'ConvergenceRow', 'Curvature', 'Landscape', 'RobustnessResult', 'RobustnessSummary', 'Run', 'Training',
    'comparison_sentence', 'convergence_table', 'corruption_table', 'curvature_table', 'draw_convergence',
    'draw_corruptions', 'draw_curvature', 'draw_curves', 'draw_landscape', 'draw_learning_rates', 'draw_severities',
    'format_table', 'gradient_table', 'landscape_table', 'learning_rate_table', 'markdown_table', 'matching_epoch',
    'merge_equal_curves', 'mosaic', 'plot_comparison', 'plot_convergence', 'plot_convergence_panels',
    'plot_curvature', 'plot_gradients', 'plot_landscape', 'plot_learning_rates', 'plot_robustness', 'read_curvature',
    'read_landscape', 'read_landscapes', 'read_run', 'read_runs', 'read_trainings', 'read_validated_runs',
    'reference_of', 'results_table', 'robustness_table', 'save_figure', 'save_table', 'summaries', 'table_2',
    'table_4', 'use_style', 'write_csv', 'write_json'
]
