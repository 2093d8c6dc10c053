"""VOC-style data, read straight from its xml files."""

from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmattn.datasets.boxes import Record, Tally, clean_record
from mmattn.datasets.converters import ALL
from mmattn.datasets.images import check_image
from mmattn.datasets.voc.converter import VOCTree, read_split_file
from mmattn.registry import DATASETS
from mmattn.utils.errors import UserError

FILTERS = ('filter_empty_gt', 'min_size')


@DATASETS.register_module()
class VOCDataset(BaseDataset):
    """Boxes of a VOC-style tree, for detectors.

    Reads what mmdet's XMLDataset reads, with the same coordinates, and also images other than
    .jpg and files with missing fields. Boxes without an area, which turn a detector's loss into
    NaN, outside the image or of other classes are dropped; what sticks out is clipped; the log
    says how many. Difficult objects get ``ignore_flag=1``.

    Args:
        ann_file: Split file such as 'ImageSets/Main/train.txt'; '' takes every xml file there is.
        data_root: Folder that the other paths are relative to.
        data_prefix: ``sub_data_root``: where below data_root the tree lies.
        img_subdir: Folder of the images in the tree.
        ann_subdir: Folder of the xml files in the tree.
        metainfo: ``classes`` is required: the class names in label order.
        filter_cfg: ``filter_empty_gt`` leaves out training images without a box, ``min_size``
            those with a side of fewer pixels.
        options: Others of mmengine's BaseDataset.

    Raises:
        UserError: If there are no classes, an image or an xml file is missing or unreadable, or
            no box is left.
    """

    def __init__(
        self,
        ann_file: str = '',
        data_root: str = '',
        data_prefix: dict[str, str] | None = None,
        img_subdir: str = 'JPEGImages',
        ann_subdir: str = 'Annotations',
        metainfo: dict[str, Any] | None = None,
        filter_cfg: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        classes = (metainfo or {}).get('classes')
        if not classes or isinstance(classes, str):
            raise UserError(
                f'VOCDataset: metainfo=dict(classes=...) is {classes!r}; it has to hold the class '
                "names of the xml files in label order, such as classes=('cat', 'dog')."
            )
        if len(set(classes)) < len(classes):
            raise UserError(f'VOCDataset: a class is named twice in {tuple(classes)}.')
        unknown = set(filter_cfg or {}) - set(FILTERS)
        if unknown:
            raise UserError(
                f'VOCDataset: filter_cfg has {", ".join(sorted(unknown))}; it takes '
                f'{", ".join(FILTERS)}.'
            )
        data_prefix = data_prefix or {}
        if set(data_prefix) - {'sub_data_root'}:
            raise UserError(f'VOCDataset: data_prefix takes sub_data_root, not {data_prefix}.')
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix=dict(sub_data_root=data_prefix.get('sub_data_root', '')),
            filter_cfg=filter_cfg,
            **options,
        )

    @property
    def sub_data_root(self) -> str:
        """Folder of the tree."""
        return self.data_prefix['sub_data_root']

    def load_data_list(self) -> list[dict]:
        """Read the xml files; ``bbox`` is x1, y1, x2, y2 in pixels of the image as stored."""
        tree = VOCTree(self.sub_data_root, self.img_subdir, self.ann_subdir)
        names = read_split_file(Path(self.ann_file)) if self.ann_file else tree.names(ALL)
        records = tree.records(names)
        for record in records:
            # The header is read only where the xml leaves doubt: it costs a file access each.
            if record.width is None or _sticks_out(record):
                check_image(record, tree.root)
        self._refuse_unusable(records)
        classes = list(self.metainfo['classes'])
        tally = Tally()
        data_list = []
        for record in records:
            info = dict(img_id=record.name, img_path=str(tree.root / record.file_name))
            info.update(height=record.height, width=record.width, instances=[])
            for box in clean_record(record, classes, tally):
                label, flag = classes.index(box.label), int(box.crowd)
                instance = dict(bbox=list(box.corners), bbox_label=label, ignore_flag=flag)
                info['instances'].append(instance)
            data_list.append(info)
        tally.check()
        self._log(tally)
        self.tally = tally
        return data_list

    def _refuse_unusable(self, records: list[Record]) -> None:
        bad = [record for record in records if record.problem]
        if bad:
            lines = [f'{self._where}: {len(bad)} of {len(records)} images cannot be used:']
            lines += [f'  {record.file_name}: {record.problem}' for record in bad[:5]]
            lines += [f'  and {len(bad) - 5} more'] if len(bad) > 5 else []
            lines.append('Add the files, or take the names out of the split file.')
            raise UserError('\n'.join(lines))

    def _log(self, tally: Tally) -> None:
        boxes = ', '.join(f'{name} {tally.boxes[name]:,}' for name in self.metainfo['classes'])
        lines = [f'{self._where}: {tally.images:,} images; boxes: {boxes}']
        examples = {reason: ', '.join(names) for reason, names in tally.examples.items()}
        for reason, count in (+tally.dropped_boxes).items():
            lines.append(f'  {count:,} boxes dropped, {reason} ({examples[reason]})')
        for name, count in tally.other_classes.items():
            lines.append(f'    class {name!r}: {count:,}')
        for remark, count in tally.remarks.items():
            lines.append(f'  {count:,} {remark} ({examples[remark]})')
        if not tally.boxes:
            raise UserError(
                '\n'.join(lines) + '\nno box is left: do the classes '
                f'{", ".join(self.metainfo["classes"])} agree with the <name>s in the xml files?'
            )
        print_log('\n'.join(lines), logger='current')

    @property
    def _where(self) -> str:
        return self.ann_file or self.sub_data_root

    def filter_data(self) -> list[dict]:
        """Leave out what filter_cfg says, unless testing."""
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        kept = self.data_list
        if self.filter_cfg.get('filter_empty_gt', False):
            kept = [data for data in kept if data['instances']]
        min_size = self.filter_cfg.get('min_size', 0)
        kept = [data for data in kept if min(data['width'], data['height']) >= min_size]
        cause = f'filter_cfg={dict(self.filter_cfg)}'
        if not kept:
            raise UserError(f'{self._where}: {cause} leaves no image.')
        left_out = len(self.data_list) - len(kept)
        if left_out:
            text = f'{left_out} of {len(self.data_list)} images left out by {cause}'
            print_log(f'{self._where}: {text}', logger='current')
        return kept

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the boxes of one image, as class-aware samplers ask for them."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]


def _sticks_out(record: Record) -> bool:
    return any(
        box.corners[2] > record.width or box.corners[3] > record.height
        for box in record.boxes
        if box.corners
    )
