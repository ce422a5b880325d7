"""Reads logs and measurements, returns tables and figures. Needs numpy and matplotlib, neither torch nor mm."""
from .convergence import (
    ConvergenceRow,
    convergence_table,
    draw_convergence,
    format_table,
    matching_epoch,
    plot_convergence,
)
from .learning_rates import draw_learning_rates, learning_rate_table, merge_equal_curves, plot_learning_rates
from .mosaic import mosaic
from .runs import Run, read_run, read_runs
from .style import save_figure, use_style
from .tables import markdown_table, results_table

__all__ = [
    'ConvergenceRow', 'Run', 'convergence_table', 'draw_convergence', 'draw_learning_rates', 'format_table',
    'learning_rate_table', 'markdown_table', 'matching_epoch', 'merge_equal_curves', 'mosaic', 'plot_convergence',
    'plot_learning_rates', 'read_run', 'read_runs', 'results_table', 'save_figure', 'use_style'
]
