"""`/api/v1/billing/…`, and billing's part of `/api/v1/admin/…`; whole paths, included at the root."""

from django.urls import path

from billing.api import views, views_admin, views_alerts

app_name = "billing"
urlpatterns = [
    path("api/v1/billing/models", views.Models.as_view(), name="models"),
    path("api/v1/billing/usage", views.Usage.as_view(), name="usage"),
    path("api/v1/billing/usage/export", views.UsageExport.as_view(), name="usage-export"),
    path("api/v1/billing/summary", views.Summary.as_view(), name="summary"),
    path("api/v1/billing/recommendations", views_alerts.Recommendations.as_view(), name="recommendations"),
    path("api/v1/billing/alerts", views_alerts.Alerts.as_view(), name="alerts"),
    path("api/v1/billing/alerts/read", views_alerts.AlertsRead.as_view(), name="alerts-read"),
    path("api/v1/billing/budgets", views_alerts.Budgets.as_view(), name="budgets"),
    path("api/v1/admin/overview", views_admin.Overview.as_view(), name="admin-overview"),
    path("api/v1/admin/usage-analytics", views_admin.UsageAnalytics.as_view(), name="admin-usage-analytics"),
    path("api/v1/admin/cost-optimization", views_admin.CostOptimization.as_view(), name="admin-cost-optimization"),
    path("api/v1/admin/budgets", views_admin.Budgets.as_view(), name="admin-budgets"),
]
