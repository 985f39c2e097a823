import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import wandb

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.reporting.contents import Choices
from kidney_lab.tasks.wandb_report import default_entity, project_of, save_in_wandb

KEY = "0123456789abcdef" * 2 + "01234567"


class FakeService(BaseHTTPRequestHandler):
    """Answers what saving a report and a workspace asks of W&B, and keeps the views that are saved."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent = json.loads(body) if self.path == "/graphql" else {"query": ""}  # else it tells how it is used
        answer = json.dumps({"data": self.answer(sent["query"], sent.get("variables") or {})}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, query, variables):
        if "upsertView" in query:
            self.server.views.append(variables)
            project = {"id": "p", "name": variables["projectName"], "entityName": variables["entityName"]}
            view = {"id": "VmlldzoxMjM=", "type": variables["type"], "name": variables["name"]}
            named = {"displayName": variables["displayName"], "description": "", "spec": variables["spec"]}
            return {"upsertView": {"view": {**view, **named, "updatedAt": None, "project": project}, "inserted": True}}
        if "GetProjects" in query:
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            return {"models": {"pageInfo": page, "edges": []}}
        if "upsertModel" in query or "UpsertProject" in query:
            return {"upsertModel": {"project": {"id": "p", "name": "kidney"}, "model": {"id": "p"}, "inserted": True}}
        return {"viewer": {"id": "u", "entity": "lab", "username": "someone", "flags": "{}"}, "serverInfo": None}

    def log_message(self, *args):
        pass


@pytest.fixture
def service(monkeypatch):
    """A service on this machine that the session is logged in to."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeService)
    server.views = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wandb.teardown()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    yield server
    wandb.teardown()
    server.shutdown()
    server.server_close()


def make_run(folder, **logged):
    folder.mkdir(parents=True)
    place = {"id": folder.name, "entity": None, "project": "kidney", "offline": False, "folders": ["wandb/run-1-a"]}
    data = {"name": "kits19", "split": "official", "split_hash": "a", "synthesized": False}
    record = {"name": folder.name, "status": "finished", "data": data, "stages": {}, "wandb": {**place, **logged}}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "epochs.csv").write_text("stage,epoch,step,train/loss\nfine,0,10,1.5\n")
    write_metrics(metrics_frame({"case_00001": {("tumor", "dice"): 0.5}}), folder)
    return folder


def test_a_report_and_a_workspace_are_saved_in_the_account_s_project(service, tmp_path, capsys):
    pytest.importorskip("wandb_workspaces")
    save_in_wandb([make_run(tmp_path / name) for name in ("first", "second")], Choices())

    report, workspace = service.views
    assert (report["type"], workspace["type"]) == ("runs", "project-view")
    for view in service.views:
        assert (view["entityName"], view["projectName"], view["displayName"]) == ("lab", "kidney", "2 runs")
        assert '"value":["first","second"]' in view["spec"]
    printed = capsys.readouterr().out
    assert "report     http" in printed
    assert "/lab/kidney/reports/2-runs--" in printed
    assert "workspace  http" in printed


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_nothing_is_saved_where_wandb_is_switched_off(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)

    with pytest.raises(InputError, match=rf"WANDB_MODE={mode} keeps away from it: unset WANDB_MODE\.$"):
        default_entity()


def test_without_a_key_of_an_account_nothing_is_saved(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no.netrc"))
    wandb.teardown()

    with pytest.raises(
        InputError, match=r"cannot be reached \(No API key .*\): run `wandb login`, or write the report"
    ):
        save_in_wandb([make_run(tmp_path / "first")], Choices())


def logged_run(path, **logged):
    place = {"project": "kidney", "entity": "lab", "folders": []}
    return SimpleNamespace(path=path, record={"wandb": {**place, **logged}})


def test_all_runs_must_be_in_one_project(tmp_path):
    runs = [logged_run(tmp_path), logged_run(tmp_path)]

    assert project_of(runs) == ("kidney", "lab")
    with pytest.raises(InputError, match=r"several projects of W&B \(lab/kidney; own/kidney\)"):
        project_of([*runs, logged_run(tmp_path, entity=None)])


def test_a_run_that_was_made_without_wandb_is_named(tmp_path):
    with pytest.raises(InputError, match=r"plain \(1 of 2 runs\) was made without it: train with logger=wandb"):
        project_of([logged_run(tmp_path), SimpleNamespace(path=tmp_path / "plain", record={})])


def test_a_run_that_was_not_uploaded_is_refused_until_it_is(tmp_path):
    folder = tmp_path / "wandb" / "offline-run-1-a"
    folder.mkdir(parents=True)
    run = logged_run(tmp_path, folders=["wandb/offline-run-1-a", "wandb/run-2-a"])
    with pytest.raises(InputError, match=rf"by `wandb sync {folder}`"):
        project_of([run])

    (folder / "run-a.wandb.synced").touch()

    assert project_of([run]) == ("kidney", "lab")
