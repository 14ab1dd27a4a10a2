"""Events to a web server: an HTTP POST for each, with the event as JSON for its body."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from ..ranges import Range
from . import Undelivered
from .forward import Refused
from .store import Message

REFUSED = (400, 413, 415, 422)
"""Answers that mean this event and would be the same next time (RFC 9110, 15.5); all others are tried again."""


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """Where the server is."""

    url: str
    """Address, `http://` or `https://`."""
    token_env: str = ""
    """Environment variable that holds a token, sent as `Authorization: Bearer`."""
    token_file: str = ""
    """File that holds the token, instead."""
    timeout_s: Annotated[float, Range(0.1, 300)] = 10.0
    """Longest silence of the server in seconds."""


class WebhookCourier:
    """Posts to one address. A redirection is not followed: it would turn the POST into a GET without the event."""

    def __init__(self, settings: WebhookSettings, token: str | None) -> None:
        """Prepare; token: for the Authorization header, None for none."""
        self._settings = settings
        self._headers = {"Content-Type": "application/json", "User-Agent": "ecg-edge"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        where = urlsplit(settings.url)
        self._name = f"{where.scheme}://{where.hostname}"  # without what may be secret: messages go to every sink
        self._opener = urllib.request.build_opener(_NoRedirect)

    def look_after(self) -> None:
        """Do nothing: each event is a connection of its own."""

    def send(self, messages: Sequence[Message]) -> int:
        """Post the first message; see Courier."""
        request = urllib.request.Request(self._settings.url, messages[0].line.encode(), self._headers, method="POST")
        try:
            self._opener.open(request, timeout=self._settings.timeout_s).close()
        except urllib.error.HTTPError as error:
            error.close()
            told = f"{self._name} answers {error.code} {error.reason}"
            if error.code in REFUSED:
                raise Refused(f"{told}: it does not take this event, check what it expects") from None
            raise Undelivered(f"{told}: check the address, the token and the server") from None
        except (OSError, http.client.HTTPException) as error:
            text = getattr(error, "reason", None) or error
            raise Undelivered(f"{self._name} cannot be reached ({text}): check the address and the network") from None
        return 1

    def close(self) -> None:
        """Do nothing: no connection is held."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
