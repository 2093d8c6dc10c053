"""What the doctor says about the kernels."""

import sys

import pytest

from mmattn.__main__ import main
from mmattn.doctor import kernels as reporting
from mmattn.doctor.kernels import kernels_report
from mmattn.kernels import choice


@pytest.fixture(autouse=True)
def automatic(monkeypatch):
    monkeypatch.setattr(choice, '_wanted', lambda: 'auto')


def test_what_runs_is_named(monkeypatch):
    monkeypatch.setattr(choice, 'why_no_cpp', lambda: '')
    monkeypatch.setattr(choice, 'vector_level', lambda: 'AVX2')
    monkeypatch.setattr(choice, 'why_no_triton', lambda: '')
    monkeypatch.setattr(reporting, 'version', lambda name: '3.6.0')
    rows, notes, wrong = kernels_report()
    assert rows == {'CPU': 'C++ (AVX2)', 'CUDA': 'Triton 3.6.0'}
    assert not notes and not wrong


@pytest.mark.parametrize(
    ('compiler', 'lock', 'cure'),
    [
        ('/usr/bin/c++', 'none', 'kernels: python -m mmattn build-kernels'),
        (None, 'none', 'kernels: install g++, then: python -m mmattn build-kernels'),
        ('/usr/bin/c++', 'uv.lock', 'kernels: uv sync --reinstall-package mmattn-kernels'),
    ],
)
def test_why_not_and_the_cure(monkeypatch, tmp_path, compiler, lock, cure):
    (tmp_path / lock).touch()
    monkeypatch.setattr(reporting, 'CHECKOUT', tmp_path)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / '.venv'))
    monkeypatch.setattr(choice, 'CAN_REGISTER', True)
    monkeypatch.setattr(choice, 'why_no_cpp', lambda: 'the package is not installed')
    monkeypatch.setattr(choice, 'why_no_triton', lambda: 'torch sees no CUDA device')
    monkeypatch.setattr(reporting, '_compiler', lambda: compiler)
    rows, (note,), wrong = kernels_report()
    assert rows['CPU'] == 'pure PyTorch (the package is not installed)'
    assert rows['CUDA'] == 'pure PyTorch (torch sees no CUDA device)'
    assert note.endswith(cure)
    assert not wrong


def test_no_cure_for_an_old_torch(monkeypatch):
    """The stack may need that torch."""
    monkeypatch.setattr(choice, 'CAN_REGISTER', False)
    choice.why_no_cpp.cache_clear()
    rows, notes, wrong = kernels_report()
    choice.why_no_cpp.cache_clear()
    assert 'need torch 2.4 or newer' in rows['CPU']
    assert not notes and not wrong


def test_the_variable(monkeypatch):
    monkeypatch.setattr(choice, '_wanted', lambda: 'pure')
    rows, notes, wrong = kernels_report()
    assert set(rows.values()) == {'pure PyTorch (MMATTN_KERNELS=pure)'}
    assert not notes and not wrong


def test_a_wrong_variable_is_a_problem(monkeypatch, capsys):
    monkeypatch.setattr(choice, '_wanted', lambda: choice._checked('fast'))
    assert main(['doctor']) == 1
    said = capsys.readouterr().out
    assert "MMATTN_KERNELS must be one of auto, pure, got 'fast'\n   cure: unset MMATTN" in said


def test_whatever_goes_wrong_the_doctor_goes_on(monkeypatch):
    def broken():
        raise AttributeError('no level\nat all')

    monkeypatch.setattr(choice, 'why_no_cpp', broken)
    rows, notes, wrong = kernels_report()
    assert rows['CPU'] == 'none (AttributeError: no level at all)'


def test_it_is_no_problem_to_have_no_kernels(monkeypatch, capsys):
    monkeypatch.setattr(choice, 'why_no_cpp', lambda: 'the package is not installed')
    assert main(['doctor']) == 0
    assert 'the package is not installed' in ' '.join(capsys.readouterr().out.split())
