"""The measurements of run.py; every one ends when its time is over and says what it left out."""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from absent import MISSING
from torch import Tensor

from mmattn import kernels
from mmattn.analysis.networks import PLAIN, Network, Setting, compare
from mmattn.analysis.throughput import machine
from mmattn.engine.prepare import prepare
from mmattn.experiments import find_experiments

DTYPES = ('float32', 'bfloat16', 'float16')
LAYOUTS = {'NCHW': torch.contiguous_format, 'channels_last': torch.channels_last}
# Every shape and dtype compiles kernels of its own: 16 bits have the first shape only.
SHAPES = ((2, 64, 56, 56), (2, 16, 7, 7), (3, 7, 33, 70))
# What SCSA needs first, should time run out.
FIRST = ('scsa', 'gate strips', 'means', 'window_means')
TABLE = 'scsa-2'
# The networks by what is worth most, should time run out.
CONFIGS = ('resnet50', 'mobilenet_v2', 'repvgg_a0', 'swin_t', 'resnet101')
TINY = ['model.backbone.widen_factor=0.1']
# The interpreter takes seconds for one of them.
ONE = 'model.backbone.attention.stages=(False,False,True,False,False,False,False)'


# The fields of mmdet's gfl_r50_fpn_1x_coco that are not Faster R-CNN's.
GFL = dict(
    type='GFL',
    neck=dict(start_level=1, add_extra_convs='on_output'),
    bbox_head=dict(
        type='GFLHead',
        num_classes=80,
        in_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=8,
            scales_per_octave=1,
            strides=[8, 16, 32, 64, 128],
        ),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(
        _delete_=True, assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1
    ),
    test_cfg=dict(_delete_=True),
)


@dataclass(frozen=True)
class Precise(Setting):
    """A setting with any dtype under autocast."""

    precision: str = 'float32'

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)


def machine_of(device: str) -> dict:
    about = machine(device)
    if device != 'cpu':
        torch.backends.cudnn.benchmark = True
        about['cudnn'] = torch.backends.cudnn.version()
    about['float32'] = 'convolutions with TF32, as torch has it by default'
    like = torch.empty(0, device=device)
    about['kernels'] = kernels.implementation(like)
    if about['kernels'] != 'Triton':
        from mmattn.kernels.choice import why_no_triton

        about['why not Triton'] = why_no_triton()
    return about


def _error(actual: Tensor, exact: Tensor) -> float:
    """Relative, in the Euclidean norm; a single sum may cancel to anything."""
    size = exact.norm().item()
    size = max(size, 1.0) if exact.numel() == 1 else max(size, 1e-30)
    off = (actual.double() - exact).norm().item()
    return off / size


def _is_float(x: object) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _run(primitive: Callable, inputs: tuple, way: str) -> tuple[list[Tensor], list[Tensor]]:
    leaves = [x.detach().requires_grad_() if _is_float(x) else x for x in inputs]
    generator = torch.Generator().manual_seed(1)
    with kernels.using(way):
        out = primitive(*leaves)
        out = [out] if isinstance(out, Tensor) else list(out)
        grads = [
            torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, x.dtype)
            for x in out
        ]
        gradients = torch.autograd.grad(out, [x for x in leaves if _is_float(x)], grads)
    return [x.detach() for x in out], list(gradients)


def correctness(args, record: Callable, left: Callable[[], float]) -> None:
    from mmattn.kernels.primitive import PRIMITIVES

    # An installed package may be called `tests`, too.
    sys.path.append(str(Path(__file__).parents[2] / 'tests' / 'test_kernels'))
    from examples import EXAMPLES

    shapes = ((2, 4, 5, 7), (2, 8, 7, 7)) if args.quick else SHAPES
    for case in sorted(EXAMPLES, key=lambda case: not case.startswith(FIRST)):
        example = EXAMPLES[case]
        primitive = PRIMITIVES[case.split()[0]]
        for name in DTYPES:
            if left() < 0:
                return record(case=case, dtype=name, ok='not run: out of time')
            some = shapes if name == 'float32' else shapes[:1]
            record(case=case, dtype=name, **_compared(args, primitive, example, name, some))
    return None


def _compared(args, primitive: Callable, example: Callable, name: str, shapes: tuple) -> dict:
    """The largest errors over shapes and formats, of the kernels and of the pure way."""
    dtype = getattr(torch, name)
    worst = dict.fromkeys(('outputs', 'gradients', 'pure outputs', 'pure gradients'), 0.0)
    same = True
    for shape in shapes:
        torch.manual_seed(0)
        inputs = [x.to(args.device) if isinstance(x, Tensor) else x for x in example(shape, dtype)]
        exact = _run(primitive, [x.double() if _is_float(x) else x for x in inputs], 'pure')
        for form in LAYOUTS.values():
            inputs[0] = inputs[0].to(memory_format=form)
            for way, prefix in (('auto', ''), ('pure', 'pure ')):
                results = _run(primitive, inputs, way)
                for what, ours, theirs in zip(
                    ('outputs', 'gradients'), results, exact, strict=True
                ):
                    errors = [_error(a, b) for a, b in zip(ours, theirs, strict=True)]
                    worst[prefix + what] = max(worst[prefix + what], *errors)
                if way == 'auto':
                    again = _run(primitive, inputs, way)
                    pairs = zip(sum(results, []), sum(again, []), strict=True)
                    same &= all(torch.equal(a, b) for a, b in pairs)
    eps = torch.finfo(dtype).eps
    limits = (1e-6, 1e-5) if dtype == torch.float32 else (4 * eps, 4 * eps)
    right = worst['outputs'] < limits[0] and worst['gradients'] < limits[1]
    return {**worst, 'same bits': same, 'ok': right and same}


