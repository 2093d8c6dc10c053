"""``python -m mmattn doctor``: the versions found, and each mismatch with its cure.

It has to run where ``import mmattn`` cannot, so it imports nothing but the
standard library, packaging and rich by itself; whatever else fails to import is a finding.
"""

import importlib
import platform
import re
import shutil
import subprocess
import warnings
from importlib.metadata import requires
from importlib.util import find_spec

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from mmattn.doctor.kernels import kernels_report
from mmattn.doctor.mismatches import OPENCV, Findings, mismatches
from mmattn.environment import PART_NAMES, PARTS, install_command, installed, stack_problems
from mmattn.utils.errors import one_line

# What the table shows before the parts of the stack.
SHOWN = ('torch', 'torchvision', 'numpy', 'setuptools')
OTHERS = ('mmattn', *SHOWN, *OPENCV, 'mmcv-lite', 'ftfy', 'regex')


def run_doctor() -> int:
    """Print the report; returns 0 for a healthy environment and 1 for one with problems."""
    findings = examine()
    kernels, notes, wrong = kernels_report()
    Console().print(_version_table(findings, kernels))
    # The rest uncut and unwrapped, so that a cure can be copied.
    if 'onedl-mmsegmentation' in findings.versions:
        note = '`mmseg::` in _base_ works on the original stack only'
        notes.insert(0, f'{note}; name the base files by their paths.')
    if find_spec('mmcv') is None:
        notes.append(
            'mmcv is not installed: all attentions and mmattn.insert_attention work without it; '
            "mmattn's own backbones, and the toolboxes with their configs, do not. To install it: "
            + install_command(findings.pin(PARTS[1]))
        )
    for note in notes:
        print(f'Note: {note}')
    problems = stack_problems() + mismatches(findings) + wrong
    for number, problem in enumerate(problems, 1):
        print(f'\n{number}. {problem.what}\n   cure: {problem.cure}')
    print(f'\n{len(problems)} problem(s) found' if problems else 'No problem found')
    return 1 if problems else 0


def examine() -> Findings:
    """Look at the running environment; imports torch and the OpenMMLab packages."""
    versions = installed([*PART_NAMES, *OTHERS])
    findings = Findings(versions=versions, compiler=_compiler())
    if 'torchvision' in versions:
        for need in map(Requirement, requires('torchvision') or []):
            if need.name == 'torch':
                findings.torch_wanted = need.specifier

    modules = [name for name in ('numpy', 'torch', 'torchvision') if name in versions]
    modules += ['cv2'] if any(name in versions for name in OPENCV) else []
    modules += [p.module for p in PARTS if any(name in versions for name in p.distributions)]
    for module in modules:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                importlib.import_module(module)
        except Exception as error:  # whatever an import raises is the finding
            findings.failed_imports[module] = one_line(error)

    if 'torch' in versions and 'torch' not in findings.failed_imports:
        _examine_cuda(findings)
        if 'mmcv' in modules and 'mmcv' not in findings.failed_imports:
            _examine_operators(findings)
    return findings


def _compiler() -> str | None:
    if shutil.which('gcc') is None:
        return None
    done = subprocess.run(['gcc', '--version'], capture_output=True, text=True)
    return next(iter((done.stdout or done.stderr).splitlines()), 'gcc')


def _examine_cuda(findings: Findings) -> None:
    import torch

    findings.cuda_available = torch.cuda.is_available()
    built = f'torch was built with CUDA {torch.version.cuda or "left out"}'
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    findings.cuda = f'{", ".join(names) or "no GPU to be seen"} ({built})'


def _examine_operators(findings: Findings) -> None:
    """Suppress one of two boxes: that the extension loads is not yet that it runs."""
    try:
        import torch
        from mmcv.ops import get_compiling_cuda_version, nms

        boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0]])
        kept = nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1].tolist()
        if kept != [0]:
            findings.ops_error = f'nms keeps {kept} of two overlapping boxes instead of [0]'
        built = get_compiling_cuda_version()
        findings.ops_cuda = built if re.match(r'\d', built) else None
    except Exception as error:  # a broken extension can raise anything
        findings.ops_error = one_line(error)


def _version_table(findings: Findings, kernels: dict[str, str]) -> Table:
    table = Table(title='mmattn doctor', title_justify='left')
    table.add_column('package', no_wrap=True)
    table.add_column('found', overflow='fold')
    versions = findings.versions
    table.add_row('python', f'{platform.python_version()} on {platform.platform()}')
    table.add_row('mmattn', versions.get('mmattn', 'not installed (used from a checkout)'))
    for name in SHOWN:
        table.add_row(name, versions.get(name, 'not installed'))
    for module, names in [('opencv', OPENCV), *((p.module, p.distributions) for p in PARTS)]:
        found = [f'{name} {versions[name]}' for name in names if name in versions]
        table.add_row(module, ', '.join(found) or 'not installed')
    table.add_row('mmcv operators', _operators(findings))
    table.add_row('CUDA', findings.cuda)
    table.add_row('gcc', findings.compiler or 'not found (only needed to compile)')
    for device, way in kernels.items():
        table.add_row(f'kernels on {device}', way)
    return table


def _operators(findings: Findings) -> str:
    if not any('mmcv' in name for name in findings.versions):
        return 'no mmcv'
    if findings.ops_error or 'mmcv' in findings.failed_imports:
        return 'do not run'
    return f'run (compiled for {"CUDA " + findings.ops_cuda if findings.ops_cuda else "the CPU"})'
