"""Django's admin with our site. It is a separate module because apps are listed before models can be imported."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class OfficeConfig(AdminConfig):
    default_site = "aiagents.admin_site.OfficeSite"
