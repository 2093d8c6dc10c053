"""Keep a training run: its log, its scalars and a picture of its learning curve.

    python benchmarks/plot_curve.py WORK_DIR OUT_DIR

Writes NAME.log (the lines of training and validation), NAME.jsonl (the scalars)
and NAME.png into OUT_DIR; NAME is that of WORK_DIR. The latest run of a work dir
with several is taken.
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot as plt


def read_run(work_dir: Path) -> tuple[list[dict], list[str]]:
    """Scalars and log lines of a work dir's latest run.

    Returns:
        One dict per line that was logged, and the log's lines of training and
        validation without the rest, which holds paths of the machine.

    Raises:
        FileNotFoundError: If the folder holds no run.
    """
    runs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not runs:
        raise FileNotFoundError(f'no run in {work_dir}: there is no */vis_data/scalars.json')
    scalars = [json.loads(line) for line in runs[-1].read_text().splitlines()]
    logs = sorted(runs[-1].parents[1].glob('*.log'))
    lines = [line for log in logs for line in log.read_text().splitlines() if 'Epoch(' in line]
    return scalars, lines


def plot(scalars: list[dict], title: str, path: Path) -> None:
    """Draw the training loss and the validation accuracy over the epochs."""
    train = [entry for entry in scalars if 'loss' in entry]
    val = [entry for entry in scalars if 'accuracy/top1' in entry]
    # The training steps count iterations, the validations epochs.
    per_epoch = train[-1]['step'] / max(entry['epoch'] for entry in train)
    figure, losses = plt.subplots(figsize=(6, 3.5), layout='constrained')
    losses.plot([e['step'] / per_epoch for e in train], [e['loss'] for e in train], 'C0')
    losses.set_xlabel('training time (epochs)')
    losses.set_ylabel('training loss (cross-entropy, nats)', color='C0')
    losses.set_ylim(bottom=0)
    accuracy = losses.twinx()
    accuracy.plot([e['step'] for e in val], [e['accuracy/top1'] for e in val], 'C1o-')
    accuracy.set_ylabel('test accuracy (top-1, %)', color='C1')
    accuracy.set_ylim(0, 100)
    losses.set_title(f'{title}: {val[-1]["accuracy/top1"]:.2f} % at the end')
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    args = parse_args()
    scalars, lines = read_run(args.work_dir)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    name = args.work_dir.name
    (args.out_dir / f'{name}.log').write_text('\n'.join(lines) + '\n')
    with (args.out_dir / f'{name}.jsonl').open('w') as file:
        file.writelines(json.dumps(entry) + '\n' for entry in scalars)
    plot(scalars, name, args.out_dir / f'{name}.png')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Keep the log and the learning curve of a training run.'
    )
    parser.add_argument('work_dir', type=Path, help='folder of the run, such as work_dirs/NAME')
    parser.add_argument('out_dir', type=Path, help='where the log, the scalars and the picture go')
    return parser.parse_args()


if __name__ == '__main__':
    main()
