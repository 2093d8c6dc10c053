"""Command lines' work: configs, data paths, machine, training and evaluating.

``train`` and ``evaluate`` are imported from their own modules
(:mod:`mmattn.engine.train`, :mod:`mmattn.engine.evaluate`).
"""

from mmattn.engine.data_check import check_data as check_data
from mmattn.engine.data_root import set_data_root as set_data_root
from mmattn.engine.hooks import ChannelsLastHook as ChannelsLastHook
from mmattn.engine.hooks import NonFiniteLossHook as NonFiniteLossHook
from mmattn.engine.machine import adapt_to_machine as adapt_to_machine
from mmattn.engine.resume import find_resumable as find_resumable
from mmattn.utils.errors import Interrupted as Interrupted
from mmattn.utils.errors import UserError as UserError
