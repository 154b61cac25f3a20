"""References that carry their bytes (data URIs) or the address of them (http, https)."""

import base64
import binascii
import http.client
import urllib.error
import urllib.request
from urllib.parse import unquote_to_bytes

from vlm2vec_cli.errors import DataError, MissingError

_CHUNK = 1 << 16


def data_uri(text: str, max_bytes: int) -> bytes:
    """The bytes of a data URI. Raises DataError where it is malformed or longer than `max_bytes`."""
    head, comma, payload = text.partition(",")
    if not comma:
        raise DataError("a data URI needs a comma before its data", hint="data:image/png;base64,...")
    if len(payload) // 4 * 3 > 3 * max_bytes:
        raise DataError(f"holds more than {max_bytes:,} bytes")
    if not head.lower().endswith(";base64"):
        content = unquote_to_bytes(payload)
    else:
        try:
            content = base64.b64decode(
                "".join(unquote_to_bytes(payload).decode("ascii").split()), validate=True
            )
        except (binascii.Error, UnicodeDecodeError) as error:
            raise DataError(f"the base64 data is damaged: {error}") from error
    if len(content) > max_bytes:
        raise DataError(f"holds more than {max_bytes:,} bytes")
    return content


def fetch(address: str, *, max_bytes: int, timeout_seconds: float) -> bytes:
    """The body at an http(s) address. Redirects stay within http(s).

    Raises MissingError where the server cannot be reached or refuses, DataError above `max_bytes`.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "vlm2vec"})
        with opener.open(request, timeout=timeout_seconds) as response:
            parts, size = [], 0
            while part := response.read(_CHUNK):
                size += len(part)
                if size > max_bytes:
                    raise DataError(f"is larger than {max_bytes:,} bytes")
                parts.append(part)
    except urllib.error.HTTPError as error:
        error.close()
        raise MissingError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MissingError(f"cannot be fetched: {getattr(error, 'reason', error)}") from error
    return b"".join(parts)
