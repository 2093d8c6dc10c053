"""The formulas of the docstrings, written so that a terminal can show them, in LaTeX.

A docstring has `y = x * sigmoid(W2 relu(W1 mean_hw(x)))`. What is neither a name of FUNCTIONS nor
GREEK, nor a letter or two, is words.
"""

import re

FUNCTIONS = frozenset(
    (
        'adaptive',
        'BN',
        'CSE',
        'D',
        'F',
        'G',
        'GN',
        'LKA',
        'LN',
        'LSK',
        'LSKA',
        'M',
        'P',
        'PAM',
        'CAM',
        'PCSA',
        'SMSA',
        'SSE',
        'conv',
        'conv1d',
        'dw',
        'dwconv',
        'gap',
        'gelu',
        'gridmean',
        'hswish',
        'max',
        'mean',
        'relu',
        'relu6',
        'sigmoid',
        'silu',
        'softmax',
        'sqrt',
        'std',
        'sum',
        'tanh',
        'up',
        'upsample',
        'shuffle',
        'var',
        'windowmean',
        'HW',
        'DCT',
    )
)
GREEK = frozenset(('alpha', 'beta', 'eps', 'gamma', 'lambda', 'phi', 'theta'))
# Small words that are no factors.
WORDS = frozenset(('as', 'at', 'by', 'in', 'is', 'it', 'no', 'of', 'on', 'or'))
SYMBOLS = {'<': r'\langle', '>': r'\rangle', '...': r'\ldots', '.': r'\cdot'}
# Behind a longer left side the sign of equality is one among words.
LONGEST_LEFT_SIDE = 22
TOKEN = re.compile(
    r"""(?P<sum>sum\ over\ (?P<index>\w)(?:\ in\ (?P<range>[\w,\ ]+?))?\ of\b)
    |(?P<quoted>\w+='\w+'|\w+'s\b|\w+-th\b|(?:sum|softmax|mean)(?=\ (?:over|of|around)\b))
    |(?P<size>(?<![\w_])(?:\d+|[kKg])x(?:\d+|[kKg])(?![\w_]))
    |(?P<name>[A-Za-z][A-Za-z]*\d*[A-Za-z]?)(?P<primes>'*)
        (?:_(?P<sub>\w+(?:,\d+)*))?(?P<after>'*)(?:\^(?P<power>\w))?
    |(?P<power_of>\)\^\w)
    |(?P<dots>\.\.\.)
    |(?P<number>\d+(?:e-\d+|\.\d+)?)
    |(?P<other>.)""",
    re.X,
)


def to_latex(formula: str) -> str:
    """The lines of a formula, aligned at their first sign of equality."""
    lines = [_line(line) for line in formula.splitlines()]
    return '\\begin{aligned}\n' + ' \\\\\n'.join(lines) + '\n\\end{aligned}'


def _line(line: str) -> str:
    pieces = [(_kind(match), match) for match in TOKEN.finditer(line)]
    out, text, aligned, brackets = [], '', False, []
    for place, (kind, match) in enumerate(pieces):
        # An article; what stands between words belongs to them.
        article = match[0] == 'a' and _next(pieces, place) == 'word'
        between = kind in ('space', 'comma') and text and _next(pieces, place) == 'word'
        if kind == 'word' or article or between:
            text += match[0]
            continue
        if text:
            out.append(_text(text))
            text = ''
        if kind == 'comma' and _next(pieces, place) == 'word':
            text = match[0]
        elif match[0] == '=' and not aligned and match.start() < LONGEST_LEFT_SIDE:
            out.append('&=')
            aligned = True
        elif kind == 'space':
            out.append(r'\ ' if _words_around(pieces, place) else _gap(pieces, place))
        elif match[0] in '()':
            out.append(_bracket(match[0], out, brackets))
        else:
            out.append(_math(kind, match, out))
    out.append(_text(text) if text else '')
    return ('' if aligned else '&') + ' '.join(filter(None, out))


