"""Data sets: everything about one in its folder, beside the folders what they share.

A folder holds, each as far as the data set needs it:

========================  =====================================================================
``guide.py``, GUIDE       where it comes from, how its folder has to look, what to count
``reader.py``             a dataset class, for what the toolboxes do not read or not as tolerantly
``metric.py``             its own metric
``converter.py``,         from its own format to COCO's
CONVERTER
``layout.py``, LAYOUT     which files its dataset classes read, and what is checked in them
``demo.py``, DEMO         how ``--demo`` writes it
========================  =====================================================================

:func:`mmattn.datasets.folders.members` finds them; there is no list of data sets.
"""


def __getattr__(name: str) -> object:
    """Import a dataset class when it is asked for."""
    # Imported here: the guides have to be readable without a stack.
    from mmattn.registry import DATASETS

    return DATASETS.names_in(__name__) if name == '__all__' else DATASETS.member_of(__name__, name)
