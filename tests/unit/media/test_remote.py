import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.media.remote import data_uri, fetch


@given(st.binary(max_size=100))
def test_data_uris_round_trip(content: bytes) -> None:
    coded = base64.b64encode(content).decode()
    assert data_uri(f"data:image/png;base64,{coded}", 100) == content
    assert data_uri(f"data:;BASE64,{coded[:7]}\n {coded[7:]}", 100) == content
    assert data_uri("data:image/png," + "".join(f"%{byte:02X}" for byte in content), 100) == content


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("data:image/png;base64", "needs a comma"),
        ("data:image/png;base64,AAA", "the base64 data is damaged"),
        ("data:image/png;base64,A*AA", "the base64 data is damaged"),
        ("data:image/png;base64,ÄÄÄÄ", "the base64 data is damaged"),
        ("data:image/png;base64," + "AAAA" * 4, "holds more than 10 bytes"),
        ("data:image/png;base64," + "AAAA" * 1000, "holds more than 10 bytes"),
        ("data:," + "a" * 11, "holds more than 10 bytes"),
    ],
)
def test_bad_data_uris_are_refused(text: str, fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        data_uri(text, 10)


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, headers = {"/ok": (200, {}), "/there": (302, {"Location": "/ok"})}.get(self.path, (404, {}))
        if self.path == "/file":
            code, headers = 302, {"Location": "file:///etc/passwd"}
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"x" * 100)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("path", ["/ok", "/there"])
def test_addresses_are_fetched(server: str, path: str) -> None:
    assert fetch(server + path, max_bytes=100, timeout_seconds=5) == b"x" * 100


def test_downloads_are_limited(server: str) -> None:
    with pytest.raises(DataError, match="larger than 99 bytes"):
        fetch(server + "/ok", max_bytes=99, timeout_seconds=5)


@pytest.mark.parametrize("path", ["/none", "/file"])
def test_refusals_and_redirects_to_files_are_missing_media(server: str, path: str) -> None:
    with pytest.raises(MissingError):
        fetch(server + path, max_bytes=100, timeout_seconds=5)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x", "http://", "http://[bad", "file:///etc/passwd"])
def test_what_cannot_be_reached_is_missing(address: str) -> None:
    with pytest.raises(MissingError, match="cannot be fetched"):
        fetch(address, max_bytes=100, timeout_seconds=5)
