"""Metrics by step, lineage, and the check of the server."""

import base64
import http.server
import json
import logging
import os
import threading
import time

import pytest

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.runs import tracking


@pytest.fixture
def server():
    """A local HTTP server that answers every request with `server.status`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.status = 200
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_server_that_answers_passes(server, status):
    server.status = status
    assert tracking.check_server(f"http://127.0.0.1:{server.server_port}/") is None


def test_a_broken_server_is_named(server):
    server.status = 503
    with pytest.raises(RegistryError, match=r"http://127.0.0.1:\d+ cannot be reached \(HTTP 503\)"):
        tracking.check_server(f"http://127.0.0.1:{server.server_port}")


def test_an_unreachable_server_is_found_at_once():
    start = time.monotonic()
    with pytest.raises(RegistryError, match=r"http://127.0.0.1:9 cannot be reached .*MLFLOW_TRACKING_URI"):
        tracking.check_server("http://127.0.0.1:9")
    assert time.monotonic() - start < 5


def test_local_stores_need_no_server():
    assert tracking.check_server("sqlite:///nowhere/mlflow.db") is None


def test_tracking_uri_counts_from_the_project(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    absolute = f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking.tracking_uri("sqlite:///mlflow.db", tmp_path) == absolute
    assert tracking.tracking_uri(None, tmp_path) == absolute
    assert tracking.tracking_uri(absolute, tmp_path / "other") == absolute
    assert tracking.tracking_uri("http://host:5000", tmp_path) == "http://host:5000"
    assert tracking.relative_uri(absolute, tmp_path) == "sqlite:///mlflow.db"
    assert tracking.relative_uri(absolute, tmp_path / "other") == absolute
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert tracking.tracking_uri("sqlite:///mlflow.db", tmp_path) == "http://host:5000"


def test_flatten_keeps_finite_numbers_under_names_mlflow_takes():
    values = {"tiny": {"jsquad/ndcg@10": 0.5, "名": 1}, "ok": True, "none": None, "nan": float("nan"), "text": "x"}
    assert dict(tracking.flatten(values, "metrics")) == {
        "metrics/tiny/jsquad/ndcg_at_10": 0.5,
        "metrics/tiny/名": 1.0,
    }


def test_step_logger_reports_to_the_open_run(store):
    import mlflow

    with mlflow.start_run() as run:
        log = tracking.step_logger("pretraining")
        for step in range(250):
            log(step, {"loss": 1 / (step + 1), "lr": 0.1})
        tracking.flush_step_loggers()
    history = mlflow.tracking.MlflowClient().get_metric_history(run.info.run_id, "pretraining/loss")
    assert [metric.step for metric in history] == list(range(250))
    assert history[3].value == 0.25


def test_step_logger_without_a_run_says_nothing(store):
    tracking.step_logger("pretraining")(0, {"loss": 1.0})
    assert not tracking._open_loggers


def test_training_outlives_a_server_that_fails(store, monkeypatch, caplog):
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    calls = []

    def failing(self, run_id, metrics):
        calls.append(len(metrics))
        raise MlflowException("server is gone")

    with mlflow.start_run() as run:
        log = tracking.step_logger("finetuning")
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "ruri_kedro"):
            patch.setattr(MlflowClient, "log_batch", failing)
            for step in range(1000):
                log(step, {"loss": 1.0})
        assert len(calls) == 1  # not once per step: each failure costs the retries of MLflow
        assert "finetuning: metrics cannot be sent to MLflow, training goes on" in caplog.text
        tracking.flush_step_loggers()
    assert len(MlflowClient().get_metric_history(run.info.run_id, "finetuning/loss")) == 1000


def test_metrics_that_stay_unsent_are_counted(store, monkeypatch, caplog):
    import mlflow
    from mlflow.tracking import MlflowClient

    def failing(self, run_id, metrics):
        raise OSError("no route")

    monkeypatch.setattr(MlflowClient, "log_batch", failing)
    with mlflow.start_run(), caplog.at_level(logging.WARNING, "ruri_kedro"):
        tracking.step_logger("x")(0, {"loss": 1.0, "lr": 1.0})
        tracking.flush_step_loggers()
    assert "2 metrics could not be sent" in caplog.text


def test_inputs_artifacts_metrics_and_tags_are_on_the_run(store):
    import mlflow

    (store / "plots").mkdir()
    (store / "plots" / "a.svg").write_text("<svg/>")
    (store / "report.md").write_text("# report")
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        tracking.log_input(run_id, "pairs", "0123456789abcdef01234567", 7, "pretraining", "/data/pairs")
        tracking.log_file(run_id, store / "plots")
        tracking.log_file(run_id, store / "report.md")
        tracking.log_metric_tree(run_id, {str(number): number for number in range(1500)}, "many")
        tracking.set_tags(run_id, {"recipe": "tiny"})
    found = mlflow.get_run(run_id)
    (logged,) = found.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("pairs", "0123456789abcdef01234567")
    assert json.loads(logged.dataset.profile) == {"num_rows": 7}
    assert {tag.key: tag.value for tag in logged.tags} == {"mlflow.data.context": "pretraining"}
    assert mlflow.data.get_source(logged.dataset).uri == "/data/pairs"
    assert found.data.metrics["many/1499"] == 1499 and found.data.tags["recipe"] == "tiny"
    names = [file.path for file in mlflow.tracking.MlflowClient().list_artifacts(run_id)]
    assert names == ["plots", "report.md"]


@pytest.fixture
def guarded(monkeypatch):
    """A local server that answers a health check to all, and everything else to one login only."""
    wanted = "Basic " + base64.b64encode("訓練 者:p/w@:1#".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            allowed = self.path == "/health" or self.headers.get("Authorization") == wanted
            body = json.dumps({"experiment": {"experiment_id": "7", "name": "Default", "lifecycle_stage": "active"}})
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode() if allowed else b"who are you")

        def log_message(self, *_):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back at the end
        monkeypatch.delenv(name)
    yield f"127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


def said(error: BaseException | None) -> str:
    """What an error and those that led to it say."""
    texts = []
    while error is not None:
        texts.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


LOGIN = "%E8%A8%93%E7%B7%B4%20%E8%80%85:p%2Fw%40%3A1%23"


@pytest.mark.parametrize("where", ["environment", "configuration"])
def test_a_login_in_the_address_is_used_and_taken_out_of_it(guarded, tmp_path, monkeypatch, where):
    from mlflow.tracking import MlflowClient

    given = f"http://{LOGIN}@{guarded}"
    if where == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    uri = tracking.tracking_uri(given if where == "configuration" else None, tmp_path)
    assert uri == f"http://{guarded}"
    assert LOGIN not in os.environ.get("MLFLOW_TRACKING_URI", "")
    tracking.check_server(uri)
    assert MlflowClient(uri).get_experiment_by_name("Default").experiment_id == "7"
    assert tracking.tracking_uri(uri, tmp_path) == uri  # the next one to ask finds the login where MLflow does


def test_a_wrong_login_is_refused_and_not_shown(guarded, tmp_path):
    uri = tracking.tracking_uri(f"http://someone:geheim@{guarded}", tmp_path)
    with pytest.raises(RegistryError, match=rf"http://{guarded} refuses the login\. Correct MLFLOW_TRACKING") as caught:
        tracking.check_server(uri)
    assert "geheim" not in said(caught.value)


def test_an_unreachable_server_is_named_without_the_login(guarded, tmp_path):
    uri = tracking.tracking_uri("http://someone:geheim@127.0.0.1:9/prefix", tmp_path)
    with pytest.raises(RegistryError, match=r"server http://127\.0\.0\.1:9/prefix cannot be reached") as caught:
        tracking.check_server(uri)
    assert "geheim" not in said(caught.value)


@pytest.mark.parametrize("password", ["ge/heim", "12/heim", "ge#heim", "12#he@im", "ge?heim", "ge@he/im", "ge]heim["])
def test_a_password_that_breaks_the_address_is_not_shown(guarded, tmp_path, password):
    with pytest.raises(RegistryError, match=r"server, http://host:5000, is not one .*write / \? # @") as caught:
        tracking.tracking_uri(f"http://someone:{password}@host:5000", tmp_path)
    shown = said(caught.value)
    assert "heim" not in shown and "someone" not in shown


def test_what_is_shown_of_an_address():
    assert tracking.shown("postgresql+psycopg2://mlflow:geheim@localhost/mlflow") == (
        "postgresql+psycopg2://localhost/mlflow"
    )
    for plain in ("http://host:5000", "sqlite:////home/a@b/mlflow.db"):
        assert tracking.shown(plain) == plain


def test_the_closing_lines_name_a_database_with_a_login_by_its_variable(tmp_path, monkeypatch):
    import mlflow

    from ruri_kedro.registry import summary

    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "postgresql://mlflow:geheim@localhost/mlflow")
    said = summary.closing_lines(None, tmp_path, None)
    assert "geheim" not in said and '--backend-store-uri "$MLFLOW_TRACKING_URI"' in said


@pytest.fixture
def run_id(tmp_path, monkeypatch):
    """A run in a store of its own."""
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("machine")
    with mlflow.start_run() as run:
        yield run.info.run_id


def test_a_run_is_described_by_the_first_lines_of_its_report(run_id):
    tracking.describe_run(run_id, "# Evaluation\n\n" + "\n".join(f"| {row} | 富士山 |" for row in range(500)))
    note = tracking.mlflow_client().get_run(run_id).data.tags["mlflow.note.content"]
    assert note.startswith("# Evaluation") and len(note.splitlines()) == 40


def test_the_machine_is_measured_until_it_is_told_to_stop(run_id):
    end = tracking.measure_machine(run_id, 0.2)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        metrics = tracking.mlflow_client().get_run(run_id).data.metrics
        if "system/cpu_utilization_percentage" in metrics:
            break
        time.sleep(0.2)
    end()
    assert "system/cpu_utilization_percentage" in metrics and "system/system_memory_usage_percentage" in metrics
