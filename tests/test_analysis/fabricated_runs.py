"""Finished runs without a training: the engine's own summary, a config as the Runner keeps it."""

from mmattn.engine.summary import RunSummary, write_summary

CONFIG = """
default_scope = 'mmpretrain'
data_root = 'data/tiny'
randomness = dict(seed=0)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmattn.ResNet', depth=18, num_stages=2, out_indices=(1,),
                  strides=(2, 2), dilations=(1, 1), attention=dict(type='SE')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=128),
)
val_dataloader = dict(dataset=dict(type='CustomDataset', data_root=data_root,
                                   ann_file=data_root + '/val.txt'))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05))
"""
PLAIN = CONFIG.replace("dict(type='SE')", 'None')


def write_run(folder, top1=75.0, seed=0, config=CONFIG, name='tiny.py', **summary):
    """Write a run into ``folder``, and return it; ``summary`` is what its summary has besides."""
    known = {
        'config': name,
        'task': 'classification (mmpretrain)',
        'attention': 'none' if config == PLAIN else 'SE',
        'metrics': {'accuracy/top1': top1, 'accuracy/top5': 99.0},
        'best_metric': 'accuracy/top1',
        'seed': seed,
    }
    folder.mkdir(parents=True)
    write_summary(RunSummary(**{**known, 'work_dir': str(folder), 'seconds': 1.0, **summary}))
    if config:
        (folder / name).write_text(config.replace('seed=0', f'seed={seed}'))
    return folder


def write_group(folder, scores, config=CONFIG, first=0, **summary):
    """Runs with as many seeds as there are scores, ``first`` and those that follow."""
    for seed, top1 in enumerate(scores, first):
        write_run(folder / f'seed{seed}', top1, seed, config, **summary)
