"""The config's key ``survival``: what a run does so as to survive."""

import re
from dataclasses import dataclass, fields

from mmattn.utils.errors import InvalidArgument, InvalidValue, did_you_mean

SECONDS = {'s': 1, 'min': 60, 'h': 3600}


@dataclass(frozen=True)
class Survival:
    """Options of a run's survival, checked.

    Args:
        save_every: Checkpoints besides the config's own, in the middle of an epoch too: a time
            as '30s', '10min' or '2h', or iterations as '500it'; None for none.
        on_non_finite: What follows a non-finite loss or gradient: 'stop', or 'rollback' to the
            last checkpoint, from where the batches that led there are skipped.
        max_rollbacks: How often a run goes back at most.
        bad_data: What follows a sample that cannot be read: 'stop', or 'skip', which puts
            another in its place and counts it.
        max_bad_data: Share of the samples from which on even 'skip' stops.
        trust_checkpoint: Read checkpoints that hold more than tensors and plain data, which
            may run code.

    Raises:
        InvalidValue: If a value is none of these.
    """

    save_every: str | None = None
    on_non_finite: str = 'stop'
    max_rollbacks: int = 3
    bad_data: str = 'stop'
    max_bad_data: float = 0.01
    trust_checkpoint: bool = False

    def __post_init__(self) -> None:
        every = "a time as '30s', '10min', '2h', or iterations as '500it'"
        self._check('save_every', self.save_every is None or bool(self.interval), every)
        valid = {'on_non_finite': ('stop', 'rollback'), 'bad_data': ('stop', 'skip')}
        for name, words in valid.items():
            self._check(name, getattr(self, name) in words, ' or '.join(map(repr, words)))
        count, share = self.max_rollbacks, self.max_bad_data
        self._check('max_rollbacks', _is(count, int) and count >= 0, 'a whole number from 0 on')
        self._check('max_bad_data', _is(share, (int, float)) and 0 <= share <= 1, 'from 0 to 1')
        self._check('trust_checkpoint', isinstance(self.trust_checkpoint, bool), 'True or False')

    @classmethod
    def from_cfg(cls, cfg: dict | None) -> 'Survival':
        """The options of a config, all defaults if it has none.

        Raises:
            InvalidArgument: If a name is unknown.
        """
        options = (cfg or {}).get('survival') or {}
        if not isinstance(options, dict):
            raise InvalidValue(f'survival={options!r}: a dict of options')
        names = [field.name for field in fields(cls)]
        for name in options:
            if name not in names:
                hint = did_you_mean(name, names) or f' The options are {", ".join(names)}.'
                raise InvalidArgument(f'survival has no option {name!r}.{hint}')
        return cls(**options)

    @property
    def interval(self) -> tuple[float, str] | None:
        """``save_every`` as a number and 's' or 'it'; None if there is none."""
        match = re.fullmatch(r'(\d+(?:\.\d+)?) ?(s|min|h|it)', str(self.save_every))
        if match is None or float(match[1]) == 0 or (match[2] == 'it' and '.' in match[1]):
            return None
        number, unit = match.groups()
        if unit == 'it':
            return int(number), 'it'
        return float(number) * SECONDS[unit], 's'

    def _check(self, name: str, valid: bool, what: str) -> None:
        if not valid:
            raise InvalidValue(f'survival: {name}={getattr(self, name)!r} must be {what}')


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
