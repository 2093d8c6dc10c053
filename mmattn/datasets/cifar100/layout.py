"""Where mmpretrain's CIFAR100 looks for its files."""

from mmattn.datasets.cifar10.layout import batches_in
from mmattn.datasets.cifar100.guide import FOLDER
from mmattn.datasets.layouts import Layout

LAYOUT = Layout(('CIFAR100', 'GeneratedCIFAR100'), paths=batches_in(FOLDER))
