"""The base of adapters whose vendors count a prompt's tokens at an endpoint of their own, free of charge."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from yarl import URL

from agents.messages import CompletionRequest
from agents.providers.answer import PARSE_ERRORS, parsed, whole_number
from agents.providers.base import Target
from agents.providers.errors import ProviderBadResponse
from agents.providers.relay import Address, HttpProvider


class CountingProvider(HttpProvider):
    """An adapter that can ask its vendor how many input tokens a request has."""

    # Where the count stands in the vendor's answer.
    count_field: str

    @abstractmethod
    def count_url(self, address: Address) -> URL:
        """Return the URL for counting. `address` is that of a whole completion: the same server, headers and key."""

    @abstractmethod
    def count_content(self, request: CompletionRequest, target: Target) -> bytes:
        """Return the JSON body: the client's own one if it is in the vendor's dialect."""

    async def count(self, request: CompletionRequest, target: Target, seconds: float) -> int:
        """Return the vendor's count. Raises a ProviderError for a refusal, an unreadable answer, or after `seconds`."""
        headers = request.native.headers if request.native is not None and request.native.provider == self.kind else ()
        with self.errors(target):
            address = await self.address(target, stream=False)
            address = replace(address, url=self.count_url(address))
            body = await self.read_whole(address, self.count_content(request, target), seconds, headers)
            try:
                found = whole_number(parsed(body).get(self.count_field))
            except PARSE_ERRORS as exc:
                raise ProviderBadResponse from exc
            if found is None:
                raise ProviderBadResponse
            return found
