"""The records of run.py as a JSON file and a page of tables, written anew after each record."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path


class Report:
    """Keeps what is measured.

    Args:
        path: Of the files, without suffix.
        about: What was measured on.
    """

    def __init__(self, path: Path, about: dict) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.about, self.parts, self.errors = path, about, {}, {}
        self.started = time.perf_counter()

    def recorder(self, part: str) -> Callable[..., None]:
        """A function that takes a row of a part's table."""
        self.parts.setdefault(part, [])

        def record(**row: object) -> None:
            self.parts[part].append(row)
            print(f'{part}: ' + ', '.join(f'{k} {_cell(v)}' for k, v in row.items()), flush=True)
            self.write()

        return record

    def failed(self, part: str, error: Exception) -> None:
        traceback.print_exception(error)
        self.errors[part] = f'{type(error).__name__}: {error}'
        self.write()

    def status(self) -> int:
        """1 if anything was wrong."""
        rows = [row for part in self.parts.values() for row in part]
        wrong = any(row.get('ok') is False or row.get('status', 0) != 0 for row in rows)
        return int(bool(self.errors) or wrong)

    def write(self) -> None:
        seconds = round(time.perf_counter() - self.started)
        content = {**self.about, 'seconds': seconds, 'errors': self.errors, 'parts': self.parts}
        self.path.with_suffix('.json').write_text(json.dumps(content, indent=1) + '\n')
        lines = [f'# {self.about["device"]}', '']
        lines += [f'- {key}: {value}' for key, value in self.about.items()] + ['']
        lines += [f'**{part} ended early: {error}**\n' for part, error in self.errors.items()]
        for part, rows in self.parts.items():
            lines += [f'## {part}', '', *_table(rows), '']
        self.path.with_suffix('.md').write_text('\n'.join(lines))


def _table(rows: list[dict]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ['| ' + ' | '.join(columns) + ' |', '|' + ' --- |' * len(columns)]
    cells = [[_cell(row.get(column, '')) for column in columns] for row in rows]
    return lines + ['| ' + ' | '.join(row) + ' |' for row in cells]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'{value:.3g}' if abs(value) < 1000 else f'{value:.0f}'
    if isinstance(value, list):
        return '; '.join(map(str, value))
    return str(value)
