"""Throughput and memory of any config's model, on generated data.

Inference is the forward pass: of a detector with its post-processing (its second stage needs
the first one's), of others to the logits. A training step is the forward pass, the losses and
the backward pass, without the optimizer, which no attention changes.
"""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmattn import kernels
from mmattn.analysis.complexity import input_size
from mmattn.analysis.throughput import Timing, alternate, peak_memory, saved_bytes
from mmattn.attention.names import find_attention
from mmattn.engine.machine import adapt_to_machine
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_dicts, type_name

STEPS = ('inference', 'training')
PLAIN = 'plain'
OBJECTS = 8  # of each image, for detectors


@dataclass(frozen=True)
class Setting:
    """How all networks of a comparison run."""

    batch_size: int = 8
    size: tuple[int, int] | None = None  # height and width; None: as complexity.py has them
    device: str = 'cpu'
    amp: bool = False  # float16 on a GPU, bfloat16 on a CPU
    compile: bool = False  # the backbone
    channels_last: bool = False


class Network:
    """A config's model and a batch of generated data, ready to run.

    Args:
        cfg: A config of mmdet, mmseg or mmpretrain. Its weights are random.
        setting: How it runs.

    Raises:
        UserError: If the config belongs to none of the toolboxes.
    """

    def __init__(self, cfg: Config, setting: Setting) -> None:
        self.size = input_size(cfg, setting.size)
        self.scope, self.setting = cfg.default_scope, setting
        cfg = copy.deepcopy(cfg)
        adapt_to_machine(cfg)
        _without_pretrained(cfg)
        with DefaultScope.overwrite_default_scope(self.scope):
            self.model = MODELS.build(cfg.model)
            logging.disable(logging.INFO)  # else it lists every parameter
            self.model.init_weights()
            logging.disable(logging.NOTSET)
        layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        self.model.to(setting.device, memory_format=layout)
        if setting.compile:
            self.model.backbone = torch.compile(self.model.backbone)
        torch.manual_seed(0)
        generate = GENERATED[self.scope]
        images, samples = generate(self.model, setting.batch_size, self.size)
        self.images = images.to(setting.device, memory_format=layout)
        self.samples = [sample.to(setting.device) for sample in samples]

    def inference(self) -> object:
        """One forward pass in evaluation mode."""
        if self.model.training:
            self.model.eval()
        mode = 'predict' if self.scope == 'mmdet' else 'tensor'
        with torch.no_grad(), self._autocast():
            return self.model(self.images, self.samples, mode=mode)

    def loss(self) -> Tensor:
        """The forward pass of a training step."""
        if not self.model.training:
            self.model.train()
        with self._autocast():
            losses = self.model(self.images, self.samples, mode='loss')
        return self.model.parse_losses(losses)[0]

    def training(self) -> None:
        """One training step."""
        self.loss().backward()
        self.model.zero_grad(set_to_none=True)

    def _autocast(self) -> torch.autocast:
        kind = torch.device(self.setting.device).type
        dtype = torch.bfloat16 if kind == 'cpu' else torch.float16
        return torch.autocast(kind, dtype, enabled=self.setting.amp)


@dataclass(frozen=True)
class Result:
    """A network's figures in one kind of step."""

    name: str
    kernels: str  # 'auto', 'pure', or '' where nothing runs on them
    step: str
    images: Timing  # a second
    ratio: Timing  # to the plain network
    peak: int  # bytes, beyond parameters and batch
    saved: int | None  # bytes of activations; None in inference


