"""Paths of the agents app under /api/v1/; its endpoints come with the agents themselves."""

from django.urls import URLPattern

app_name = "agents"
urlpatterns: list[URLPattern] = []
