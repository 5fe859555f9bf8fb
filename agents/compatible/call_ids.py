"""Tool-call ids that carry a vendor's signature, so that an unchanged client returns it with the call.

Gemini signs its tool calls and refuses a later turn without the signature. No field of the compatible APIs holds one, but
every client sends the id of a call back as it came.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

# Only letters that every vendor accepts in an id follow it.
_MARK = "__sig_"
# A longer signature is left out; the next turn then goes without it.
_LONGEST_SIGNATURE = 24_000
_CHECKSUM = 6
# Characters of the longest id that clients may send.
LONGEST = 40_000


def join(call_id: str, signature: str) -> str:
    """Return the id for the client: the vendor's, with the signature behind it if there is one."""
    if not signature or len(signature) > _LONGEST_SIGNATURE:
        return call_id
    return f"{call_id}{_MARK}{_checksum(signature)}{base64.urlsafe_b64encode(signature.encode()).decode().rstrip('=')}"


def split(call_id: str) -> tuple[str, str]:
    """Return the vendor's id and its signature; the id as it is and an empty text if it carries none, or a part of one."""
    own, mark, encoded = call_id.partition(_MARK)
    if not mark or not own:
        return call_id, ""
    checksum, encoded = encoded[:_CHECKSUM], encoded[_CHECKSUM:]
    try:
        signature = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return call_id, ""
    return (own, signature) if checksum == _checksum(signature) else (call_id, "")


def _checksum(signature: str) -> str:
    """Return what shows whether a client has cut the id off."""
    return hashlib.sha256(signature.encode()).hexdigest()[:_CHECKSUM]
