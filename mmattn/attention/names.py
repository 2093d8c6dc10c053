"""From the ``type`` of an ``attention`` config to its class."""

from difflib import SequenceMatcher

from mmattn.attention.base import Attention
from mmattn.registry import MODELS
from mmattn.utils.errors import UnknownName


def attention_names() -> list[str]:
    """Names of all attentions, ours and those that users have registered, sorted."""
    own = {name for name, cls in MODELS.imported.items() if _is_attention(cls)}
    return sorted(own.union(MODELS.names_in('mmattn.attention')))


def find_attention(kind: str | type) -> type[Attention]:
    """The attention class of a ``type``: 'SCSA', 'mmattn.SCSA' or the class.

    It is looked up in mmattn's own registry whatever the default scope.

    Raises:
        KeyError: If there is none of this name, or it is something else; the valid
            ones are named.
    """
    cls, names = kind, attention_names()
    if isinstance(kind, str):
        # A name with dots can be the full path of a class of the user's own.
        cls = MODELS.get(kind) if '.' in kind or kind in names else None
        if cls is None:
            near = nearest_name(kind, names)
            hint = f' (did you mean {near}?)' if near else ''
            raise UnknownName(
                f'unknown attention {kind!r}{hint}; valid: {", ".join(names)}. One of your own is '
                f'known once its file is imported: custom_imports = dict(imports=[...])'
            )
    if not _is_attention(cls):
        raise UnknownName(
            f'{kind!r} is not an attention, which inherits from mmattn.attention.Attention and '
            f'implements attend(x); valid: {", ".join(names)}'
        )
    return cls


def nearest_name(name: str, names: list[str], cutoff: float = 0.45) -> str | None:
    """The name that ``name`` was probably meant to be; None if none is close."""

    def closeness(other: str) -> float:
        pairs = ((name, other), (name.upper(), other.upper()))
        # The same letters in another order, too: SCAS is SCSA rather than SCSE.
        pairs += ((sorted(name.upper()), sorted(other.upper())),)
        return sum(SequenceMatcher(None, *pair).ratio() for pair in pairs) / len(pairs)

    best = max(names, key=closeness)
    return best if closeness(best) >= cutoff else None


def _is_attention(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, Attention)
