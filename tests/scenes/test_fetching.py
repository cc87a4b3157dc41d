"""Downloads from a server on this machine: whole, broken off, gone on with, altered, and not there at all."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pyramid.errors import InputError
from pyramid.scenes import fetching

CONTENT = np.random.default_rng(0).bytes(3 * 2**20 + 17)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files` by path. ranges: whether it knows them; breaks: after so many bytes the next answers break off."""

    def __init__(self, files: dict[str, bytes], ranges: bool = True, breaks: tuple[int, ...] = ()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.ranges, self.breaks = files, ranges, list(breaks)
        self.asked: list[str | None] = []  # the Range of each request

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        content = server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        first = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if self.headers.get("Range") else 0
        first = first if server.ranges else 0
        if first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        sent = content[first:]
        self.wfile.write(sent[: server.breaks.pop(0)] if server.breaks else sent)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fetching, "WAIT", 0.0)


def get(server: Server, path, md5: str | None = MD5):
    return fetching.fetch(server.address("file.tar"), path, md5, progress=False)


def test_what_broke_off_is_gone_on_with_where_it_stood(tmp_path):
    path = tmp_path / "deep" / "file.tar"
    with Server({"file.tar": CONTENT}, breaks=(1000, 0, 2_000_000)) as server:
        assert get(server, path) == path and path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=1000-", "bytes=2001000-"]
    assert [file.name for file in path.parent.iterdir()] == ["file.tar"]


def test_a_later_command_goes_on_with_what_an_earlier_one_left(tmp_path):
    path = tmp_path / "file.tar"
    with Server({"file.tar": CONTENT}, breaks=(5000,) + (0,) * fetching.TRIES) as server:
        with pytest.raises(InputError, match="could not be fetched"):
            get(server, path)
        assert not path.exists() and (tmp_path / "file.tar.part").read_bytes() == CONTENT[:5000]
        asked = len(server.asked)
        get(server, path)
        assert path.read_bytes() == CONTENT and server.asked[asked:] == ["bytes=5000-"]
        get(server, path)  # it is there
        assert len(server.asked) == asked + 1


def test_a_server_without_ranges_gives_all_of_it_again(tmp_path):
    path = tmp_path / "file.tar"
    with Server({"file.tar": CONTENT}, ranges=False, breaks=(1000,)) as server:
        get(server, path)
    assert path.read_bytes() == CONTENT and server.asked == [None, "bytes=1000-"]


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"of a longer file"], ids=["whole", "too long"])
def test_of_a_part_that_is_whole_or_too_long(left, tmp_path):
    (tmp_path / "file.tar.part").write_bytes(left)
    with Server({"file.tar": CONTENT}) as server:
        get(server, tmp_path / "file.tar")
    assert (tmp_path / "file.tar").read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(left)}-"] + [None] * (left != CONTENT)


def test_another_content_than_was_published_is_not_kept(tmp_path):
    with Server({"file.tar": CONTENT[:-1] + b"!"}) as server, pytest.raises(InputError) as error:
        get(server, tmp_path / "file.tar")
    assert f"another MD5 than {MD5}" in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_what_was_put_there_by_hand_is_taken_if_it_is_the_file(tmp_path):
    path = tmp_path / "file.tar"
    path.write_bytes(CONTENT)
    with Server({}) as server:
        assert get(server, path) == path and server.asked == []
        path.write_bytes(b"another")
        with pytest.raises(InputError, match="what is there has another MD5"):
            get(server, path)
    assert path.read_bytes() == b"another"  # a user's file is left alone


def test_where_nothing_can_be_fetched_the_way_by_hand_is_said(tmp_path):
    with Server({}) as server:
        with pytest.raises(InputError) as error:
            get(server, tmp_path / "file.tar")
        assert len(server.asked) == 1  # what is not there will not be there
        gone = server.address("file.tar")
    said = str(error.value)
    assert "Not Found" in said and str(tmp_path / "file.tar") in said and "\n" not in said and said.endswith(".")
    with pytest.raises(InputError, match=f"or fetch {gone} on another machine"):  # nobody listens any more
        fetching.fetch(gone, tmp_path / "file.tar", MD5, progress=False)


def test_a_disk_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "folder").write_text("a file")
    with Server({"file.tar": CONTENT}) as server, pytest.raises(InputError, match="could not be written"):
        get(server, tmp_path / "folder" / "file.tar")