def _bracket(one: str, before: list[str], opened: list[bool]) -> str:
    """A bracket; those of a root are its extent."""
    if one == '(':
        opened.append(before[-1:] == [r'\sqrt'])
        return '{' if opened[-1] else '('
    return '}' if opened and opened.pop() else ')'


def _kind(match: re.Match) -> str:
    if match['name'] is not None:
        bare = match['name'].rstrip('0123456789')
        known = match['name'] in FUNCTIONS | GREEK or bare in FUNCTIONS and match['sub']
        short = len(bare) < 3 and bare not in WORDS
        return 'name' if known or short else 'word'
    if match['quoted']:
        return 'word'
    if match[0] == ' ':
        return 'space'
    if match[0] in ',;:':
        return 'comma'
    return next(key for key in ('sum', 'size', 'power_of', 'dots', 'number', 'other') if match[key])


def _next(pieces: list, place: int) -> str:
    return next((kind for kind, _ in pieces[place + 1 :] if kind != 'space'), '')


def _words_around(pieces: list, place: int) -> bool:
    near = pieces[max(place - 1, 0)][0], _next(pieces, place)
    return 'word' in near or 'comma' in near


def _gap(pieces: list, place: int) -> str:
    """A thin space between two factors; operators bring their own."""
    before, after = pieces[place - 1][1][0], pieces[place + 1][1][0] if pieces[place + 1 :] else ''
    return r'\,' if re.search(r"[\w')\]|]$", before) and re.match(r'[\w\[(|]', after) else ''


def _math(kind: str, match: re.Match, before: list[str]) -> str:
    if kind == 'sum':
        within = match['range']
        names = within and ', '.join(_word(one.strip()) for one in within.split(','))
        return r'\sum_{' + match['index'] + (rf' \in {names}' if within else '') + '}'
    if kind == 'size':
        return r'{' + match[0].replace('x', r' \times ') + '}'
    if kind == 'power_of':
        return f'){_power(match[0][2:])}'
    if kind == 'name':
        return _name(match)
    if match[0] == '*':
        factor = next(filter(str.strip, reversed(before)), '')
        return r'\cdot' if re.search(r'(gamma|alpha|beta|K|\d)\}?$', factor) else r'\odot'
    if small := re.fullmatch(r'(\d+)e-(\d+)', match[0]):
        return (small[1] + r' \cdot ' if small[1] != '1' else '') + f'10^{{-{small[2]}}}'
    return SYMBOLS.get(match[0], match[0])


def _name(match: re.Match) -> str:
    name, sub = match['name'], match['sub']
    bare = name.rstrip('0123456789')
    if name == 'sqrt':
        return r'\sqrt'
    if name == 'sigmoid':
        head = r'\sigma'
    elif name == 'sum':
        head = r'\sum'
    elif name == 'eps':
        head = r'\varepsilon'
    elif name in GREEK:
        head = f'\\{name}'
    elif name in FUNCTIONS and len(name) > 1:
        head = rf'\mathrm{{{name}}}'
    elif bare != name:  # W1
        head, sub = _letters(bare), name[len(bare) :] + (f', {sub}' if sub else '')
    else:
        head = _letters(name)
    primes = (match['primes'] or '') + (match['after'] or '')
    below = '' if sub is None else f'_{{{_sub(sub)}}}'
    return f'{head}{below}' + primes + (_power(match['power']) if match['power'] else '')


def _letters(name: str) -> str:
    return name if len(name) == 1 else rf'\mathrm{{{name}}}'


def _power(power: str) -> str:
    return r'^{\top}' if power == 'T' else f'^{{{power}}}'


def _sub(sub: str) -> str:
    if re.fullmatch(r'[\dA-Za-z]x[\dA-Za-z]', sub):
        return sub.replace('x', r' \times ')
    parts = sub.split('_')
    return r',\,'.join(_word(part) for part in parts)


def _word(word: str) -> str:
    if word in GREEK:
        return f'\\{word}'
    numeral = re.fullmatch(r'[\d,]+|[a-zA-Z]{1,2}', word)
    return word if numeral else _text(word)


def _text(text: str) -> str:
    return rf'\text{{{text}}}'