def compare(
    networks: Mapping[str, Network],
    steps: Iterable[str] = STEPS,
    ways: Sequence[str] = ('auto',),
    rounds: int = 10,
    limit: float | None = None,
) -> Iterator[Result]:
    """Run networks in turns.

    Args:
        networks: Name -> network; the first one is what the others are compared with.
        steps: 'inference', 'training'.
        ways: Kernels, 'auto' and 'pure', that each but the first network runs with.
        rounds, limit: See :func:`mmattn.analysis.throughput.alternate`.
    """
    first, *others = networks
    runs = [(first, ''), *((name, way) for name in others for way in ways)]
    for step in steps:
        calls = {run: _with(run[1], getattr(networks[run[0]], step)) for run in runs}
        # They warm up as well.
        peaks = {run: peak_memory(call) for run, call in calls.items()}
        saved = dict.fromkeys(runs)
        if step == 'training':
            for name, way in runs:
                network = networks[name]
                parameters = network.model.parameters()
                saved[name, way] = saved_bytes(_with(way, network.loss), parameters)
        timings = alternate(calls, rounds, warm_up=1, limit=limit)
        for run, timing in timings.items():
            batch = len(networks[run[0]].images)
            images = Timing.of(batch / seconds for seconds in timing.samples)
            ratio = timing.speed(timings[runs[0]])
            yield Result(*run, step, images, ratio, peaks[run], saved[run])


def _with(way: str, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with kernels.using(way) if way else nullcontext():
            return call()

    return run


def variants(cfg: Config, names: Sequence[str] = ()) -> dict[str, Config]:
    """The plain network's config, and the config with each attention.

    Args:
        cfg: A config whose backbone takes ``attention``.
        names: Attentions; without any the config's own.

    Raises:
        UserError: If the backbone takes no attention, or there is none to compare.
    """
    backbone = cfg.model.get('backbone') or {}
    own = backbone.get('attention')
    kind = type_name(backbone) or 'no backbone'
    if names and 'attention' not in backbone:
        raise UserError(
            f"--attention: the config's backbone, {kind}, has no key 'attention'. mmattn's take it "
            f'(model.backbone.type=mmattn.ResNet), and around any other network there is '
            f'mmattn.AnyBackbone: --cfg-options model.backbone.attention=None adds the key.'
        )
    if names and isinstance(own, (list, tuple)):
        raise UserError(
            f'--attention: the config has a list of {len(own)} attentions; leave the option out to '
            'measure them, or change them with --cfg-options.'
        )
    found = {PLAIN: _with_attention(cfg, None)} if 'attention' in backbone else {}
    for name in names:
        cls = find_attention(name)
        found[cls.__name__] = _with_attention(cfg, {**(own or {}), 'type': f'mmattn.{name}'})
    if not names and own is not None or not found:
        listed = own if isinstance(own, (list, tuple)) else [own or {}]
        found[' + '.join(map(type_name, listed)) or kind] = cfg
    return found


def _with_attention(cfg: Config, attention: dict | None) -> Config:
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.attention = attention
    return cfg


def _without_pretrained(cfg: Config) -> None:
    """Time does not depend on the weights."""
    for node in iter_dicts(cfg._cfg_dict.model):
        init = node.get('init_cfg')
        if isinstance(init, dict) and type_name(init).startswith('Pretrained'):
            node['init_cfg'] = None
        if isinstance(node.get('pretrained'), str):
            node['pretrained'] = None


def _classified(model: nn.Module, batch_size: int, size: tuple[int, int]) -> tuple[Tensor, list]:
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(0) for _ in range(batch_size)]
    return torch.randn(batch_size, 3, *size), samples


def _detected(model: nn.Module, batch_size: int, size: tuple[int, int]) -> tuple[Tensor, list]:
    from mmdet.testing import demo_mm_inputs

    data = demo_mm_inputs(
        batch_size,
        (3, *size),
        num_items=[OBJECTS] * batch_size,
        num_classes=2,
        with_mask=getattr(model, 'with_mask', False),
    )
    data = model.data_preprocessor(data, training=True)
    for sample in data['data_samples']:
        sample.gt_instances.labels.zero_()  # a class that every detector has
    return data['inputs'], data['data_samples']


def _segmented(model: nn.Module, batch_size: int, size: tuple[int, int]) -> tuple[Tensor, list]:
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(batch_size):
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
        labels = torch.randint(2, (1, *size))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return torch.randn(batch_size, 3, *size), samples


# A batch of the toolbox's images and annotations.
GENERATED = {'mmpretrain': _classified, 'mmdet': _detected, 'mmseg': _segmented}
