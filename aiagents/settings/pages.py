"""Settings of pages: the admin's theme, static files, cookies and headers."""

from __future__ import annotations

from csp.constants import NONCE
from whitenoise.compress import Compressor

from aiagents.settings.base import BASE_DIR, DATA_DIR, DEBUG, SITE_URL
from aiagents.settings.env import env

LANGUAGE_CODE, TIME_ZONE, USE_I18N, USE_TZ = "en-us", "UTC", True, True
FORMAT_MODULE_PATH = ["aiagents.formats"]
# The admin's theme; values with a dotted path are called for each page (aiagents/dashboards/navigation.py).
UNFOLD = {
    "SITE_TITLE": "aiagents",
    "SITE_HEADER": "aiagents",
    "SITE_SUBHEADER": "Back office",
    "SITE_SYMBOL": "hub",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "aiagents.dashboards.navigation.icon"}],
    "ENVIRONMENT": "aiagents.dashboards.navigation.environment",
    "STYLES": ["aiagents.dashboards.navigation.style"],
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "#eef1ff",
            "100": "#e0e5fe",
            "200": "#c7cffc",
            "300": "#a5b0f8",
            "400": "#8089f1",
            "500": "#6069e8",
            "600": "#3f51d8",
            "700": "#3743b5",
            "800": "#303a91",
            "900": "#2c3574",
            "950": "#1b2046",
        },
    },
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": "aiagents.dashboards.navigation.groups"},
}
STATIC_URL, STATIC_ROOT = "static/", env.static_root or DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# Django's default lets every user of the machine read stored files.
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o600, 0o700
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "aiagents.server.static_files.Storage"},
}
# In debug mode files are served from the source; otherwise from the files that were collected at the start.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
# Source maps take megabytes, and no page loads them.
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = (*Compressor.SKIP_COMPRESS_EXTENSIONS, "map")
LOGIN_URL, LOGIN_REDIRECT_URL = "/admin/login/", "/admin/"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
_HTTPS = SITE_URL.startswith("https://")
SECURE_HSTS_SECONDS = 31536000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _HTTPS
SECURE_SSL_REDIRECT = False  # the proxy redirects; the product does not terminate TLS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_NAME = "__Host-session" if _HTTPS else "session"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # The header has a nonce only on pages that use it.
        "script-src": ["'self'", NONCE],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
CSRF_FAILURE_VIEW = "aiagents.core.http.error_views.csrf_failure"
