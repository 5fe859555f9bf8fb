"""Tool-call ids that carry a vendor's signature, so that an unchanged client returns it with the call.

Gemini signs its tool calls and refuses a later turn without the signature. No field of the compatible APIs holds one, but
every client sends the id of a call back as it came.
"""

from __future__ import annotations

import base64
import binascii

# Only letters that every vendor accepts in an id follow it.
_MARK = "__sig_"
# A longer signature is left out; the next turn then goes without it.
_LONGEST_SIGNATURE = 24_000
# Characters of the longest id that clients may send.
LONGEST = 40_000


def join(call_id: str, signature: str) -> str:
    """Return the id for the client: the vendor's, with the signature behind it if there is one."""
    if not signature or len(signature) > _LONGEST_SIGNATURE:
        return call_id
    return f"{call_id}{_MARK}{base64.urlsafe_b64encode(signature.encode()).decode().rstrip('=')}"


def split(call_id: str) -> tuple[str, str]:
    """Return the vendor's id and its signature; the id as it is and an empty text if it carries none."""
    own, mark, encoded = call_id.partition(_MARK)
    if not mark or not own:
        return call_id, ""
    try:
        return own, base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return call_id, ""
