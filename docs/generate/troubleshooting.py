"""What goes wrong, as the doctor words it: its rules, each with an example of what it finds."""

from unittest import mock

from packaging.specifiers import SpecifierSet

from mmattn.analysis.tables import markdown_table
from mmattn.doctor import mismatches
from mmattn.doctor.mismatches import Findings
from mmattn.environment import PARTS

MAINTAINED = dict(part.maintained.split('==') for part in PARTS) | {'torch': '2.11.0'}
ORIGINAL = dict(part.original.split('==') for part in PARTS) | {'torch': '2.1.2'}
SEEN = """# Troubleshooting

`python -m mmattn doctor` prints the versions it finds, whether mmcv's operators load, CUDA, which
kernels run, and each known mismatch with the command that cures it. Start there.

## What you see

| what you see | what it means |
| --- | --- |
| `ModuleNotFoundError: No module named 'mmcv._ext'` | mmcv was installed without its operators; `doctor` prints the command that builds them |
| mmcv wants a C++ compiler | `apt-get install build-essential`, or a [prebuilt wheel](../install.md) |
| `import cv2` fails after an install | opencv-python and opencv-python-headless overwrite each other; keep opencv-python |
| `KeyError: mmattn.ResNet is not in the ... registry` | the config lacks `custom_imports = dict(imports=['mmattn'])` |
| `the checkpoint does not fit ResNet` | another depth or width, or a prefix is missing: the message names the keys and the prefix |
| `missing data` before the model is built | the message shows the expected folder; `--data-root` points elsewhere, `--demo` needs none |
| `read_base: mmdet.configs... is not there` | wheels leave mmdet's Python-style configs out, a checkout has them; `_base_ = 'mmdet::FOLDER/NAME.py'` works |
| `MMSegmentation` bases (`mmseg::...`) are not found | the maintained stack has another distribution name; copy what you need, as `configs/_base_` does |

## What the doctor knows

Every rule, with an example of what it says; the versions are those of the example.

"""  # noqa: E501


def examples() -> dict[str, Findings]:
    """The name of each rule -> an environment that it complains of."""
    found = Findings
    return {
        'torch_and_partners': found(
            MAINTAINED | {'torchvision': '0.25.0'}, torch_wanted=SpecifierSet('==2.10.0')
        ),
        'two_opencvs': found(
            MAINTAINED | {'opencv-python': '5.0.0', 'opencv-python-headless': '5.0.0'}
        ),
        'two_stacks': found(MAINTAINED | {'mmcv': '2.1.0', 'setuptools': '80.1'}),
        'undeclared_by_original': found(ORIGINAL | {'setuptools': '82.0.0'}),
        'broken_imports': found(MAINTAINED, failed_imports={'cv2': 'ImportError: libGL.so.1'}),
        'missing_mmcv': found({k: v for k, v in MAINTAINED.items() if k != 'onedl-mmcv'}),
        'operators': found(MAINTAINED, cuda_available=True),
    }


def pages() -> dict[str, str]:
    """The page."""
    rows, shown = [], examples()
    for rule in mismatches.RULES:
        # What is installed here must not tell.
        absent = None if rule.__name__ == 'missing_mmcv' else object()
        with mock.patch.object(mismatches, 'find_spec', lambda name, absent=absent: absent):
            problems = list(rule(shown[rule.__name__]))
        if not problems:
            raise ValueError(f'the example of the rule {rule.__name__} is none')
        rows += [[problem.what, f'`{problem.cure}`'] for problem in problems]
    return {'troubleshooting.md': SEEN + markdown_table(['it says', 'cure'], rows, left=2)}
