"""``python -m mmattn doctor``: what is installed, and what is wrong with it."""

from mmattn.doctor.kernels import build_kernels
from mmattn.doctor.report import run_doctor

__all__ = ['build_kernels', 'run_doctor']