def networks_of(args, config: str, names: tuple[str, ...] | None, setting: Setting):
    """The paper's rows of a config: name -> (network, the paper's images a second)."""
    if args.device == 'cpu' and 'mobilenet' not in config:
        return {}
    found = {}
    for row in find_experiments(TABLE, config):
        name = row.attention or PLAIN
        if names is None or name in names or name == PLAIN:
            options = row.cfg_options()
            if args.quick:
                options += TINY + [ONE] * (name != PLAIN)
            cfg, _ = prepare(config, options)
            found[name] = Network(cfg, setting), row.paper.get('throughput')
    return found


def settings_of(args, batch: int) -> Iterator[Precise]:
    size = (32, 32) if args.quick else (224, 224)
    kinds = [('float16', True), ('float16', False), ('bfloat16', True), ('float32', False)]
    for precision, last in kinds[1:] if args.quick else kinds:
        if args.device == 'cpu' and precision == 'float16':
            continue
        amp = precision != 'float32'
        yield Precise(batch, size, args.device, amp, False, last, precision=precision)


def _use(network: Network, setting: Precise) -> None:
    """The same network under another setting."""
    form = torch.channels_last if setting.channels_last else torch.contiguous_format
    network.setting = setting
    network.model.to(memory_format=form)
    network.images = network.images.contiguous(memory_format=form)


def _measured(args, record, left, config: str, found: dict, setting: Precise, step: str) -> None:
    networks = {name: network for name, (network, _) in found.items()}
    for network in networks.values():
        _use(network, setting)
    rounds, limit = (1, 0.1) if args.quick else (9, max(1.0, min(6.0, left() / 4)))
    results = list(compare(networks, (step,), ('auto', 'pure'), rounds, limit))
    plain = results[0]
    paper_plain = found[PLAIN][1]
    for one in results:
        paper = found[one.name][1]
        row = dict(config=config.removesuffix('_in1k'), attention=one.name, kernels=one.kernels)
        row.update(dtype=setting.precision, layout=['NCHW', 'channels_last'][setting.channels_last])
        row.update({'images/s': one.images.median, 'of plain': one.ratio.median})
        row['of plain, quartiles'] = f'{one.ratio.low:.3f} to {one.ratio.high:.3f}'
        row['peak MiB'] = round(one.peak / 2**20, 1)
        if one.saved is not None:
            row.update({'saved MiB': round(one.saved / 2**20, 1)})
            row['saved of plain'] = one.saved / plain.saved
        if step == 'inference':
            row["paper's images/s"] = paper or ''
            row["paper's of plain"] = paper / paper_plain if paper and paper_plain else ''
        record(**row)


def table2(args, record: Callable, left: Callable[[], float]) -> None:
    batch = 1 if args.quick else 32
    for names in (('SCSA',), None):
        for config in CONFIGS:
            if names is None and args.quick:
                continue
            config = f'{config}_scsa_in1k'
            settings = list(settings_of(args, batch))
            if left() < 0:
                record(config=config, attention='not run: out of time')
                continue
            found = networks_of(args, config, names, settings[0])
            found = {} if names is None and len(found) < 3 else found
            for setting in settings[:2] if names is None else settings:
                if found and left() > 0:
                    _measured(args, record, left, config, found, setting, 'inference')
            del found
            _free(args)


def training(args, record: Callable, left: Callable[[], float]) -> None:
    for config in ('resnet50', 'mobilenet_v2', 'swin_t'):
        config = f'{config}_scsa_in1k'
        # A BatchNorm takes no single value per channel.
        settings = list(settings_of(args, 2 if args.quick else 64))
        if left() < 0:
            record(config=config, attention='not run: out of time')
            continue
        found = networks_of(args, config, ('SCSA',), settings[0])
        for setting in settings[: 1 if args.quick else 3]:
            if found and left() > 0:
                _measured(args, record, left, config, found, setting, 'training')
        del found
        _free(args)
    if left() > 0:
        detector(args, record, left)


def detector(args, record: Callable, left: Callable[[], float]) -> None:
    """Faster R-CNN where mmcv's operators are, else GFL, which needs none of them to train."""
    config = 'faster_rcnn_r50_scsa_1x_coco'
    cfg, _ = prepare(config, [])
    if 'mmcv._ext' in MISSING:
        cfg.merge_from_dict(dict(model=GFL))
        for unused in ('rpn_head', 'roi_head'):
            del cfg.model[unused]
        config = 'gfl_r50_scsa (no RoIAlign and NMS of mmcv here)'
    if args.quick:
        cfg.model.backbone.depth = 18
        cfg.model.neck.in_channels = [64, 128, 256, 512]
    size, batch = ((64, 64), 1) if args.quick else ((800, 1333), 2)
    amp = args.device != 'cpu'
    setting = Precise(batch, size, args.device, amp, precision='float16' if amp else 'float32')
    found = {}
    for name, attention in ((PLAIN, None), ('SCSA', dict(type='SCSA'))):
        variant = copy.deepcopy(cfg)
        if args.quick and attention:
            attention['stages'] = (False, False, False, True)
        variant.model.backbone.attention = attention
        found[name] = Network(variant, setting), None
    _measured(args, record, left, config, found, setting, 'training')


def _free(args) -> None:
    if args.device != 'cpu':
        torch.cuda.empty_cache()
