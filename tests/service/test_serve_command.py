"""kedro ruri serve: what cannot be served is one line, and what can is served until the process is ended."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from background import free_port, running
from click.testing import CliRunner
from kedro.framework.project import configure_project
from service import write_documents

from ruri_kedro.cli import cli
from ruri_kedro.cli.project import shipped
from ruri_kedro.service.serve import bound_socket


def refused(*options):
    result = CliRunner().invoke(cli, ["ruri", "serve", *options])
    assert result.exit_code == 1, (result.output, result.exception)
    *_, line = result.output.strip().splitlines()
    return line


def test_what_cannot_be_served_is_one_line(folders, tmp_path, monkeypatch):
    configure_project("ruri_kedro")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    documents = str(write_documents(tmp_path / "documents.jsonl"))
    here = ("--model", str(folders / "embedder"), "--collection", documents)
    assert "is not in a project" in refused()
    assert "can be reached from elsewhere. Put a token" in refused(*here, "--host", "0.0.0.0")
    with bound_socket("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert "Address already in use. Another program may have it" in refused(*here, "--port", port)
    gone = str(tmp_path / "gone")
    assert "no folder of this name" in refused("--model", gone, "--collection", documents, "--port", "0")
    assert "there is no such file" in refused("--model", here[1], "--collection", gone, "--port", "0")
    assert "No model is registered yet" in refused(*here, "--with", "models:/ruri-x@champion", "--port", "0")


@pytest.mark.slow
def test_it_serves_until_it_is_ended_and_answers_the_same_after_a_kill(folders, tmp_path):
    documents = write_documents(tmp_path / "documents.jsonl")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "ruri_kedro", "serve", "--port", str(port), "--model", str(folders / "embedder"),
               "--collection", str(documents)]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    answers = []
    for _ in range(2):
        with running(command, f"{address}/healthz", tmp_path / "log", environment):
            asked = urllib.request.Request(f"{address}/search", json.dumps({"query": "東京の駅"}).encode(),
                                           {"Content-Type": "application/json"})  # fmt: skip
            with urllib.request.urlopen(asked, timeout=60) as answer:
                found = json.load(answer)
            answers.append([(ranking["system"], ranking["hits"]) for ranking in found["rankings"]])
            said = (tmp_path / "log").read_text("utf-8")
    assert answers[0] == answers[1]
    assert "model: embedder\n" in said and "collection: documents.jsonl, 36 documents\n" in said
    assert said.rstrip().endswith(address)


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_traceback(folders, tmp_path):
    documents = write_documents(tmp_path / "documents.jsonl")
    command = [sys.executable, "-m", "ruri_kedro", "serve", "--port", "0", "--model", str(folders / "embedder"),
               "--collection", str(documents)]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if line.startswith("http://"):
            break
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert "Traceback" not in rest, rest


def test_the_parameters_are_those_of_the_package():
    assert (shipped() / "conf/base/parameters_service.yml").is_file()
