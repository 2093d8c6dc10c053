"""From other annotation formats to COCO's, on one core.

A format is a :class:`Source` that yields :class:`Record`; the steps after it are
shared: ``convert`` (check images, clip, drop, count) -> ``write_json``, with
``summary_table`` and ``draw_contact_sheet`` to look at the result. ``command`` is
the command line over all of it.
"""

from mmattn.datasets.converters.boxes import CLIPPED, Box, Record, Tally, clean_record
from mmattn.datasets.converters.coco import (
    collect_classes,
    read_classes,
    to_coco,
    write_json,
)
from mmattn.datasets.converters.contact_sheet import draw_contact_sheet
from mmattn.datasets.converters.exdark import ExDarkSource
from mmattn.datasets.converters.flir import FLIRSource
from mmattn.datasets.converters.images import check_images
from mmattn.datasets.converters.report import other_classes, summary_table
from mmattn.datasets.converters.source import Source, convert
from mmattn.datasets.converters.visdrone import VisDroneSource
from mmattn.datasets.converters.voc import VOCSource, VOCTree, parse_xml

__all__ = [
    'CLIPPED',
    'Box',
    'ExDarkSource',
    'FLIRSource',
    'Record',
    'Source',
    'Tally',
    'VOCSource',
    'VOCTree',
    'VisDroneSource',
    'check_images',
    'clean_record',
    'collect_classes',
    'convert',
    'draw_contact_sheet',
    'other_classes',
    'parse_xml',
    'read_classes',
    'summary_table',
    'to_coco',
    'write_json',
]
