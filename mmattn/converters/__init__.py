"""Published checkpoints -> mmattn, and mmattn's models -> what is published and deployed."""

from mmattn.converters.convert import Conversion, convert, find_source
from mmattn.converters.files import read_checkpoint, refuse_existing, to_bytes, unwrap, write_bytes
from mmattn.converters.report import config_text, report_table
from mmattn.converters.sources import SOURCES, Source

__all__ = [
    'SOURCES',
    'Conversion',
    'Source',
    'config_text',
    'convert',
    'find_source',
    'read_checkpoint',
    'refuse_existing',
    'report_table',
    'to_bytes',
    'unwrap',
    'write_bytes',
]
