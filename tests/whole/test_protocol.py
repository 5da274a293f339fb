"""The protocol page: its clients run, and its tables say what the code says."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import zmq

from build import GIVE_UP_S
from livespt.stream.types import EVENT, KINDS
from livespt.stream.wire import codec
from livespt.tools.chaos.trial_publisher import Child, Plan, free_endpoint, made_up, publishing

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
# what <zmq.h> says of what the client needs, for pyzmq brings libzmq without it
HEADER = """
#include <stddef.h>
#define ZMQ_SUB 2
#define ZMQ_SUBSCRIBE 6
void *zmq_ctx_new(void); void *zmq_socket(void *, int);
int zmq_connect(void *, const char *); int zmq_setsockopt(void *, int, const void *, size_t);
int zmq_recv(void *, void *, size_t, int);
"""


def client(language: str, which: int, endpoint: str) -> str:
    """A client of the page, that follows `endpoint`."""
    text = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[which]
    host, port = codec.address(endpoint)
    for known, there in (("5570", port), ("5571", port + 1)):
        text = text.replace(f"tcp://127.0.0.1:{known}", f"tcp://{host}:{there}")
    return str(text)


@contextmanager
def running(*command: str) -> Iterator[IO[str]]:
    """What a program prints, line by line; it is killed at the end of the block."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    late = threading.Timer(GIVE_UP_S, child.kill)  # so that a client that hangs fails
    late.start()
    try:
        yield child.stdout
    finally:
        late.cancel()
        child.kill()
        child.communicate()


def test_ten_lines_of_python_print_live_states() -> None:
    with publishing(Plan(tracks=2)) as child:
        program = client("python", 0, child.endpoint)
        assert len(program.split("\n\n")[1].splitlines()) == 9 and "livespt" not in program
        with running(sys.executable, "-c", program) as lines:
            states = [ast.literal_eval(lines.readline()) for _ in range(3)]
    first = states[0][0][0]
    assert states == [[(first + i, 0, 0), (first + i, 1, 0)] for i in range(3)]


def test_a_program_in_c_prints_live_events(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    libraries = sorted(Path(zmq.__file__).parent.parent.glob("pyzmq.libs/libzmq*.so*"))
    if compiler is None or not libraries:
        pytest.skip("no C compiler (gcc), or a pyzmq that does not bring its libzmq.so")
    (tmp_path / "zmq.h").write_text(HEADER)
    library, linked = libraries[0], tmp_path / "client"
    with publishing(Plan()) as child:
        (tmp_path / "client.c").write_text(client("c", 0, child.endpoint))
        words = ["-Wall", "-Werror", f"-I{tmp_path}", str(tmp_path / "client.c"), str(library)]
        words += [f"-Wl,-rpath,{library.parent}", "-o", str(linked)]
        subprocess.run([compiler, *words], check=True)
        with running(str(linked)) as lines:
            got = [lines.readline().split() for _ in range(6)]
    first = int(got[0][0])
    want = [[row["seq"], row["kind"], row["track"]] for row in made_up(first, 6)]
    assert [[int(word) for word in line[:3]] for line in got] == want


def test_a_page_of_python_misses_nothing(tmp_path: Path) -> None:
    plan = Plan(free_endpoint(), frame_hz=200.0, noted=str(tmp_path / "noted"))
    child = Child(plan)
    try:
        while child.health().events < 100:  # it joins late
            time.sleep(0.02)
        program = client("python", 1, child.endpoint)
        assert "livespt" not in program
        with running(sys.executable, "-c", program, "3") as lines:
            got = [lines.readline() for _ in range(200)]
            sent = child.health().events + 400
            child.kill()
            child = Child(plan._replace(epoch=1))
            while child.health().events < sent:  # beyond all that the first one sent
                time.sleep(0.02)
            events = child.stop()
            got += list(lines)
    finally:
        child.kill()
    want = [f"{row['seq']} {row['kind']} {row['track']}" for row in made_up(3, events - 3)]
    assert [line.strip() for line in got] == want


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    named = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    assert named >= {*codec.TOPICS, *codec.REQUESTS}
    fields = PAGE[PAGE.index("| field | type |") : PAGE.index("`columns`, in `start`")]
    told = re.findall(r"^\| (`.*?) \| `\\?(.*?)` \|", fields, re.MULTILINE)
    assert [(name, kind) for names, kind in told for name in re.findall(r"`(\w+)`", names)] == [
        (name, str(kind)) for name, kind in EVENT.descr
    ]
    assert ", ".join(f"{i} {kind}" for i, kind in enumerate(KINDS)) in fields
    assert codec.ENDPOINT in PAGE
