"""Where names in files may lead."""

import pytest

from mmattn.utils.errors import UserError
from mmattn.utils.paths import LeadsOut, inside, leads_elsewhere, require_inside

OUT = ['../x.jpg', 'a/../../x.jpg', '/etc/passwd', '..', '..\\x.jpg', 'a\\..\\..\\x.jpg']
OUT += ['http://example.org/x.jpg', 's3://bucket/x.jpg', 'file:///etc/passwd', 'a\0.jpg']
OUT += ['\ud800.jpg', 7, None, ['a'], b'a', '/dev/zero', '/proc/self/environ']


@pytest.mark.parametrize('name', OUT)
def test_names_that_lead_out(tmp_path, name):
    folder = tmp_path / 'data'
    with pytest.raises(LeadsOut, match='leads out of .*data; nothing was read') as error:
        inside(folder, name)
    assert isinstance(error.value, UserError) and str(error.value).isprintable()
    assert leads_elsewhere(name)


@pytest.mark.parametrize(
    'name',
    ['x.jpg', 'a/b c/x.jpg', 'a\u3000ä.jpg', '..x.jpg', 'x..jpg', 'a.b/...', 'a\\b.jpg', 'C:x'],
)
def test_names_that_stay(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name
    assert not leads_elsewhere(name)


def test_odd_names_that_stay_after_all(tmp_path):
    (tmp_path / 'data').mkdir()
    for name in ('a/../x.jpg', str(tmp_path / 'data' / 'x.jpg')):
        assert leads_elsewhere(name)
        assert inside(tmp_path / 'data', name)
    # A neighbour whose name begins alike.
    with pytest.raises(LeadsOut):
        inside(tmp_path / 'data', '../data2/x.jpg')


def test_links_are_their_owner_s(tmp_path):
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far' / 'x.jpg').write_text('')
    (tmp_path / 'data').symlink_to(tmp_path / 'far')
    assert inside(tmp_path / 'data', 'x.jpg').is_file()


def test_several_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_inside('data/img/../ann/x.png', ['data/img', 'data'])
    require_inside('data/x.png', [str(tmp_path)])
    require_inside('/anything', ['data', '/'])
    require_inside('s3://bucket/data/x.png', ['s3://bucket/data/'])
    for path in ('s3://bucket/data/../x.png', 's3://other/x.png', 'elsewhere/x.png', 'x.png'):
        with pytest.raises(LeadsOut, match='data/img or s3'):
            require_inside(path, ['data/img', 's3://bucket/data/'])
