from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from made_review import AWS, HOSTILE, TOKEN, empty_review, findings, made, made_review

from build import Made
from sentra_sandbox.review.content.search import Secret
from sentra_sandbox.review.findings import Confidence, Evidence, Finding, FindingClass, Severity
from sentra_sandbox.review.report import html, json_report, markdown, ocsf, sarif, terminal
from sentra_sandbox.review.report.behaviour import behaviour
from sentra_sandbox.review.report.masking import Masker
from sentra_sandbox.review.report.text import columns, middle_out, moment_text, visible
from sentra_sandbox.review.review import Review

SCHEMA = json.loads((Path(json_report.__file__).parent / "review.schema.json").read_text())
RENDERERS: list[Callable[..., str]] = [terminal.render, html.render, json_report.render, markdown.render, sarif.render, ocsf.render]
NAMES = [render.__module__.rpartition(".")[2] for render in RENDERERS]
ACTING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


class Page(HTMLParser):
    """What a browser would make of it: tags, ids, links, text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.hrefs: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.hrefs |= {value or "" for name, value in attrs if name == "href"}
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def review() -> Review:
    return made_review()


@pytest.mark.parametrize("render", RENDERERS, ids=NAMES)
@pytest.mark.parametrize("verbose", [False, True])
def test_no_report_shows_a_secret_or_lets_a_character_act(review: Review, render: Callable[..., str], verbose: bool) -> None:
    text = render(review, **({"verbose": verbose} if render is terminal.render else {}))
    assert AWS.decode() not in text and AWS.decode()[8:30] not in text and TOKEN not in text
    assert not ACTING.search(text)
    text.encode()


@pytest.mark.parametrize("render", [html.render, json_report.render, markdown.render], ids=["html", "json", "markdown"])
def test_secrets_are_shown_when_asked_for(review: Review, render: Callable[..., str]) -> None:
    assert "ghp" in render(review, show_secrets=True).replace("&#95;", "_") and "abcdefghijklmnopqrstuvwxyz0123456789" in render(review, show_secrets=True)


@pytest.mark.parametrize("render", RENDERERS, ids=NAMES)
def test_every_report_renders_the_smallest_review(render: Callable[..., str]) -> None:
    assert isinstance(render(empty_review()), str)
    assert isinstance(render(empty_review(verdict="incomplete", incomplete=["1 detector failed"])), str)


# ---- terminal


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 20), (100, 40), (200, 60)])
@pytest.mark.parametrize("colour", [False, True])
def test_the_terminal_report_fits_its_screen(review: Review, width: int, height: int, colour: bool) -> None:
    text = terminal.render(review, width=width, height=height, colour=colour)
    assert ("\033[" in text) == colour
    lines = re.sub(r"\033\[[\d;]*m", "", text).split("\n")
    assert len(lines) <= height + 1 and all(columns(line) <= width or "sentra-sandbox" in line for line in lines), text
    assert lines[0].startswith("FINDINGS: 1 critical, 1 high, 1 low")


def test_the_terminal_report_says_what_matters(review: Review) -> None:
    text = terminal.render(review, width=120, height=50)
    for part in ("SEN-001 Secret sent to a host (proven)", "#15 cat[102]: read ~/.aws/credentials", "agent.py:41 in upload", "~/.bashrc", "collector.evil.example 42 B out",
                 "gpt-x 1 call", "pip left-pad", "new   host collector.evil.example", "passed through unread", "--http 2", "--html review.html"):  # fmt: skip
        assert part in text, part
    assert "why: Bytes of a credential" in terminal.render(review, verbose=True)
    assert terminal.render(empty_review()).startswith("NO FINDINGS")


def test_many_findings_are_counted_on_one_screen() -> None:
    run = made()
    one = findings(run)[0]
    many = [Finding(one.kind, Severity.LOW, one.confidence, f"Number {n}.", str(n), one.evidence, 1) for n in range(5000)]
    text = terminal.render(made_review(run, findings=many))
    assert text.count("\n") <= 24 and re.search(r"and 4,99\d more findings: --verbose", text)


# ---- JSON


@pytest.mark.parametrize("show_secrets", [False, True])
def test_json_is_as_its_schema_says(review: Review, show_secrets: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    strict = json.loads(json.dumps(SCHEMA).replace('"type": "object", "required"', '"type": "object", "additionalProperties": false, "required"'))
    for one in (review, empty_review()):
        jsonschema.validate(json.loads(json_report.render(one, show_secrets=show_secrets)), strict)


def test_json_says_what_was_found(review: Review) -> None:
    value = json.loads(json_report.render(review))
    assert (value["verdict"], value["counts"]["critical"]) == ("findings", 1)
    first = value["findings"][0]
    assert (first["id"], first["severity"], first["confidence"], first["evidence"][1]["exchange"]) == ("SEN-001", "critical", "proven", 2)
    assert first["where"][-1] == "agent.py:41 in upload" and "value" not in value["secrets"][0]
    assert {host["name"]: host["declared"] for host in value["hosts"]}["pypi.org"] is True


def test_the_schema_is_documented() -> None:
    words = (Path(__file__).resolve().parents[3] / "docs" / "REVIEW_JSON.md").read_text()
    for key in SCHEMA["properties"]:
        assert f"`{key}`" in words, key


# ---- SARIF, OCSF, Markdown


def test_sarif_has_places_fingerprints_and_suppressions(review: Review) -> None:
    log = json.loads(sarif.render(review))
    assert log["version"] == "2.1.0" and len(log["runs"]) == 1
    run = log["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(run["results"]) == 4 and sorted(rules) == sorted(set(rules))
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"] and result["message"]["text"] and result["locations"]
        assert re.fullmatch("[0-9a-f]{16}", result["partialFingerprints"]["sentraFinding/v1"])
    leak, hook, shell, suppressed = run["results"]
    place = leak["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("agent.py", 41)
    assert hook["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == ".git/hooks/pre-commit"
    assert shell["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "agent.py"
    assert [s["kind"] for s in suppressed["suppressions"]] == ["external"] and "suppressions" not in leak
    assert [step["executionOrder"] for step in leak["codeFlows"][0]["threadFlows"][0]["locations"]] == [1, 2]
    assert any("bank.example" in note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"])


def test_ocsf_events_are_detection_findings(review: Review) -> None:
    events = [json.loads(line) for line in ocsf.render(review).splitlines()]
    assert len(events) == 4
    for event in events:
        assert (event["class_uid"], event["category_uid"], event["type_uid"]) == (2004, 2, 200401)
        assert event["metadata"]["version"] == "1.5.0" and event["metadata"]["product"]["name"]
        assert 1 <= event["severity_id"] <= 5 and event["finding_info"]["uid"] and event["time"] > 1_700_000_000_000
    assert events[0]["finding_info"]["attacks"][0] == {"technique": {"uid": "T1552"}, "sub_technique": {"uid": "T1552.001"}}
    assert [event["status_id"] for event in events] == [1, 1, 1, 3]
    assert ocsf.render(empty_review()) == ""


def test_markdown_is_no_markup_of_the_runs(review: Review) -> None:
    text = markdown.render(review)
    assert "| **critical** | SEN-001 Secret sent to a host |" in text and "<details>" in text
    assert "<i>" not in text and "<b>four" not in text
    assert text.count("<details>") == text.count("</details>")
    hostile = FindingClass("SEN-9", "a|b", "policy", Severity.LOW, "@everyone see [x](http://evil.example) <!-- `", "#1")
    run = made()
    found = Finding(hostile, Severity.LOW, Confidence.LOW, "x | y\n# no\n@all", "s", (Evidence(1, "`|`"),), 1)
    text = markdown.render(made_review(run, findings=[found]))
    assert "@" not in text.replace("&#64;", "") and "](" not in text and "<!--" not in text and "\n# no" not in text
    rows = [line for line in text.splitlines() if line.startswith("| **low**")]
    assert rows and rows[0].count("|") == 5


def test_markdown_stays_below_the_limit_of_a_comment() -> None:
    run = made()
    one = findings(run)[2]
    many = [Finding(one.kind, one.severity, one.confidence, f"{n} " + "|" * 4000, str(n), one.evidence * 200, 1) for n in range(500)]
    assert len(markdown.render(made_review(run, findings=many))) < 65_536


# ---- HTML


def test_html_is_well_formed_and_its_links_lead_somewhere(review: Review) -> None:
    page = Page(html.render(review))
    assert not page.open and len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags and not page.attributes & {"style", "onclick", "onload", "onerror"} and "img" not in page.tags
    inner = {href[1:] for href in page.hrefs if href.startswith("#")}
    assert inner <= set(page.ids) and {f"e{15}", "f1", "x2", "p1"} <= inner
    assert {href for href in page.hrefs if not href.startswith("#")} == {"data:,"}
    assert "\\u202e" in page.text and "<script>alert(1)</script>" in page.text  # as text
    for part in ("Secret sent to a host", "gpt-x", "run_shell", "-two", "+2", "+<b>four</b>", "/home/dev/.bashrc", "link-local", "PTRACE_ATTACH"):
        assert part in page.text, part


def test_html_forbids_everything_but_its_own_style(review: Review) -> None:
    text = html.render(review)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy and policy[1].startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy[1] and "script" not in policy[1]
    assert text.count("<style>") == 1


@pytest.mark.parametrize("text", [HOSTILE, "</pre></details></main><script>x</script>", "--><svg onload=x>", "\0\x1b]0;x\x07\u2066", "\udcff\udc80", "&lt;&#60;", "a" * 100_000, "]]>", "'\""])
def test_html_of_hostile_texts_stays_whole(text: str) -> None:
    run = Made((text, text))
    agent = run.process("/bin/" + text, text)
    run.read(agent, "a/" + text, text.encode("utf-8", "surrogatepass"))
    run.write(agent, "a/" + text, b"1\n" + text.encode("utf-8", "surrogatepass"))
    run.call(agent, "ptrace", text, refused=True)
    wire = text.encode("utf-8", "surrogatepass").decode("latin-1")[:3000].replace("\n", " ")
    run.net.dns(text[:200])
    run.net.chat(agent, [{"role": text, "content": text}], says=text, calls=[(text, {text: text})])
    run.net.http(agent, "h.example", "POST", "/" + wire, text.encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass"), media="text/html", headers={"X": wire})
    kind = FindingClass(text, text, text, Severity.LOW, text, text, (text,), (text,), text)
    found = Finding(kind, Severity.LOW, Confidence.LOW, text, text, (Evidence(1, text, 101, excerpt=text), Evidence(run.net.events[0].seq, text, exchange=1)), agent)
    review = made_review(made(), facts=run.facts(), findings=[found], suppressed=[(found, text)], new=[text], incomplete=[text], where={found.fingerprint: [text]})
    markup = html.render(review)
    page = Page(markup)
    assert not page.open and not page.tags & {"script", "img", "iframe", "object"} and not ACTING.search(markup)
    assert not {name for name in page.attributes if name.startswith("on")}
    for render in RENDERERS:
        render(review).encode()


def test_html_of_a_huge_run_is_bounded() -> None:
    run = Made()
    agent = run.process("/usr/bin/python3", "agent.py")
    for n in range(2000):
        run.process(f"/usr/bin/tool{n}", "x" * 400, parent=n % 50 + 1)
    for n in range(6000):
        run.write(agent, f"out/{'d' * 200}/{n}", b"line\n" * 20)
    for n in range(300):
        run.net.http(agent, f"host{n}.example", "POST", "/" + "p" * 2000, b"b" * 20_000, b"<" * 20_000, media="text/plain", answer_media="text/plain")
    one = findings(made())[2]
    evidence = tuple(Evidence(event.seq, "<" * 1500, 101, excerpt="&" * 500) for event in run.net.events[:40])
    many = [Finding(one.kind, one.severity, one.confidence, "<" * 3000, str(n), evidence, 1) for n in range(1000)]
    text = html.render(made_review(made(), facts=run.facts(), findings=many, where={}))
    assert 2_000_000 < len(text.encode()) < 10_000_000
    assert not Page(text).open
    for what in ("more findings", "more files", "more processes", "more exchanges", "more written files"):
        assert what in text, what


# ---- what they share


def test_what_a_run_did_is_counted() -> None:
    run = made()
    does = behaviour(run.facts())
    assert {use.path for use in does.outside} == {"/home/dev/.bashrc", "/srv/data/old.db"}
    assert [use.path for use in does.deleted] == ["/srv/data/old.db"]
    assert [(install.manager, install.what) for install in does.installs] == [("pip", ("left-pad",))]
    hosts = {use.name: use for use in does.hosts}
    assert hosts["pypi.org"].declared is True and hosts["collector.evil.example"].declared is False and hosts["198.18.0.9"].refused == 1
    assert does.refused_calls == 1 and does.models[0].tool_calls == 1


@pytest.mark.parametrize("argv", [("npm", "ci"), ("/usr/bin/python3", "-m", "pip", "install", "x"), ("node", "/usr/lib/npm-cli.js", "install"), ("uv", "pip", "install", "x"), ("npx", "-y", "create-x")])
def test_installs_are_recognised(argv: tuple[str, ...]) -> None:
    run = Made()
    run.exec(run.process(argv[0]), argv[0], *argv[1:], argv0=argv[0])
    assert len(behaviour(run.facts()).installs) >= 1


@pytest.mark.parametrize("argv", [("pip", "list"), ("npm", "test"), ("grep", "pip", "install"), ("git", "add", "x")])
def test_other_commands_are_no_installs(argv: tuple[str, ...]) -> None:
    run = Made()
    run.process("/usr/bin/" + argv[0], *argv[1:])
    found = [install for install in behaviour(run.facts()).installs if install.manager not in ("pip",) or argv[0] == "pip"]
    assert not found


def mask(text: str, *values: bytes) -> str:
    return Masker(Secret("s", "canary", value, 1, 1) for value in values)(text)


def test_known_secrets_are_masked_in_every_form_and_in_part() -> None:
    import base64
    from urllib.parse import quote

    value = b"correct+horse/battery=staple 77"
    whole = [base64.b64encode(b"x" * n + value + b"tail") for n in range(3)] + [base64.urlsafe_b64encode(value), base64.b32encode(value)]
    forms = [value, value[5:20], value[::-1], value.hex().encode(), value.hex().upper().encode(), quote(value, safe="").encode(), *whole]
    for form in forms:
        text = mask(f"before {form.decode()} after", value)
        assert "***" in text and text.startswith("before ") and text.endswith(" after"), form
        longest = max(len(part) for part in re.split(r"\*\*\*|before | after", text))
        assert longest <= 12, (form, text)
    assert mask("nothing of it is here, correct?", value) == "nothing of it is here, correct?"
    assert mask("pin 123456 sent", b"123456") == "pin *** sent"


@pytest.mark.parametrize(
    "text",
    ["AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", '{"api_key": "abcdef123456"}', '{\\"api_key\\": \\"abcdef123456\\"}', "Authorization: Bearer abcdefghijklmnop", "https://user:secretpw@host/", "password: hunter2hunter2", "--api-key=abcdefgh"],
)
def test_what_is_named_a_secret_is_masked(text: str) -> None:
    masked = Masker()(text)
    assert "***" in masked and not any(part in masked for part in ("wJalr", "abcdef", "secretpw", "hunter2h"))


def test_a_private_key_is_masked() -> None:
    text = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nAAAA\n-----END OPENSSH PRIVATE KEY-----"
    assert "b3Blbn" not in Masker()(text) and Masker(show_secrets=True)(text) == text


@pytest.mark.parametrize("text", ["max_tokens: 100000", "tokenizer = gpt-x-tokenizer", "the secret garden", "secrets/README.md"])
def test_ordinary_words_are_not_masked(text: str) -> None:
    assert Masker()(text) == text


def test_masking_takes_time_in_proportion() -> None:
    import time

    began = time.monotonic()
    for text in ("a" * 200_000, "secret" * 30_000, "x_token:" * 20_000, "-----BEGIN PRIVATE KEY-----" * 3000, "bearer " * 20_000):
        mask(text, b"some secret value that is long", *(f"secret number {n} is this".encode() for n in range(200)))
    assert time.monotonic() - began < 5


def test_texts() -> None:
    assert visible("a\x1b[2J\u202eb\ud800\udcff") == "a\\x1b[2J\\u202eb\\ud800\\xff"
    assert visible("é漢 ok") == "é漢 ok"
    assert middle_out("/a/very/long/path/to/the/file.txt", 20).endswith("file.txt") and len(middle_out("x" * 100, 20)) == 20
    assert moment_text(184_000_000) == "0.184s" and moment_text(125_100_000_000) == "2m05.1s"
    assert columns("漢字") == 4


def same(value: Any, other: Any) -> bool:
    return json.dumps(value) == json.dumps(other)


def test_reports_are_pure(review: Review) -> None:
    for render in RENDERERS:
        assert same(render(review), render(review))
