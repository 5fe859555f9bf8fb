"""What hostile clients send (attacks.md F35, F36): bodies, texts, numbers, query strings, headers. Names say what each is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# Whole bodies that are no JSON object to be taken: each is 400 at every endpoint.
BODIES: dict[str, bytes] = {
    "empty object cut": b'{"name":',
    "not json": b"name=value",
    "html": b"<html></html>",
    "bad utf-8": b'{"name":"\xff\xfe"}',
    "utf-16": '{"name":"a"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"name":"a"}',
    "overlong nul": b'{"name":"\xc0\x80"}',
    "encoded surrogate": b'{"name":"\xed\xa0\x80"}',
    "nul escaped": b'{"name":"a\\u0000b"}',
    "nul in key": b'{"na\\u0000me":"a"}',
    "nul raw": b'{"name":"a\x00b"}',
    "lone surrogate": b'{"name":"\\ud800"}',
    "lone surrogate in key": b'{"\\udfff":1}',
    "nan": b'{"name":NaN}',
    "infinity": b'{"name":Infinity}',
    "minus infinity": b'{"size":-Infinity}',
    "1e999": b'{"size":1e999}',
    "5,000 digits": b'{"size":' + b"9" * 5000 + b"}",
    "5,000 digits in an exponent": b'{"size":1e' + b"9" * 5000 + b"}",
    "100,000 lists deep": b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 open": b"[" * 100_000,
    "duplicate key": b'{"name":"a","name":"b"}',
    "duplicate key, escaped": b'{"name":"a","n\\u0061me":"b"}',
    "a list": b'[{"name":"a"}]',
    "a string": b'"name"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "two values": b'{"name":"a"}{"name":"b"}',
    "trailing comma": b'{"name":"a",}',
    "single quotes": b"{'name':'a'}",
    "comment": b'{"name":"a"} // yes',
}
# Values for a field, as JSON text: none may make a 5xx. Some are fine where the field takes them.
VALUES: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "minus one": b"-1",
    "minus zero": b"-0.0",
    "fraction": b"0.1",
    "beyond 32 bits": b"2147483648",
    "beyond 64 bits": b"9223372036854775808",
    "20 digits": b"9" * 20,
    "400 digits": b"9" * 400,
    "4,000 digits": b"9" * 4000,
    "1e308": b"1e308",
    "tiny": b"1e-400",
    "empty string": b'""',
    "blank string": b'"   "',
    "control characters": b'"\\u0001\\u0008\\u001f"',
    "line separators": b'"\\u2028\\u2029\\u0085"',
    "right to left": '"\u202eabc"'.encode(),
    "emoji": '"\U0001f468\u200d\U0001f469\u200d\U0001f467"'.encode(),
    "combining": ('"' + "a\u0301" * 500 + '"').encode(),
    "100,000 characters": b'"' + b"x" * 100_000 + b'"',
    "sql": b'"\' OR 1=1; --"',
    "path": b'"../../../../etc/passwd"',
    "template": b'"{{7*7}}${7*7}<%= 7*7 %>"',
    "script": b'"<script>alert(1)</script>"',
    "formula": b"\"=cmd|'/c calc'!A1\"",
    "header break": b'"a\\r\\nSet-Cookie: x=1"',
    "no uuid": b'"00000000-0000-0000-0000-00000000000g"',
    "foreign uuid": b'"00000000-0000-7000-8000-000000000000"',
    "far date": b'"99999-12-31T23:59:59Z"',
    "no date": b'"2026-02-30T25:61:61Z"',
    "loopback": b'"http://127.0.0.1:1/"',
    "empty list": b"[]",
    "list of null": b"[null]",
    "mixed list": b'[1,"a",null,{},[]]',
    "100,000 in a list": b"[" + b"1," * 99_999 + b"1]",
    "empty object": b"{}",
    "object": b'{"a":{"b":[1]}}',
    "special keys": b'{"__proto__":1,"constructor":{},"$ne":1}',
    "60 deep": b"[" * 60 + b"]" * 60,
}
# Values for each node of a valid body, whole subtrees included.
NODES: dict[str, Any] = {
    "null": None,
    "true": True,
    "minus one": -1,
    "fraction": 0.1,
    "1e308": 1e308,
    "beyond 64 bits": 2**64,
    "400 digits": 10**400,
    "empty text": "",
    "text": "x",
    "long text": "x" * 3000,
    "nul-like": "\x01\u2028",
    "empty list": [],
    "list in a list": [[]],
    "mixed list": [1, "a", None, {}, []],
    "empty object": {},
    "object": {"type": {}, "role": [], "a": {"b": [1]}},
}


def nested(body: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The body with one of its nodes replaced, removed, renamed or doubled, each with what was done to it."""
    for what, value in NODES.items():
        yield f"{path or '/'}: {what}", value
    if isinstance(body, dict):
        for name, inner in body.items():
            rest = {key: value for key, value in body.items() if key != name}
            yield f"{path}/{name}: removed", rest
            yield f"{path}/{name}: renamed", {**rest, name + "\u00e9": inner}
            for what, changed in nested(inner, f"{path}/{name}"):
                yield what, {**body, name: changed}
    elif isinstance(body, list):
        for index, inner in enumerate(body):
            yield f"{path}/{index}: doubled", [*body, inner]
            for what, changed in nested(inner, f"{path}/{index}"):
                yield what, [*body[:index], changed, *body[index + 1 :]]


