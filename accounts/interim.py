"""Until aiagents/lib/netaddr.py and StrictFieldsMixin land."""
import ipaddress
from rest_framework import serializers

def client_ip(peer, headers):
    return peer

def bucket_ip(ip):
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network(f"{ip}/64", strict=False)) if address.version == 6 else ip

class StrictFieldsMixin:
    def to_internal_value(self, data):
        if hasattr(data, "keys"):
            writable = {f.field_name for f in self._writable_fields}
            given = {k.split(".")[0] for k in data.keys()} - {"csrfmiddlewaretoken"}
            if given - writable:
                raise serializers.ValidationError({k: ["This field may not be set."] for k in given - writable})
        return super().to_internal_value(data)


def handler(exc, context):
    from rest_framework.response import Response
    from rest_framework.views import exception_handler
    from aiagents.lib.errors import AppError
    if isinstance(exc, AppError):
        return Response(exc.body("r"), exc.status, headers={"Retry-After": str(exc.retry_after)} if exc.retry_after else {})
    r = exception_handler(exc, context)
    if r is not None:
        r.data = {"error": {"type": {400: "invalid_request", 401: "not_authenticated", 403: "permission_denied"}.get(r.status_code, "x"), "message": getattr(exc, "detail", ""), "details": r.data, "request_id": "r"}}
    return r
