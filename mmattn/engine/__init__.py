"""Command lines' work: configs, data paths, machine, training and evaluating.

``train`` and ``evaluate`` are imported from their own modules
(:mod:`mmattn.engine.train`, :mod:`mmattn.engine.evaluate`).
"""

from mmattn.engine.channels_last import ChannelsLastHook
from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.non_finite import NonFiniteLossHook
from mmattn.engine.resume import find_resumable
from mmattn.utils.errors import Interrupted, UserError

__all__ = [
    'ChannelsLastHook',
    'Interrupted',
    'NonFiniteLossHook',
    'UserError',
    'adapt_to_machine',
    'check_data',
    'find_resumable',
    'set_data_root',
]
