"""The doctor: every answer there, none that stops another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from livespt.stream.errors import LiveSptError
from livespt.tools import doctor

NAMES = [
    "system",
    "packages",
    "gpu",
    "providers",
    "opengl",
    "shared memory",
    "micro-manager",
    "python core",
    "disk",
    "frame rate",
]


def test_every_part_is_examined(tmp_path: Path) -> None:
    findings = doctor.examine(tmp_path)
    assert [finding["name"] for finding in findings] == NAMES
    for finding in findings:
        assert list(finding) == ["name", "state", "value", "advice"]
        assert finding["state"] in ("ok", "warn", "missing") and finding["value"]
        assert bool(finding["advice"]) == (finding["state"] != "ok"), finding
        assert "could not be tested" not in finding["value"], finding
        assert "\n" not in finding["value"] + finding["advice"]
    value = {finding["name"]: finding["value"] for finding in findings}
    assert "cores" in value["system"]
    assert "ring passes" in value["shared memory"]
    assert "of 100 frames/s" in value["python core"]
    assert "MB/s" in value["disk"] and not list(tmp_path.iterdir())
    assert json.loads(json.dumps(findings)) == findings
    text = "\n".join(doctor.lines(findings))
    assert all(finding["value"] in text and finding["advice"] in text for finding in findings)


def test_a_check_that_fails_stops_no_other() -> None:
    def broken() -> doctor.Finding:
        raise OSError("the disk\nis gone")

    finding = doctor._safely(broken)
    assert finding["state"] == "warn" and "the disk is gone" in finding["value"]
    missing = doctor._safely(lambda: doctor._disk(Path("/no/such/folder")))
    assert missing["state"] == "warn" and "/no/such/folder" in missing["value"]


CHILDREN = {
    "answers": ("print('chatter'); print('{\"a\": 1}')", None),
    "raises": ("raise ValueError('no luck')", "ValueError: no luck"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed .SIGSEGV."),
    "hangs": ("import time; time.sleep(60)", "no result within 1 s"),
    "says nothing": ("pass", "ended with code 0"),
}


@pytest.mark.parametrize("case", CHILDREN)
def test_children_may_crash_and_hang(case: str) -> None:
    code, error = CHILDREN[case]
    if error is None:
        assert doctor._ask(code) == {"a": 1}
    else:
        with pytest.raises(LiveSptError, match=error):
            doctor._ask(code, 1 if case == "hangs" else doctor.CHILD_S)
