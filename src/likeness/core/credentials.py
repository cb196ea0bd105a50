"""Content credentials: a signed C2PA manifest in pictures and videos, where c2pa-python is there.

Without a certificate of your own the key is thrown away with the process. Such a signature tells
what a file is, and that it has not been changed since, but not who made it. With
LIKENESS_C2PA_CERTIFICATE (a PEM chain) and LIKENESS_C2PA_KEY (its PEM key, ES256) it is yours.
"""

import datetime
import json
import os
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from likeness.core.errors import BadInput

KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
}
"""What has room for a manifest; WebM, meshes and pages have none."""
_LABEL = "org.likeness.note"
_YEARS = 2
_PLAIN = {"builder": {"thumbnail": {"enabled": False}}}  # one is often larger than the picture
_OWN = ("LIKENESS_C2PA_CERTIFICATE", "LIKENESS_C2PA_KEY")


def sign(path: Path, source: str, note: str = "") -> bool:
    """Put a manifest into a whole file, in place; False where there is no library or no room.

    `source` is IPTC's kind of source, `note` our line of JSON (or words).
    """
    library, kind = _library(), KINDS.get(path.suffix.lower())
    if library is None or kind is None:
        return False
    signed = path.with_name(f"{path.stem}-signed{path.suffix}")
    try:
        context = library.Context(library.Settings.from_dict(_PLAIN))
        with (
            library.Signer.from_info(_signer_info()) as signer,
            library.Builder(json.dumps(_manifest(source, note)), context) as builder,
            path.open("rb") as read,
            signed.open("w+b") as written,
        ):
            builder.sign(signer, kind, read, written)
        signed.replace(path)
    except library.C2paError as error:
        raise BadInput(
            f"{path.name} could not be signed ({error}). Check {_OWN[0]} and {_OWN[1]}, or unset "
            "them."
        ) from error
    finally:
        signed.unlink(missing_ok=True)
    return True


def read_manifest(path: Path) -> dict[str, Any] | None:
    """What the manifest in a file says: `source`, `note`, `generator`, `state` (Valid, Trusted or
    Invalid) and `wrong`, why it is invalid. None without a manifest, or without the library."""
    library, kind = _library(), KINDS.get(path.suffix.lower())
    if library is None or kind is None:
        return None
    try:
        with path.open("rb") as stream, library.Reader(kind, stream) as reader:
            told = json.loads(reader.json())
    except library.C2paError:
        return None
    manifest = told.get("manifests", {}).get(told.get("active_manifest"), {})
    found: dict[str, Any] = {"source": "", "note": "", "state": told.get("validation_state")}
    makers = manifest.get("claim_generator_info") or [{}]
    found["generator"] = f"{makers[0].get('name', '?')} {makers[0].get('version', '')}".strip()
    for assertion in manifest.get("assertions", []):
        data = assertion.get("data") or {}
        if assertion.get("label") == _LABEL:
            found["note"] = str(data.get("note", ""))
        for action in data.get("actions") or []:
            found["source"] = action.get("digitalSourceType") or found["source"]
    codes = [item.get("code", "") for item in told.get("validation_status") or []]
    found["wrong"] = [code for code in codes if code != "signingCredential.untrusted"]
    return found


def _library() -> Any:
    try:
        return import_module("c2pa")
    except (ImportError, OSError):  # OSError: its native part is not for this machine
        return None


def _manifest(source: str, note: str) -> dict[str, Any]:
    created = {"action": "c2pa.created", "digitalSourceType": source}
    return {
        "claim_generator_info": [{"name": "likeness", "version": version("likeness")}],
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": _LABEL, "data": {"note": note}},
        ],
    }


def _signer_info() -> Any:
    library = _library()
    given = [os.environ.get(name) for name in _OWN]
    if all(given):
        try:
            chain, key = (Path(str(name)).read_text(encoding="ascii") for name in given)
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{_OWN[0]} or {_OWN[1]} cannot be read ({error}).") from error
    elif any(given):
        raise BadInput(f"Only one of {_OWN[0]} and {_OWN[1]} is set; both are needed to sign.")
    else:
        chain, key = _throw_away()
    return library.C2paSignerInfo(library.C2paSigningAlg.ES256, chain.encode(), key.encode(), None)


@cache
def _throw_away() -> tuple[str, str]:
    """A chain of two certificates and the key, made for this process alone."""
    x509 = import_module("cryptography.x509")
    ec = import_module("cryptography.hazmat.primitives.asymmetric.ec")
    pem = import_module("cryptography.hazmat.primitives.serialization")
    usages = import_module("cryptography.x509.oid").ExtendedKeyUsageOID
    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    top = _certificate("likeness throw-away root", root, root, None, x509.BasicConstraints(True, 0))
    usage = x509.ExtendedKeyUsage([usages.EMAIL_PROTECTION])
    below = _certificate("likeness throw-away", leaf, root, top, usage)
    chain = b"".join(c.public_bytes(pem.Encoding.PEM) for c in (below, top))
    key = leaf.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    return chain.decode(), key.decode()


def _certificate(name: str, key: Any, signing: Any, issuer: Any, purpose: Any) -> Any:
    x509 = import_module("cryptography.x509")
    hashes = import_module("cryptography.hazmat.primitives.hashes")
    oid = x509.oid.NameOID
    subject = x509.Name(
        [
            x509.NameAttribute(oid.COMMON_NAME, name),
            x509.NameAttribute(oid.ORGANIZATION_NAME, "likeness"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    root = issuer is None
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if root else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(purpose, critical=root)
        .add_extension(
            x509.KeyUsage(not root, False, False, False, False, root, root, False, False), True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False
        )
        .sign(signing, hashes.SHA256())
    )
