"""What is written holds no credentials."""

import pytest

from vgbdm.storage import masking
from vgbdm.storage.masking import mask, mask_text, remember


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("s3://me:secret@host/a", "s3://***@host/a"),
        ("at https://u:p@h/x?a=1&token=abc&b=2 now", "at https://***@h/x?a=1&token=***&b=2 now"),
        ("/here/s3:/me:secret@host/a", "/here/s3:/***@host/a"),
        ("https://h/x?X-Amz-Signature=abc", "https://h/x?X-Amz-Signature=***"),
        ("/data/me@home/store", "/data/me@home/store"),
        ("gs://bucket/a@b", "gs://bucket/a@b"),
        ("use +source.storage_options.pwd=abc", "use +source.storage_options.pwd=***"),
        ("{'storage_options': {'a': 'b'}, 'c': 1}", "{'storage_options': ***, 'c': 1}"),
        ("storage_options={a:b,c:d} root=x", "storage_options=*** root=x"),
    ],
)  # fmt: skip
def test_urls_and_what_is_said_of_options(text, want):
    assert mask_text(text) == want


NAMES = ["auth", "pwd", "bearer", "connection_string", "secret", "api_key", "account_key", "SAS"]


def test_named_secrets_are_masked_and_the_rest_is_as_it_was():
    given = {
        "urls": ["s3://me:x@h/s", 3, None], "keys": "names", "hockey": 1, "token": None, "seed": 1,
        "author": "me", "pwds": "x", **dict.fromkeys(NAMES, "abc"),
    }  # fmt: skip
    held = dict(given)
    assert mask(given) == held | {"urls": ["s3://***@h/s", 3, None], **dict.fromkeys(NAMES, "***")}
    assert given == held


def test_all_values_under_storage_options_are_masked_and_none_of_their_names():
    options = {"token": "anon", "whatever": {"deep": [1, {"x": None}]}, "flag": True, "none": {}}
    assert mask({"source": {"storage_options": options, "root": "x"}}) == {
        "source": {
            "storage_options": {
                "token": "***", "whatever": {"deep": ["***", {"x": "***"}]}, "flag": "***",
                "none": {},
            },
            "root": "x",
        }
    }  # fmt: skip


def test_what_a_config_holds_is_masked_in_every_text_after(monkeypatch):
    monkeypatch.setattr(masking, "_known", set())
    remember({"source": {"storage_options": {"odd": "hunter22", "port": 443, "token": "anon"}}})
    text = "ValueError: 'hunter22' was refused at port 443, anon"
    assert mask_text(text) == "ValueError: '***' was refused at port 443, anon"
