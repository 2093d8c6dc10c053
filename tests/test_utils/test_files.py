"""Files that are there whole or not at all."""

import os
from pathlib import Path

import pytest

from mmattn.utils.errors import UserError
from mmattn.utils.files import append_line, holds, remove_parts, whole, write_whole


def test_a_file_has_its_name_and_ending_while_it_is_written(tmp_path):
    path = tmp_path / 'new' / 'a.png'
    with whole(path) as part:
        part.write_bytes(b'1')
        assert part.name == 'a.png' and part.stat().st_dev == path.parent.stat().st_dev
        assert not path.exists()
    assert path.read_bytes() == b'1' and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('error', [OSError('full'), ValueError(), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there(tmp_path, error):
    path = tmp_path / 'a'
    path.write_bytes(b'old')
    with pytest.raises(type(error)), whole(path) as part:
        part.write_bytes(b'new')
        raise error
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


def test_file_and_folder_are_flushed_before_and_after_the_name_is_given(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, 'fsync', lambda n: (done.append(Path(f'/proc/self/fd/{n}').resolve().name), fsync(n))
    )
    monkeypatch.setattr(os, 'replace', lambda a, b: (done.append('replace'), replace(a, b)))
    write_whole(tmp_path / 'a', 'x')
    assert done == ['a', 'replace', tmp_path.name]


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match='file/a cannot be written: '):
        write_whole(tmp_path / 'file' / 'a', 'x')


def test_a_line_is_appended_whole(tmp_path):
    path = tmp_path / 'log'
    append_line(path, 'ä')
    append_line(path, 'b')
    assert path.read_text(encoding='utf-8') == 'ä\nb\n'
    with pytest.raises(OSError, match='No space left'):
        append_line('/dev/full', 'x')


@pytest.mark.parametrize('there', [b'', b'12345', b'1234x6', b'1234567'])
def test_what_a_file_holds_is_compared_to_the_end(tmp_path, there):
    path = tmp_path / 'a'
    path.write_bytes(there)
    assert not holds(path, b'123456', chunk=4)
    path.write_bytes(b'123456')
    assert holds(path, b'123456', chunk=4)


def test_only_what_was_left_half_written_is_removed(tmp_path):
    for name in ('.a.xyz.part', 'b.part', '.hidden'):
        (tmp_path / name).mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / '.link.part').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / '.old.part').write_text('x')
    assert {path.name for path in remove_parts(tmp_path)} == {'.a.xyz.part', '.old.part'}
    assert {path.name for path in tmp_path.iterdir()} == {
        'b.part',
        '.hidden',
        'elsewhere',
        '.link.part',
    }
