"""Measuring models: parameters, multiply-adds, images a second, memory."""


def __getattr__(name: str) -> object:
    """Imported when asked for: throughput needs nothing but torch."""
    if name in ('Complexity', 'measure'):
        from mmattn.analysis import complexity

        return getattr(complexity, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
