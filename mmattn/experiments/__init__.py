"""Every experiment of the papers, as data: what to run, and the paper's figures."""

from mmattn.experiments.rows import Experiment, find_experiments, load_tables

__all__ = ['Experiment', 'find_experiments', 'load_tables']
