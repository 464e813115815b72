"""Receipts: what was done for a request, signed, so that the shop can prove it without keeping any id.

A receipt is a JSON document with three parts. `receipt` says what was done, and names no id and no pseudonym.
`signature` is the Ed25519 signature of `receipt` as canonical JSON. `salt` stands in the receipt's file
alone: with it the shop can show that a given user id is one of the request. The table `subject_requests`
keeps receipt and signature without the salt, so that nobody can try ids against it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.rights.inbox import write_private
from lastaisle.settings.private import lies_in_lake, make_private

VERSION: Final = 1
SALT_BYTES: Final = 32


class ReceiptKeyError(LastaisleError):
    """The key that signs receipts cannot be used. The message never contains the key."""

    exit_code = ExitCode.KEY_UNUSABLE


class ReceiptError(LastaisleError):
    """A receipt that is no receipt, or that was changed after it was signed."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class ReceiptKey:
    """The key that signs receipts; made on first use, with the mode 0600.

    Attributes:
        private: the key.
    """

    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def load_or_create(cls, key_file: str | Path, *, lake_url: str = "") -> ReceiptKey:
        """Read the key; make the file if there is none.

        Raises:
            ReceiptKeyError: the file cannot be used, others may read it, or it lies inside the lake.
        """
        path = Path(key_file).expanduser().resolve()
        if lies_in_lake(path, lake_url):
            raise ReceiptKeyError(
                f"the key of receipts {path} lies inside the lake {lake_url}: set LASTAISLE_RECEIPT_KEY to a "
                "file elsewhere"
            )
        try:
            if not path.exists():
                make_private(path.parent)
                pem = Ed25519PrivateKey.generate().private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                write_private(path, pem.decode("ascii"))
            return cls._read(path)
        except OSError as error:
            raise ReceiptKeyError(f"the key of receipts {path} cannot be used: {error.strerror}") from error

    @classmethod
    def _read(cls, path: Path) -> ReceiptKey:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise ReceiptKeyError(f"others may read the key of receipts {path} (mode {mode:o}): chmod 600 it")
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ReceiptKeyError(
                f"the key of receipts {path} is no Ed25519 key in PEM: restore it from its backup"
            )
        return cls(key)

    @property
    def public(self) -> str:
        """The public key as PEM; give it to those who verify receipts elsewhere."""
        encoded = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return encoded.decode("ascii")

    def sign(self, facts: Mapping[str, Any], user_ids: Sequence[str]) -> dict[str, Any]:
        """Return a signed receipt, with its salt.

        Args:
            facts: what was done, as JSON takes it, without any id.
            user_ids: the shoppers; the receipt holds salted digests of them in an order of their own.
        """
        salt = secrets.token_bytes(SALT_BYTES)
        digests = sorted(subject_digest(salt, user_id) for user_id in user_ids)
        receipt = {"version": VERSION, **facts, "subjects": digests}
        signature = base64.b64encode(self.private.sign(_canonical(receipt))).decode("ascii")
        return {"receipt": receipt, "signature": signature, "salt": salt.hex()}


def subject_digest(salt: bytes, user_id: str) -> str:
    """Return the digest of a shopper in a receipt: HMAC-SHA256 of the id, with the receipt's salt as key."""
    return hmac.digest(salt, user_id.encode(), "sha256").hex()


def without_salt(signed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a signed receipt as the table keeps it."""
    return {name: signed[name] for name in ("receipt", "signature")}


def read_receipt(text: str) -> dict[str, Any]:
    """Read the file of a receipt.

    Raises:
        ReceiptError: the text is no receipt.
    """
    try:
        signed = json.loads(text)
        if isinstance(signed["receipt"], dict) and isinstance(signed["signature"], str):
            return dict(signed)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ReceiptError("this is no receipt: a receipt is a JSON object with the parts receipt and signature")


def verify(signed: Mapping[str, Any], public_key: str) -> None:
    """Refuse a receipt that was changed after it was signed.

    Args:
        signed: from `read_receipt`.
        public_key: PEM.

    Raises:
        ReceiptError: the signature is not that of the receipt under this key.
        ReceiptKeyError: the key is no public key.
    """
    try:
        key = serialization.load_pem_public_key(public_key.encode())
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ReceiptKeyError(
            "this is no Ed25519 public key in PEM: `lastaisle subjects verify --public-key`"
        )
    try:
        key.verify(base64.b64decode(signed["signature"], validate=True), _canonical(signed["receipt"]))
    except (InvalidSignature, binascii.Error, ValueError):
        raise ReceiptError(
            "the signature is not that of this receipt: it was changed after it was signed, or another key "
            "signed it"
        ) from None


def names_all(signed: Mapping[str, Any], user_ids: Sequence[str]) -> bool:
    """Tell whether a receipt is about each of some user ids.

    Raises:
        ReceiptError: the receipt has no salt.
    """
    try:
        salt = bytes.fromhex(signed["salt"])
    except (KeyError, TypeError, ValueError):
        raise ReceiptError(
            "this receipt has no salt, so it names nobody: use the file that was handed out with the request"
        ) from None
    known = set(signed["receipt"].get("subjects", ()))
    return all(subject_digest(salt, user_id) in known for user_id in user_ids)


def _canonical(receipt: Mapping[str, Any]) -> bytes:
    """Return a receipt as the bytes that are signed: sorted names, no blanks, UTF-8."""
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
