"""What the people of the tests have in common."""

from __future__ import annotations

PASSWORD = "correct horse battery staple"
