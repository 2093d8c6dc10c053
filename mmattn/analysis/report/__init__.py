"""One self-contained page about training runs: ``python -m mmattn report RUN... --out FILE``."""

from mmattn.analysis.report.page import write_report

__all__ = ['write_report']
