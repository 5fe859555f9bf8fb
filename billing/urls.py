"""`/api/v1/billing/…`; whole paths, included at the root."""

from django.urls import path

from billing import views

app_name = "billing"
urlpatterns = [
    path("api/v1/billing/models", views.Models.as_view(), name="models"),
    path("api/v1/billing/usage", views.Usage.as_view(), name="usage"),
    path("api/v1/billing/usage/export", views.UsageExport.as_view(), name="usage-export"),
    path("api/v1/billing/summary", views.Summary.as_view(), name="summary"),
]
