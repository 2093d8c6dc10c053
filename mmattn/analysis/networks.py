"""Throughput and memory of any config's model, on generated data.

Inference is the forward pass: of a detector with its post-processing (its second stage needs
the first one's), of others to the logits. A training step is the forward pass, the losses and
the backward pass, without the optimizer, which no attention changes.
"""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from mmattn import kernels
from mmattn.analysis.batches import GENERATED
from mmattn.analysis.complexity import input_size
from mmattn.analysis.throughput import Timing, alternate, machine, peak_memory, saved_bytes
from mmattn.attention.names import find_attention
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.mistakes import accepted_arguments
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_dicts, type_name

STEPS = ('inference', 'training')
PLAIN = 'plain'


@dataclass(frozen=True)
class Setting:
    """How all networks of a comparison run."""

    batch_size: int = 8
    size: tuple[int, int] | None = None  # height and width; None: as complexity.py has them
    device: str = 'cpu'
    amp: bool = False  # float16 on a GPU, bfloat16 on a CPU
    compile: bool = False  # the backbone
    channels_last: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """That of the maps."""
        if not self.amp:
            return torch.float32
        return torch.bfloat16 if self.device == 'cpu' else torch.float16

    def describe(self) -> list[str]:
        """What a table made with it has to say."""
        way = kernels.implementation(torch.empty(0, dtype=self.dtype, device=self.device))
        words = [f'batch {self.batch_size}', str(self.dtype).removeprefix('torch.')]
        words += ['channels_last' if self.channels_last else 'NCHW']
        words += ['compiled backbone'] * self.compile
        where = machine(self.device)
        words += [f'kernels: {way}', f'{where["device"]}, {where["threads"]} threads']
        return [', '.join([*words, f'torch {where["torch"]}.'])]


def usable_device(name: str | None) -> str:
    """A device's name, checked; without one a GPU if there is one.

    Raises:
        UserError: If torch knows no such device, or it is not here.
    """
    if name is None:
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'--device {name!r}: {reason}; valid here: {_devices()}') from error
    return name


def _devices() -> str:
    return ', '.join(['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))])


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

        if setting.amp and self.images.device.type == 'cpu' and hasattr(self.model, 'roi_head'):
            raise UserError(
                "--amp: mmcv's RoIAlign has no bfloat16 on a CPU; leave --amp out, or use a GPU."
            )

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

    def _autocast(self) -> AbstractContextManager:
        if not self.setting.amp:
            return nullcontext()
        return torch.autocast(self.images.device.type, self.setting.dtype)


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
    ways: Sequence[str] = ('',),
    rounds: int = 10,
    limit: float | None = None,
) -> Iterator[Result]:
    """Run networks in turns.

    Args:
        networks: Name -> network; the first one is what the others are compared with.
        steps: 'inference', 'training'.
        ways: Kernels that each but the first network runs with: 'auto', 'pure', '' as they are.
        rounds, limit: See :func:`mmattn.analysis.throughput.alternate`.
    """
    first, *others = networks
    runs = [(first, ''), *((name, way) for name in others for way in ways)]
    for step in steps:
        calls = {run: with_kernels(run[1], getattr(networks[run[0]], step)) for run in runs}
        # They warm up as well.
        peaks = {run: peak_memory(call) for run, call in calls.items()}
        saved = dict.fromkeys(runs)
        if step == 'training':
            for name, way in runs:
                network = networks[name]
                parameters = network.model.parameters()
                saved[name, way] = saved_bytes(with_kernels(way, network.loss), parameters)
        timings = alternate(calls, rounds, warm_up=0, limit=limit)
        for run, timing in timings.items():
            batch = len(networks[run[0]].images)
            images = Timing.of(batch / seconds for seconds in timing.samples)
            ratio = timing.speed(timings[runs[0]])
            yield Result(*run, step, images, ratio, peaks[run], saved[run])


def with_kernels(way: str, call: Callable[[], object]) -> Callable[[], object]:
    """``call`` with the kernels 'auto' or 'pure'; '' leaves them as they are."""

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
    own, takes = backbone.get('attention'), 'attention' in _arguments(backbone, cfg)
    kind = type_name(backbone) or 'none'
    if names and not takes:
        raise UserError(
            f"--attention: the config's backbone, {kind}, takes none; valid: mmattn's "
            '(--cfg-options model.backbone.type=mmattn.ResNet), or mmattn.AnyBackbone around it.'
        )
    if names and isinstance(own, (list, tuple)):
        raise UserError(
            f'--attention: the config has a list of {len(own)} attentions; leave the option out to '
            'measure them, or change them with --cfg-options.'
        )
    found = {PLAIN: _with_attention(cfg, None)} if takes else {}
    for name in names:
        cls = find_attention(name)
        found[cls.__name__] = _with_attention(cfg, {**(own or {}), 'type': name})
    if not names and own is not None or not found:
        listed = own if isinstance(own, (list, tuple)) else [own or {}]
        found[' + '.join(map(type_name, listed)) or kind] = cfg
    return found


def _arguments(backbone: dict, cfg: Config) -> set[str]:
    kind = backbone.get('type')
    if isinstance(kind, str):
        kind = MODELS.get(kind if '.' in kind else f'{cfg.get("default_scope")}.{kind}')
    return accepted_arguments(kind) if kind else set()


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
