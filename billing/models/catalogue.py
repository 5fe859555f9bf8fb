"""The catalogue: the models that requests may name, and their prices."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from aiagents.core.ids import uuid7
from billing.models import beside
from billing.models.amounts import RATE


class CatalogueRow(models.Model):
    """A row of the catalogue. Saving or deleting it invalidates the snapshots of every process.

    `QuerySet.update` does not: the processes then reload within seconds.
    """

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        self._invalidate()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        self._invalidate()
        return deleted

    def _invalidate(self) -> None:
        from billing.catalogue import snapshot as catalogue  # a circular import otherwise

        catalogue.invalidate()


class AIModel(CatalogueRow):
    """One model, which requests name by its `slug`. The catalogue's file and staff set its capabilities."""

    class Provider(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"
        GOOGLE = "google", "Google"
        OPENAI_COMPATIBLE = "openai_compatible", "OpenAI-compatible"

    class Lifecycle(models.TextChoices):
        ACTIVE = "active"
        DEPRECATED = "deprecated"
        RETIRED = "retired"

    class Endpoint(models.TextChoices):
        USUAL = "", "the provider's usual one"
        RESPONSES = "responses", "OpenAI's Responses"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=100, unique=True, help_text="the id clients use, e.g. gpt-4o-mini")
    display_name = models.CharField(max_length=100)
    provider = models.CharField(max_length=20, choices=Provider)
    connection = models.CharField(max_length=50, blank=True, help_text="slug of a provider connection; empty: the vendor's own")
    vendor_model = models.CharField(max_length=150, help_text="the name on the vendor's wire")
    endpoint = models.CharField(
        max_length=20,
        choices=Endpoint,
        blank=True,
        default="",
        db_default="",
        help_text="OpenAI's models since GPT-5.4 take function tools only at Responses",
    )
    description = models.TextField(blank=True)
    context_window = models.PositiveIntegerField(help_text="tokens, input and output together")
    max_output_tokens = models.PositiveIntegerField()
    vision = models.BooleanField(default=False)
    files = models.BooleanField(default=False)
    tools = models.BooleanField(default=True)
    json = models.BooleanField(default=True, help_text="JSON mode or schema")
    reasoning = models.BooleanField(default=False)
    temperature = models.BooleanField(default=True, help_text="accepts sampling parameters")
    embeddings = models.BooleanField(default=False, help_text="turns text into vectors; such a model does not chat")
    dimensions = models.PositiveIntegerField(default=0, help_text="length of an embedding model's vectors; 0: unknown or none")
    quality = models.PositiveSmallIntegerField(default=50, help_text="0 to 100, relative to the field")
    tokens_per_second = models.FloatField(default=60, help_text="typical output speed before we have measured it")
    ttft_ms = models.PositiveIntegerField(default=700, help_text="typical time to first token before we have measured it")
    lifecycle = models.CharField(max_length=10, choices=Lifecycle, default=Lifecycle.ACTIVE)
    replaced_by = models.CharField(max_length=100, blank=True, help_text="slug")
    enabled = models.BooleanField(default=True)
    # Recent votes on the model's answers (billing/catalogue/votes.py), and the quality points that they add.
    votes_up = models.PositiveIntegerField(default=0, editable=False)
    votes_down = models.PositiveIntegerField(default=0, editable=False)
    votes_points = models.FloatField(default=0, editable=False)
    votes_counted_at = models.DateTimeField(null=True, editable=False)
    # The values last loaded from data/catalogue.json. Staff changed a field that differs from them, so an update keeps
    # it.
    loaded = models.JSONField(default=dict, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["provider", "slug"]
        verbose_name, verbose_name_plural = "AI model", "AI models"

    def __str__(self) -> str:
        return self.slug


class ModelPrice(CatalogueRow):
    """Rates in USD per million tokens, valid from `effective_from`. A used price is never edited.

    Above `tier_threshold` input tokens (long context) the `tier_*` rates apply to the whole call.
    An empty cached or write rate means the input rate, an empty rate for one-hour writes twice the input rate.
    """

    model = models.ForeignKey(AIModel, models.CASCADE, related_name="prices")
    effective_from = models.DateTimeField(default=timezone.now)
    input = models.DecimalField(**RATE)
    cached_input = models.DecimalField(**RATE, null=True, blank=True)
    cache_write = models.DecimalField(**RATE, null=True, blank=True)
    cache_write_1h = models.DecimalField(**RATE, null=True, blank=True, verbose_name="cache write, 1 hour")
    output = models.DecimalField(**RATE)
    tier_threshold = models.PositiveIntegerField(null=True, blank=True)
    tier_input = models.DecimalField(**RATE, null=True, blank=True)
    tier_cached_input = models.DecimalField(**RATE, null=True, blank=True)
    tier_cache_write = models.DecimalField(**RATE, null=True, blank=True)
    tier_cache_write_1h = models.DecimalField(**RATE, null=True, blank=True, verbose_name="tier cache write, 1 hour")
    tier_output = models.DecimalField(**RATE, null=True, blank=True)
    # What has a price of its own, by name; see billing/catalogue/beside.py for the forms.
    media = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        validators=[beside.check_media],
        help_text='USD per million tokens of audio, images, video, e.g. {"input_audio": "1"}; others cost what text costs',
    )
    units = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        validators=[beside.check_units],
        help_text='USD per thousand calls of the vendor\'s tools, e.g. {"web_search": "10"}',
    )
    modes = models.JSONField(
        default=dict, db_default={}, blank=True, validators=[beside.check_modes],
        help_text="other processing: all its rates, or a factor, e.g. {\"service_tier=flex\": {\"input\": \"1\", \"output\": \"4\"}}",
    )  # fmt: skip
    source = models.CharField(max_length=50, default="staff", help_text="genai-prices VERSION, or staff")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["model", "-effective_from"]
        constraints = [
            models.UniqueConstraint(fields=["model", "effective_from"], name="one_price_per_moment"),
            models.CheckConstraint(condition=Q(input__gte=0, output__gte=0), name="price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.model_id}: {self.input}/{self.output} from {self.effective_from:%Y-%m-%d}"