# What no answer to a client may hold: the words of Python's own errors.
LEAKS = re.compile(rb"<class|ConversionSyntax|InvalidOperation|Traceback|(?:Value|Type|Key|Attribute)Error\b|pydantic|decimal\.[A-Z]")
# Query strings, as they stand on the wire.
QUERIES: dict[str, str] = {
    "nul": "search=%00",
    "bad utf-8": "search=%ff%fe",
    "encoded surrogate": "search=%ed%a0%80",
    "half an escape": "search=%",
    "no escape": "search=%zz",
    "page size zero": "page_size=0",
    "page size large": "page_size=100000",
    "page size huge": "page_size=" + "9" * 4000,
    "page size word": "page_size=all",
    "page size minus": "page_size=-1",
    "page size digit of another script": "page_size=%D9%A3",
    "cursor word": "cursor=nonsense",
    "cursor empty": "cursor=",
    "cursor forged": "cursor=cD1ub25zZW5zZQ%3D%3D",  # p=nonsense
    "cursor forged with nul": "cursor=cD0lMDA%3D",  # p=%00
    "cursor offset": "cursor=bz05OTk5OTk5OTk5OTk%3D",  # o=99999999999
    "cursor reversed": "cursor=cj0xJnA9MjAyNi0wMS0wMQ%3D%3D",  # r=1&p=2026-01-01
    "ordering of another's": "ordering=owner__password",
    "ordering unknown": "ordering=nonsense",
    "ordering comma": "ordering=,,,",
    "ordering random": "ordering=?",
    "lookup": "user__is_staff=1&user__password__startswith=a&_connector=OR",
    "from word": "from=yesterday&to=tomorrow",
    "from far": "from=0001-01-01&to=9999-12-31",
    "group by": "group_by=password&bucket=nonsense",
    "status": "status=nonsense&model=%27&created_at__gte=x",
    "search long": "search=" + "x" * 5000,
    "search symbols": "search=%25%5F%5C%27%22%28%29*%3F%5B",
    "many": "&".join(f"a{n}=1" for n in range(1000)),
    "brackets": "a[]=1&a[b]=2",
    "format": "format=nonsense",
}
# Ids that stand in a path.
IDS: dict[str, str] = {
    "random": "01890000-0000-7000-8000-000000000000",
    "nil": "00000000-0000-0000-0000-000000000000",
    "no uuid": "00000000-0000-0000-0000-00000000000g",
    "word": "nonsense",
    "nul": "%00",
    "bad utf-8": "%ff",
    "dots": "..%2f..%2fetc%2fpasswd",
    "long": "9" * 2000,
    "minus": "-1",
}
# Headers; each alone may be refused with 4xx, none may make a 5xx.
HEADERS: dict[str, tuple[bytes, bytes]] = {
    "authorization latin": (b"authorization", b"Bearer \xff\xfe"),
    "authorization nul": (b"authorization", b"Bearer a\x00b"),
    "authorization long": (b"authorization", b"Bearer " + b"x" * 60_000),
    "authorization sql": (b"authorization", b"Bearer ' OR '1'='1"),
    "authorization scheme": (b"authorization", b"Basic dXNlcjpwYXNz"),
    "authorization empty": (b"authorization", b""),
    "api key nul": (b"x-api-key", b"aia_\x00"),
    "request id": (b"x-request-id", b"\r\nSet-Cookie: x=1"),
    "request id long": (b"x-request-id", b"x" * 10_000),
    "idempotency key long": (b"idempotency-key", b"x" * 10_000),
    "idempotency key latin": (b"idempotency-key", b"\xff"),
    "last event id": (b"last-event-id", b"nonsense"),
    "last event id huge": (b"last-event-id", b"9" * 5000),
    "content type": (b"content-type", b"application/xml"),
    "content type charset": (b"content-type", b"application/json; charset=nonsense"),
    "multipart without boundary": (b"content-type", b"multipart/form-data"),
    "form": (b"content-type", b"application/x-www-form-urlencoded"),
    "content length": (b"content-length", b"-1"),
    "accept": (b"accept", b"application/xml"),
    "accept nonsense": (b"accept", b"\xff;q=nonsense"),
    "host": (b"host", b"evil.example.com"),
    "host nonsense": (b"host", b"a b/\\@[:"),
    "cookie": (b"cookie", b"session=\xff\x00; sessionid=x"),
    "origin": (b"origin", b"null"),
    "language": (b"accept-language", b"../../x," * 500),
    "forwarded": (b"x-forwarded-for", b"\xff, ,,,"),
    "encoding": (b"content-encoding", b"gzip"),
    "method override": (b"x-http-method-override", b"DELETE"),
}


def objects(fields: list[str]) -> dict[str, bytes]:
    """Every value in every field, one body at a time."""
    return {f"{field}: {name}": b'{"%b":%b}' % (field.encode(), value) for field in fields for name, value in VALUES.items()}
