"""`/api/v1/auth/…`, and the accounts' part of `/api/v1/admin/…`; whole paths, included at the root."""

from django.urls import path

from accounts.api import account, administration, password_links, sessions

app_name = "accounts"
urlpatterns = [
    path("api/v1/auth/register", sessions.Register.as_view(), name="register"),
    path("api/v1/auth/login", sessions.Login.as_view(), name="login"),
    path("api/v1/auth/refresh", sessions.Refresh.as_view(), name="refresh"),
    path("api/v1/auth/logout", sessions.Logout.as_view(), name="logout"),
    path("api/v1/auth/logout-all", sessions.LogoutAll.as_view(), name="logout-all"),
    path("api/v1/auth/ws-ticket", sessions.WebSocketTicket.as_view(), name="ws-ticket"),
    path("api/v1/auth/profile", account.Profile.as_view(), name="profile"),
    path("api/v1/auth/password", account.Password.as_view(), name="password"),
    path("api/v1/auth/password-link", password_links.PasswordLink.as_view(), name="password-link"),
    path("password", password_links.page, name="password-page"),
    path("api/v1/auth/api-keys", account.ApiKeys.as_view(), name="api-keys"),
    path("api/v1/auth/api-keys/<uuid:id>", account.ApiKeyDetail.as_view(), name="api-key"),
    path("api/v1/admin/users", administration.Users.as_view(), name="admin-users"),
    path("api/v1/admin/users/<uuid:id>", administration.UserDetail.as_view(), name="admin-user"),
    path("api/v1/admin/audit-log", administration.AuditLog.as_view(), name="admin-audit-log"),
]
