"""Where each data set comes from, how its folder has to look, and whether it is whole.

``python -m mmattn data NAME`` prints it; the message about missing data is built from the
same facts. Nothing but the standard library and rich is imported, so that it runs without
a stack.
"""

from mmattn.data_guide.known import DATA_SETS, DataSet, find_data_set, guide_of_dataset
from mmattn.data_guide.report import print_data_set, print_data_sets

__all__ = [
    'DATA_SETS',
    'DataSet',
    'find_data_set',
    'guide_of_dataset',
    'print_data_set',
    'print_data_sets',
]
