"""Sealing of API keys and hashing of tokens."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from config.ids import new_token
from config.secret import Secret
from sql.errors import SealBroken
from sql.sealing import Sealer, hash_token, new_key, token_hint

KEY = Secret(base64.b64encode(bytes(range(32))).decode())
values = st.text(st.characters(codec="utf-8"))


@given(values.filter(lambda value: not value.startswith("enc:v1:")))
def test_what_is_sealed_opens_again(value: str) -> None:
    sealer = Sealer(KEY)

    sealed = sealer.seal(value)

    assert sealer.unseal(sealed) == Secret(value)
    assert not value or (sealed.startswith("enc:v1:") and sealed != sealer.seal(value))


def test_it_opens_what_the_go_program_has_sealed() -> None:
    nonce = b"123456789012"
    stored = "enc:v1:" + base64.b64encode(nonce + AESGCM(bytes(range(32))).encrypt(nonce, b"sk-go", None)).decode()

    assert Sealer(KEY).unseal(stored).reveal() == "sk-go"


def test_values_from_before_there_was_a_key_are_read_in_clear() -> None:
    assert Sealer(KEY).unseal("sk-plain").reveal() == "sk-plain"
    assert Sealer(None).seal("sk-plain") == "sk-plain"
    assert not Sealer(None).is_sealing


@pytest.mark.parametrize("sealer", [Sealer(Secret(new_key())), Sealer(None)])
def test_a_wrong_or_missing_key_is_told(sealer: Sealer) -> None:
    sealed = Sealer(KEY).seal("sk-canary")

    with pytest.raises(SealBroken, match="ENCRYPTION_KEY") as caught:
        sealer.unseal(sealed)

    assert "canary" not in str(caught.value)


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_never_opens(at: int, flip: int) -> None:
    sealed = Sealer(KEY).seal("sk-a-key")
    raw = bytearray(base64.b64decode(sealed.removeprefix("enc:v1:")))
    raw[at % len(raw)] ^= flip

    with pytest.raises(SealBroken):
        Sealer(KEY).unseal("enc:v1:" + base64.b64encode(raw).decode())


@pytest.mark.parametrize("broken", ["enc:v1:", "enc:v1:!!", "enc:v1:AAAA", "enc:v1:é"])
def test_a_damaged_value_is_told(broken: str) -> None:
    with pytest.raises(SealBroken):
        Sealer(KEY).unseal(broken)


@pytest.mark.parametrize("key", ["short", "é" * 32, base64.b64encode(b"x" * 31).decode(), "x" * 44])
def test_a_key_that_is_no_key_stops_the_start_with_a_line(key: str) -> None:
    with pytest.raises(ConfigError, match="ENCRYPTION_KEY: must be base64 of 32 bytes") as caught:
        Sealer(Secret(key))

    assert key not in str(caught.value)


def test_a_hint_never_gives_a_token_away() -> None:
    token = new_token()

    hint = token_hint(token)

    assert hint == f"{token[:7]}…{token[-4:]}"
    assert token_hint("sk-short") == "sk-…"


def test_the_hash_is_lower_hex_sha256() -> None:
    assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(hash_token("sk-\udcff")) == 64  # a header's stray byte is no reason to fail
