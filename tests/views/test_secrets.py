from __future__ import annotations

import time

import pytest

from sentra_sandbox.views.secrets import mask_header, mask_url


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", "Bearer abc", "Bearer ***"),
        ("authorization", "abc", "***"),
        ("AUTHORIZATION", "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=y", "***"),
        ("Proxy-Authorization", "Basic dTpw", "Basic ***"),
        ("x-api-key", "k", "***"),
        ("Api-Key", "k", "***"),
        ("x-goog-api-key", "k", "***"),
        ("Cookie", "a=1; b=2", "a=***; b=***"),
        ("Cookie", "bare", "***"),
        ("Set-Cookie", "id=1; Path=/; HttpOnly", "id=***; Path=/; HttpOnly"),
        ("X-Amz-Security-Token", "k", "***"),
        ("X-CSRF-Token", "k", "***"),
        ("My-Secret", "k", "***"),
        ("X-Session", "k", "***"),
        ("x-ratelimit-remaining-tokens", "1000", "1000"),
        ("anthropic-ratelimit-tokens-limit", "1000", "1000"),
        ("Content-Type", "application/json", "application/json"),
        ("Accept", "*/*", "*/*"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("ETag", '"33a64df551425fcc55e4d42a148795d9f25f89d4"', '"33a64df551425fcc55e4d42a148795d9f25f89d4"'),
        ("Location", "https://a.test/cb?code=1&x=2", "https://a.test/cb?code=***&x=2"),
        ("Referer", "https://user:pw@a.test/", "https://***@a.test/"),
        ("X-Forwarded", "sk-abcdefghijkl and more", "*** and more"),
    ],
)
def test_headers(name: str, value: str, shown: str) -> None:
    assert mask_header(name, value) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/v1?key=AIzaSyD-1234567890abcdefghijklmn", "/v1?key=***"),
        ("/v1?q=weather&access_token=x&api_key=y&sig=z", "/v1?q=weather&access_token=***&api_key=***&sig=***"),
        ("/v1?X-Amz-Signature=abc&X-Amz-Date=20260101T000000Z", "/v1?X-Amz-Signature=***&X-Amz-Date=20260101T000000Z"),
        ("/v1?h=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "/v1?h=***"),
        ("/v1?page=12345678901234567890123456", "/v1?page=12345678901234567890123456"),
        ("/v1?text=a-long-sentence-without-digits", "/v1?text=a-long-sentence-without-digits"),
        ("/v1?max_tokens=100&empty=&token=", "/v1?max_tokens=100&empty=&token="),
        ("/bot/sk-proj-abcdefgh12345/x", "/bot/***/x"),
        ("http://me:secret@host/p?x=1#access_token=abc", "http://***@host/p?x=1#access_token=***"),
        ("/plain/path", "/plain/path"),
        ("", ""),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize("text", ["a://" * 20_000, "?" * 50_000, "=" * 50_000, "sk-" * 20_000, "eyJ" + "a." * 30_000, "a" * 200_000, "w://" + "x" * 100_000, "?a" * 30_000])
def test_long_ones_take_no_time(text: str) -> None:
    start = time.monotonic()
    mask_url(text)
    mask_header("x", text)
    assert time.monotonic() - start < 1
