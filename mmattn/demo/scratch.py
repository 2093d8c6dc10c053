"""Changes a model config so that it can be trained from random weights, quickly."""

import inspect

from mmattn.utils.walk import iter_dicts, type_name

# Two-stage detectors: regions an image, enough for a handful of objects.
PROPOSALS = 128
CANDIDATES = 512
SAMPLES = 64


def from_scratch(cfg: dict, scope: str) -> list[str]:
    """Take out pretrained weights and whatever only makes sense with them, in place.

    Returns:
        Notes on what was replaced.
    """
    model = cfg['model']
    notes = []
    pretrained = [cfg['load_from']] if cfg.get('load_from') else []
    cfg['load_from'] = None
    for config in iter_dicts(model):
        init = config.get('init_cfg')
        if isinstance(init, dict) and type_name(init).startswith('Pretrained'):
            pretrained.append(init.get('checkpoint'))
            config['init_cfg'] = None
        if isinstance(config.get('pretrained'), str):
            pretrained.append(config['pretrained'])
            config['pretrained'] = None
        if config.get('pretrained') is True:  # timm's
            pretrained.append(config.get('model_name'))
            config['pretrained'] = False
        if config.get('freeze_attention'):
            config['freeze_attention'] = False
        norm = config.get('norm_cfg')
        if isinstance(norm, dict) and norm.get('requires_grad') is False:
            norm['requires_grad'] = True
    if pretrained:
        notes.append(f'no pretrained weights (left out: {", ".join(map(str, pretrained))})')
    backbone = model.get('backbone') or {}
    accepted = _arguments(backbone, scope)
    thaw = {'frozen_stages': -1, 'norm_eval': False}
    changed = [key for key, value in thaw.items() if backbone.get(key, value) != value]
    for key, value in thaw.items():
        if key in backbone or key in accepted:
            backbone[key] = value
    if changed:
        notes.append(f'backbone: every layer is trained, batch norm too ({", ".join(changed)})')
    return notes


def fewer_regions(model: dict) -> list[str]:
    """Lower the number of regions a detector looks at, in place; says so if it did."""
    changed = False
    for part in ('train_cfg', 'test_cfg'):
        for config in iter_dicts(model.get(part) or {}):
            limits = {'nms_pre': CANDIDATES}
            if 'nms_pre' in config:
                limits['max_per_img'] = PROPOSALS
            if 'Sampler' in type_name(config):
                limits['num'] = SAMPLES
            for key, limit in limits.items():
                if isinstance(config.get(key), int) and config[key] > limit:
                    config[key] = limit
                    changed = True
    if not changed:
        return []
    return [f'at most {PROPOSALS} proposals and {SAMPLES} sampled regions an image']


def _arguments(config: dict, scope: str) -> set[str]:
    """Names of the arguments that the model part takes, as far as its classes say."""
    from mmengine.registry import MODELS

    kind = config.get('type')
    if not inspect.isclass(kind):
        with MODELS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind) if kind else None
    found: set[str] = set()
    for ancestor in inspect.getmro(kind) if kind else ():
        if '__init__' in vars(ancestor):
            parameters = inspect.signature(ancestor.__init__).parameters
            found |= set(parameters)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return found
