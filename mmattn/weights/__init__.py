"""Published checkpoints -> mmattn, and mmattn's models -> what is published and deployed."""

from mmattn.utils.checkpoints import read_checkpoint, to_bytes, unwrap
from mmattn.utils.files import refuse_existing, write_whole
from mmattn.weights.convert import Conversion, convert_checkpoint, find_source
from mmattn.weights.report import config_text, report_table
from mmattn.weights.source import CheckpointSource
from mmattn.weights.sources import SOURCES

__all__ = [
    'SOURCES',
    'CheckpointSource',
    'Conversion',
    'config_text',
    'convert_checkpoint',
    'find_source',
    'read_checkpoint',
    'refuse_existing',
    'report_table',
    'to_bytes',
    'unwrap',
    'write_whole',
]
