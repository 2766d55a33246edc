"""`trtmatte doctor` as it is typed."""

from __future__ import annotations

import io
import json
import sys

import pytest

from trtmatte.cli.main import main
from trtmatte.reports import doctor as diagnosis


@pytest.fixture
def report(monkeypatch):
    def give(by):
        finding = diagnosis.Finding("cache", "/home/zoë/缓存", ("it is full: empty it",))
        jobs = (diagnosis.Job("sessions", by, ("tensorrt on a GPU: it is not installed",)),)
        monkeypatch.setattr(diagnosis, "doctor", lambda: diagnosis.Report((finding,), jobs))

    return give


@pytest.mark.parametrize(("by", "status"), [("openvino on the CPU", 0), ("", 1)])
def test_the_status_says_whether_engines_can_run(by, status, report, capsys):
    report(by)
    assert main(["doctor"]) == status
    told = capsys.readouterr().out
    assert "it is full: empty it" in told
    assert "not tensorrt on a GPU: it is not installed" in told
    assert ("nothing can" in told) == (not by)


def test_for_machines(report, capsys):
    report("openvino on the CPU")
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["can_run"]
    assert facts["findings"][0]["wrong"] == ["it is full: empty it"]
    assert facts["jobs"][0]["by"] == "openvino on the CPU"


def test_a_terminal_that_lacks_letters(report, monkeypatch):
    report("openvino on the CPU")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["doctor"]) == 0
    out.flush()
    assert rb"zo\xeb" in out.buffer.getvalue()
