"""What goes wrong around a release and what a person is told: another server, a lost pool, a model that goes away."""

import json
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect_server import ROOT, ask, submit

from exporters.errors import BadInput, Broken

DIGITS = ROOT / "examples" / "digits" / "digits.keras"

pytestmark = pytest.mark.slow


@contextmanager
def answering(body):
    """A server on loopback that says the same to every GET; gives the address of what would be Prefect's API."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


@contextmanager
def client_of(api):
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: TID251 - the address is a setting

    from flows.prefect.server import connected

    with temporary_settings({PREFECT_API_URL: api}), connected() as client:
        yield client


def test_a_server_of_another_major_version_is_told_before_anything_is_sent():
    with (
        answering(b'"2.20.4"') as api,
        pytest.raises(Broken, match=r"is version 2\.20\.4, the client here 3\."),
        client_of(api),
    ):
        pass


def test_what_is_no_prefect_api_is_told():
    with (
        answering(b"<html>") as api,
        pytest.raises(Broken, match="does not answer as Prefect's API") as error,
        client_of(api),
    ):
        pass
    assert "http://127.0.0.1:4200/api" in error.value.next_step


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(Broken, match="the Prefect server failed: "), client_of("http://127.0.0.1:9/api"):
        pass


def test_a_deployment_whose_pool_is_gone_takes_no_model(server, deployed):
    from flows.prefect.submit import require_deployment

    flow = deployed[0]["manual"]["flow_id"]
    ask(f"{server}/work_pools/", {"name": "short-lived", "type": "process"})
    ask(f"{server}/deployments/", {"name": "orphan", "flow_id": flow, "work_pool_name": "short-lived"})
    with client_of(server) as client:
        require_deployment(client, "release/orphan")
        ask(f"{server}/work_pools/short-lived", method="DELETE")
        with pytest.raises(BadInput, match=r"'release/orphan' at .* has lost its work pool"):
            require_deployment(client, "release/orphan")


def test_a_model_that_goes_away_before_its_run_ends_as_bad_input_and_is_another_run_when_it_is_back(
    server, worker, home, bucket, quick
):
    model, out = quick.with_name("gone.keras"), quick.with_name("gone.release")
    shutil.copy(DIGITS, model)
    ours = (model, "--config", quick, "-o", out, "--json")
    sent = (model, "--config", quick, "-o", quick.with_name("sent.release"), "--storage", "s3://models/short", "--json")
    queue = next(q["id"] for q in ask(f"{server}/work_pools/paritygate/queues/filter", {}) if q["name"] == "cpu")
    ask(f"{server}/work_queues/{queue}", {"is_paused": True}, method="PATCH")
    try:
        runs = [json.loads(submit(server, home, *given, **bucket.environment())[1])["run"] for given in (ours, sent)]
        model.unlink()
        bucket.files().rm("models/short", recursive=True)
    finally:
        ask(f"{server}/work_queues/{queue}", {"is_paused": False}, method="PATCH")
    from flows.prefect.submit import follow, look

    with client_of(server) as client:
        ended = [follow(look(client, run), lambda _: None) for run in runs]
    assert [(end.state, end.exit_code) for end in ended] == [("Bad input", 2)] * 2
    assert "gone.keras: no such file" in ended[0].message
    assert "no complete bundle is there" in ended[1].message
    assert not out.exists()
    shutil.copy(DIGITS, model)
    code, said, err = submit(server, home, *ours, "--wait")
    assert code == 0, err
    assert json.loads(said)["run"] != runs[0]
