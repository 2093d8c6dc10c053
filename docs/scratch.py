"""A folder for a tutorial to run in: it looks like a checkout, and goes when the tutorial ends.

The first cell of each tutorial, which readers do not see, is `%run ../scratch.py`. Real data is
taken from shared/data beside the checkout where that is there, else generated.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINKED = ('benchmarks', 'configs', 'docs', 'tools')


def enter() -> Path:
    """Make the folder, and change into it; `python` in it is the one that runs this."""
    folder = Path(tempfile.mkdtemp(prefix='mmattn_tutorial_'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    (folder / 'data').mkdir()
    os.chdir(folder)
    os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    # What is printed is as wide as the page, and warnings of the toolboxes are not the topic.
    os.environ.update(COLUMNS='96', PYTHONWARNINGS='ignore', OMP_NUM_THREADS='2')
    return folder


def real_data(name: str) -> Path | None:
    """shared/data/NAME beside the checkout; None where it is not there."""
    path = ROOT.parent / 'shared' / 'data' / name
    return path if path.exists() else None


if __name__ == '__main__':
    enter()
