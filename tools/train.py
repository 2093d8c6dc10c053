#!/usr/bin/env python
"""Train any mmdet, mmsegmentation or mmpretrain config."""

import argparse
import gc
import os
import sys
import time

STARTED = time.time()


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        description='Train a detector, segmentation model or classifier: the config says which.',
        epilog='Examples: train.py faster_rcnn_r50_scsa_1x_coco --demo | '
        'train.py CONFIG --data-root /data/coco --amp | '
        'train.py CONFIG --cfg-options model.backbone.attention.type=ECA | '
        'train.py CONFIG --resume',
    )
    parser.add_argument('config', help='config file, or the name of a shipped config')
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        '--demo',
        action='store_true',
        help='train for minutes on generated images, without any data or download',
    )
    data.add_argument(
        '--data-root', metavar='DIR', help="use the data in DIR instead of the config's data_root"
    )
    parser.add_argument(
        '--work-dir', metavar='DIR', help='for logs and checkpoints; default work_dirs/CONFIG'
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='continue from the last checkpoint of the work dir, or from CKPT',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by real batch size / the batch size it was set for',
    )
    parser.add_argument('--seed', type=int, help='seed of all random numbers')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change the config, e.g. train_cfg.max_epochs=24 model.backbone.attention=None; '
        'lists as key="[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes; dist_train.sh and slurm_train.sh set it',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    # torch.distributed.launch passes it as an option, mmengine reads the variable
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> int:
    """Train; return the exit status."""
    args = parse_args()
    # The toolboxes' imports make millions of objects that stay; looking through them for
    # garbage again and again takes a quarter of the start. The engine turns it on again.
    gc.disable()
    from mmattn.engine import cli
    from mmattn.engine.train import train

    return cli.run(
        lambda: train(
            args.config,
            work_dir=args.work_dir,
            data_root=args.data_root,
            demo=args.demo,
            amp=args.amp,
            resume=args.resume,
            auto_scale_lr=args.auto_scale_lr,
            seed=args.seed,
            cfg_options=args.cfg_options,
            launcher=args.launcher,
            started=STARTED,
        )
    )


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while the toolboxes are imported
        sys.exit(130)
