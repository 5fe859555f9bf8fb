"""How a vendor is reached. (Agents and their tools stand here too.)"""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from aiagents.lib.ids import uuid7


class ProviderConnection(models.Model):
    """A base URL and a key, set by staff only. The key is encrypted at rest and never shown again."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"
        GOOGLE = "google", "Google"
        OPENAI_COMPATIBLE = "openai_compatible", "OpenAI-compatible"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=20, choices=Kind)
    base_url = models.URLField(max_length=300)
    api_key_encrypted = models.TextField(blank=True, editable=False)
    # Some compatible servers never send a finish_reason or usage on a stream.
    requires_finish_reason = models.BooleanField(default=True)
    sends_usage = models.BooleanField(default=True)
    allow_private_address = models.BooleanField(default=False, help_text="for servers in your own network, such as Ollama")
    is_default = models.BooleanField(default=False, help_text="replaces the vendor's key from the environment")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug
