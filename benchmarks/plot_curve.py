"""Keep a training run: its outcome, its log, its scalars and a picture of its learning curve.

    python benchmarks/plot_curve.py WORK_DIR OUT_DIR [--note TEXT]

Writes NAME.json (config, metrics, time; `docs/zoo.py` reads it), NAME.log (the lines of
training and validation), NAME.jsonl (the scalars) and NAME.png into OUT_DIR; NAME is that of
WORK_DIR. The latest run of a work dir with several is taken.
"""

import argparse
import json
import re
from pathlib import Path

from matplotlib import pyplot as plt

from mmattn.analysis.runs import Run
from mmattn.engine.summary import SUMMARY_FILE, describe_seconds
from mmattn.utils.files import told, whole, write_whole

# The metric to draw: key -> (label, what makes it per cent).
METRICS = {
    'accuracy/top1': ('accuracy (top-1, %)', 1),
    'mIoU': ('mIoU (%)', 1),
    'coco/bbox_mAP_50': ('box AP50 (%)', 100),
    'pascal_voc/mAP': ('VOC mAP (%)', 100),
}


def read_run(work_dir: Path) -> tuple[list[dict], list[str]]:
    """Scalars of a work dir's latest run, and its log's lines of training and validation.

    The rest of the log holds paths of the machine.
    """
    runs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not runs:
        raise FileNotFoundError(f'no run in {work_dir}: there is no */vis_data/scalars.json')
    latest = runs[-1].parents[1]
    scalars = Run(latest, latest.name).scalars
    logs = [log.read_text(errors='replace') for log in sorted(latest.glob('*.log'))]
    return scalars, re.findall(r'^.*(?:Epoch|Iter)\(.*$', '\n'.join(logs), re.MULTILINE)


def read_outcome(work_dir: Path) -> dict:
    """What a run came to, without paths of the machine."""
    path = work_dir / SUMMARY_FILE
    if not path.is_file():
        raise FileNotFoundError(f'the run in {work_dir} is not finished: there is no {path.name}')
    summary = json.loads(path.read_text(encoding='utf-8'))
    return {
        'config': Path(summary['config']).stem,
        'attention': summary['attention'],
        'progress': summary['progress'],
        'time': describe_seconds(summary['seconds']),
        'metrics': summary['metrics'],
    }


def plot(scalars: list[dict], title: str, path: Path) -> None:
    """Draw the training loss and the metric of the validations."""
    train = [entry for entry in scalars if 'loss' in entry]
    key = next(key for key in METRICS if any(key in entry for entry in scalars))
    val = [entry for entry in scalars if key in entry]
    label, factor = METRICS[key]
    # Training steps count iterations; validations count epochs where there are any.
    epochs = 'epoch' in train[-1]
    unit = train[-1]['step'] / max(entry['epoch'] for entry in train) if epochs else 1
    figure, losses = plt.subplots(figsize=(6, 3.5), layout='constrained')
    losses.plot([e['step'] / unit for e in train], [e['loss'] for e in train], 'C0')
    losses.set_xlabel(f'training time ({"epochs" if epochs else "iterations"})')
    losses.set_ylabel('training loss (nats)', color='C0')
    losses.set_ylim(bottom=0)
    right = losses.twinx()
    right.plot([e['step'] for e in val], [e[key] * factor for e in val], 'C1o-')
    right.set_ylabel(f'validation: {label}', color='C1')
    right.set_ylim(0, 100)
    losses.set_title(f'{title}: {val[-1][key] * factor:.2f} % at the end')
    with told(path), whole(path) as part:
        figure.savefig(part, dpi=120)
    plt.close(figure)


def main() -> None:
    args = parse_args()
    scalars, lines = read_run(args.work_dir)
    outcome = {**read_outcome(args.work_dir), 'note': args.note}
    name = args.work_dir.name
    write_whole(args.out_dir / f'{name}.json', json.dumps(outcome, indent=1) + '\n')
    write_whole(args.out_dir / f'{name}.log', '\n'.join(lines) + '\n')
    write_whole(args.out_dir / f'{name}.jsonl', '\n'.join(map(json.dumps, scalars)) + '\n')
    plot(scalars, name, args.out_dir / f'{name}.png')
    print(f'kept in {args.out_dir}: {name}.json, .log, .jsonl, .png')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('work_dir', type=Path, help='folder of the run, such as work_dirs/NAME')
    parser.add_argument('out_dir', type=Path, help='where the files go')
    parser.add_argument('--note', default='', help='what sets the run apart, such as fewer data')
    return parser.parse_args()


if __name__ == '__main__':
    main()
