"""Names that stay inside, and JSON that ends."""

import errno
import os

import pytest
from refusals import refused

from vgbdm.storage.confine import open_regular, parse_json, read_bytes, resolve
from vgbdm.storage.files import read_json


@pytest.fixture
def root(tmp_path):
    (tmp_path / "up").write_text("outside")
    folder = tmp_path / "store"
    (folder / "a").mkdir(parents=True)
    (folder / "a/file").write_text("inside")
    (folder / "link").symlink_to(tmp_path / "up")
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return folder


def test_plain_names_are_taken_whether_they_are_there_or_not(root):
    assert resolve(root, "a/file").read_text() == "inside"
    assert resolve(root, "a/new/file", tops=["a"]) == root / "a/new/file"


def test_the_folder_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "short").symlink_to(root)
    assert resolve(tmp_path / "short", "a/file").read_text() == "inside"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../up", "no file inside"),
        ("a/../../up", "no file inside"),
        ("/etc/passwd", "no file inside"),
        ("a//file", "no file inside"),
        ("./a", "no file inside"),
        ("a/file/", "no file inside"),
        ("", "no file inside"),
        ("a\\file", "no file inside"),
        ("a\0", "no file inside"),
        (7, "no file inside"),
        (["a"], "no file inside"),
        ("link", "is a link"),
        ("folder/up", "is a link"),
        ("pipe", "is no regular file"),
        ("a", "is no regular file"),
        ("a/file/x", "is no folder"),
        ("x" * 300, "no file"),
    ],
)
def test_every_other_name_is_refused(root, name, words):
    refused(lambda: resolve(root, name, remedy="fetch it"), str(root), words, "fetch it")


def test_a_top_folder_that_is_not_known_is_refused(root):
    refused(lambda: resolve(root, "a/file", tops=["b"]), "none of its files")


def test_a_pipe_is_refused_and_does_not_wait(root):
    refused(lambda: read_json(root / "pipe"), "pipe", "no regular file")


def test_a_file_that_is_too_long_is_not_read(root):
    refused(lambda: read_bytes(root / "a/file", limit=3), "has 6 bytes")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ' + "9" * 6000 + "}", "an integer of 6000 digits"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", "nested"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "nested more than 64 deep"),
        ("[1]", "holds no JSON object"),
        ('{"a"', "not readable as JSON"),
        ("\xff", "not readable as JSON"),
    ],
)
def test_json_without_bounds_is_refused(text, words):
    refused(
        lambda: parse_json(text.encode("latin-1"), "m.json", "get it"), "m.json", words, "get it"
    )


def test_whole_numbers_of_64_bits_are_taken():
    assert parse_json(b'{"a": -9223372036854775808}', "m") == {"a": -(2**63)}


def test_a_file_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    def closed(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", closed)
    words = f"{tmp_path}/a: cannot be opened (Permission denied); mend it"
    refused(lambda: open_regular(tmp_path / "a", "mend it"), words)
