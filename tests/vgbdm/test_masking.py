"""What is written holds no credentials."""

import pytest

from vgbdm.masking import mask, mask_text


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("s3://me:secret@host/a", "s3://***@host/a"),
        ("at https://u:p@h/x?a=1&token=abc&b=2 now", "at https://***@h/x?a=1&token=***&b=2 now"),
        ("/here/s3:/me:secret@host/a", "/here/s3:/***@host/a"),
        ("https://h/x?X-Amz-Signature=abc", "https://h/x?X-Amz-Signature=***"),
        ("/data/me@home/store", "/data/me@home/store"),
        ("gs://bucket/a@b", "gs://bucket/a@b"),
    ],
)  # fmt: skip
def test_urls(text, want):
    assert mask_text(text) == want


def test_named_secrets_are_masked_and_the_rest_is_as_it_was():
    given = {
        "storage_options": {"token": "anon", "secret": "abc", "client_kwargs": {"api_key": "k"}},
        "urls": ["s3://me:x@h/s", 3, None],
        "keys": "names", "hockey": 1, "token": None, "seed": 1,
    }  # fmt: skip
    held = dict(given)
    masked = mask(given)
    assert masked == {
        "storage_options": {"token": "anon", "secret": "***", "client_kwargs": {"api_key": "***"}},
        "urls": ["s3://***@h/s", 3, None],
        "keys": "names", "hockey": 1, "token": None, "seed": 1,
    }  # fmt: skip
    assert given == held
