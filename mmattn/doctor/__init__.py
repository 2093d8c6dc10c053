"""``python -m mmattn doctor``: what is installed, and what is wrong with it."""

from mmattn.doctor.report import run_doctor

__all__ = ['run_doctor']
