"""The loopback server: what it serves, with which headers, and what it refuses."""

import http.client
from urllib.parse import urlsplit

import pytest

from validators.web.page_server import PageServer

GUESS = "0" * 22


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "artifact"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    (folder / "deep" / "code.wasm").write_bytes(b"\0asm")
    (folder / "page.mjs").write_text("")
    (folder / "shard.bin").write_bytes(b"x" * 3_000_000)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "artifact-beside").mkdir()
    (tmp_path / "artifact-beside" / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    with PageServer({"artifact": folder}) as started:
        yield started


def ask(server, path, *, method="GET", body=None, token=None):
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url()).port, timeout=5)
    connection.request(method, f"/{token or server.token}/{path}", body=body)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply, content


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("artifact/model.json", "application/json"),
        ("artifact/deep/code.wasm", "application/wasm"),
        ("artifact/page.mjs", "text/javascript"),
        ("artifact/shard.bin", "application/octet-stream"),
    ],
)
def test_files_come_whole_with_their_type_and_the_headers_that_isolate_the_page(server, path, kind):
    reply, content = ask(server, path)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == kind
    assert content == (server.folders["artifact"] / path.removeprefix("artifact/")).read_bytes()
    assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert reply.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert server.served == {path}


@pytest.mark.parametrize(
    "path",
    [
        "artifact/../secret",
        "artifact/deep/../../secret",
        "artifact/%2e%2e/secret",
        "artifact/..%2fsecret",
        "artifact/../artifact-beside/secret",
        "artifact//etc/hostname",
        "artifact/link",
        "artifact/deep",
        "artifact/",
        "artifact",
        "artifact/%00",
        "elsewhere/model.json",
        "tensors/unknown",
        "",
    ],
)
def test_nothing_outside_the_folders_is_served(server, path):
    reply, content = ask(server, path)
    assert (reply.status, content) == (404, b"")


def test_a_request_without_the_token_gets_nothing(server):
    server.tensors["input-0"] = b"private"
    for path in ("artifact/model.json", "tensors/input-0"):
        assert ask(server, path, token=GUESS)[0].status == 404
    assert ask(server, "tensors/output-0", method="POST", body=b"x", token=GUESS)[0].status == 404
    assert list(server.tensors) == ["input-0"]


def test_tensors_go_out_and_come_back_byte_for_byte(server):
    body = bytes(range(256)) * 10_000
    server.tensors["input-0"] = body
    assert ask(server, "tensors/input-0")[1] == body
    assert ask(server, "tensors/output-0", method="POST", body=body)[0].status == 204
    assert server.tensors["output-0"] == body


def test_only_tensors_can_be_posted(server):
    assert ask(server, "artifact/model.json", method="POST", body=b"x")[0].status == 404
    assert (server.folders["artifact"] / "model.json").read_text() == "{}"


def test_it_listens_on_loopback_only_and_stops_with_its_block(tmp_path):
    with PageServer({"artifact": tmp_path}) as server:
        assert server._server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        ask(server, "artifact/")
