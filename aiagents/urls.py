"""Every path that Django serves. The doors that carry tokens stand in asgi.py."""

urlpatterns: list = []
