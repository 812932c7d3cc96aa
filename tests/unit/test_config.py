"""A configuration is read as YAML 1.2 means it, checked by name, and every mistake is one line with its cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workerhost import ConfigError
from workerhost.config import monitoring, schema
from workerhost.config.document import read
from workerhost.config.limits import Breaker
from workerhost.config.loading import check, find, load
from workerhost.config.policy import Policy, Retry
from workerhost.config.section import Section
from workerhost.workers.source import Source

SEED_WORKER = """\
worker:
  type: video
  max_concurrent: 5
  timeout: 300
  retry:
    max_attempts: 3
    backoff: exponential
"""
SEED_QUEUE = """\
queue:
  type: priority
  max_size: 1000
  persistence: sqlite
  database: tasks.db
"""
SEED_MONITORING = """\
monitoring:
  enabled: true
  metrics:
    - task_duration
    - success_rate
    - queue_depth
  alerts:
    queue_depth_high: 100
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file and returns its path."""

    def file(text: str) -> Path:
        path = tmp_path / "workerhost.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return file


def complaint(source: Path | dict[str, Any], environ: dict[str, str] | None = None) -> str:
    """The one line that a wrong configuration is refused with, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(source, environ)
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(f"{source.parent}/", "") if isinstance(source, Path) else line


# The seed and the sample ------------------------------------------------------------------------------------------


def test_the_seeds_worker_takes_effect(write: Write) -> None:
    settings = load(write(SEED_WORKER))

    tree = settings.policies()
    assert tree.effective("video") == Policy(timeout=300.0, retry=Retry(max_attempts=3, backoff="exponential"))
    assert tree.max_concurrent("video") == 5
    assert tree.origin("video.youtube")["timeout"] == "video"
    assert "timeout" not in tree.origin("audio")


def test_the_seeds_queue_takes_effect(write: Write, tmp_path: Path) -> None:
    settings = load(write(SEED_QUEUE))

    assert (settings.queue.type, settings.queue.max_size) == ("priority", 1000)
    assert settings.database() == tmp_path / "tasks.db"


def test_the_seeds_monitoring_takes_effect(write: Write) -> None:
    assert load(write(SEED_MONITORING)).queue_depth_high() == 100
    assert load(write(SEED_MONITORING.replace("true", "false"))).queue_depth_high() is None


def test_the_seeds_snippets_load_together(write: Write) -> None:
    settings = load(write(SEED_WORKER + SEED_QUEUE + SEED_MONITORING))

    assert settings.nodes["video"]["timeout"] == 300.0
    assert settings.queue.max_size == 1000
    assert settings.queue_depth_high() == 100


SAMPLE = Path(schema.__file__).with_name("workerhost_config.yaml")


def keys(section: type[Section]) -> set[str]:
    """The keys of a section as they are written in a file."""
    return {field.alias or name for name, field in section.model_fields.items()}


def test_the_sample_loads_and_holds_every_key() -> None:
    load(SAMPLE)
    data = read(SAMPLE.read_text(encoding="utf-8")).data

    assert set(data) == keys(schema.Settings)
    assert set(data["pool"]) == keys(schema.PoolSettings)
    assert set(data["queue"]) == keys(schema.QueueSettings)
    assert set(data["host"]) == keys(schema.HostSettings)
    assert set(data["defaults"]) == keys(schema.NodeDefaults)
    assert set(data["defaults"]["retry"]) == keys(schema.RetrySettings)
    assert set(data["logging"]) == keys(schema.LoggingSettings)
    assert set(data["monitoring"]) == keys(schema.MonitoringSettings)
    assert set(data["monitoring"]["alerts"]) == keys(monitoring.AlertSettings) | {"error_rate_above", "video"}
    assert set(data["monitoring"]["objectives"]) == keys(monitoring.ObjectiveSettings)
    nodes = [*data["workers"].values(), *data["workers"]["video"]["platforms"].values(), data["worker"]]
    assert {key for node in nodes for key in node} | set(data["defaults"]) == keys(schema.SeedWorker)
    assert {key for entry in data["hosts"].values() for key in entry} == keys(schema.HostEntry)


def test_what_the_sample_calls_a_default_is_one() -> None:
    """Every value of the sample whose comment does not say otherwise is what an empty configuration means."""
    sample, empty = load(SAMPLE), load({})

    assert sample.pool == empty.pool
    assert sample.queue.model_copy(update={"database": None, "ageing": None}) == empty.queue
    assert sample.policies().effective("text") == Policy(isolation="process", concurrency=1, breaker=Breaker())
    assert empty.policies().effective("text") == Policy()
    assert sample.logging == empty.logging
    assert (sample.host.drain_timeout, sample.host.join) == (empty.host.drain_timeout, empty.pool.bind)
    examples = {"alerts": empty.monitoring.alerts, "objectives": empty.monitoring.objectives}
    assert sample.monitoring.model_copy(update=examples) == empty.monitoring


# The tree ---------------------------------------------------------------------------------------------------------


def test_nested_and_dotted_nodes_are_one_tree(write: Write) -> None:
    settings = load(
        write("""\
workers:
  video:
    class: "my.video:Video"
    platforms:
      youtube:
        timeout: 1m
        endpoints: {shorts: {timeout: 5s, cut_off: stop}, channel: {}}
  video.youtube: {max_concurrent: 2}
  audio.spotify: {endpoints: {track: {crash_limit: 1}}}
worker: {type: video, timeout: 1h}
""")
    )

    assert settings.nodes == {
        "video": {"code": "my.video:Video", "timeout": 3600.0},
        "video.youtube": {"timeout": 60.0, "max_concurrent": 2},
        "video.youtube.shorts": {"timeout": 5.0, "cut_off": None},
        "video.youtube.channel": {},
        "audio.spotify": {},
        "audio.spotify.track": {"crash_limit": 1},
    }
    assert settings.sources() == {"video": Source("my.video:Video")}
    assert settings.policies().effective("video.youtube.shorts") == Policy(
        timeout=5.0, cut_off=None, code="my.video:Video"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "workers:\n  video: {timeout: 1m}\nworker:\n  type: video\n  timeout: 2m\n",
            "workerhost.yaml:5: worker.timeout is set a second time for video and differs; remove one",
        ),
        (
            "workers:\n  video.youtube:\n    platforms: {x: {}}\n",
            (
                "workerhost.yaml:3: workers.video.youtube.platforms belongs under a media type such as video, "
                "not under video.youtube"
            ),
        ),
        (
            "workers:\n  video:\n    endpoints: {x: {}}\n",
            (
                "workerhost.yaml:3: workers.video.endpoints belongs under a platform such as video.youtube, "
                "not under video"
            ),
        ),
        (
            "workers:\n  video:\n    platforms:\n      a.b: {}\n",
            "workerhost.yaml:4: workers.video.platforms.a.b is one part, not a path; write its node as video.a.b",
        ),
        (
            "worker:\n  max_concurrent: 5\n",
            "workerhost.yaml:1: worker has no `type`; add one, or write `defaults:` to mean every type",
        ),
        (
            "workers:\n  a.b.c.d: {}\n",
            (
                'workerhost.yaml:2: workers.a.b.c.d "a.b.c.d" is not a type; write one to three parts such as '
                "video.youtube.channel (letters, digits, _ and -)"
            ),
        ),
    ],
)
def test_nodes_that_cannot_be(write: Write, text: str, expected: str) -> None:
    assert complaint(write(text)) == expected


def test_the_whole_document_loads_again_to_the_same(tmp_path: Path) -> None:
    for source in (SAMPLE, {}, {"queue": {"persistence": "memory"}, "defaults": {"timeout": None, "cut_off": "stop"}}):
        document = load(source).document()
        file = tmp_path / "again.json"
        file.write_text(json.dumps(document))

        assert load(file).document() == document
        assert load(file).policies().effective("video.x") == load(source).policies().effective("video.x")


# Mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("queue:\n  maxsize: 5\n", "workerhost.yaml:2: queue.maxsize is an unknown key; did you mean max_size?"),
        ("que: {}\n", "workerhost.yaml:1: que is an unknown key; did you mean queue?"),
        (
            "workers:\n  video.youtube:\n    max_concurent: 2\n",
            "workerhost.yaml:3: workers.video.youtube.max_concurent is an unknown key; did you mean max_concurrent?",
        ),
        (
            "workers:\n  video:\n    platforms:\n      youtube:\n        retry:\n          tries: 2\n",
            (
                "workerhost.yaml:6: workers.video.platforms.youtube.retry.tries is an unknown key; "
                "known here: max_attempts, backoff, base, cap, jitter, on"
            ),
        ),
        (
            "worker: {type: video, timeut: 5}\n",
            "workerhost.yaml:1: worker.timeut is an unknown key; did you mean timeout?",
        ),
        (
            "hosts: {gpu-1: {serves: [a]}}\n",
            "workerhost.yaml:1: hosts.gpu-1.serves is an unknown key; did you mean serve?",
        ),
        (
            "monitoring: {alerts: {notify: [log, {command: [a], comand: 1}]}}\n",
            "workerhost.yaml:1: monitoring.alerts.notify[1].comand is an unknown key; did you mean command?",
        ),
        (
            "monitoring: {alerts: {notify: [5]}}\n",
            "workerhost.yaml:1: monitoring.alerts.notify[0] 5 is not a mapping; write `key: value` lines below it",
        ),
        ("queue:\n  type: lifo\n", 'workerhost.yaml:2: queue.type "lifo" is not supported; use priority or fifo'),
        ("queue:\n  max_size: many\n", 'workerhost.yaml:2: queue.max_size "many" is not a whole number'),
        ("queue:\n  max_size: '5'\n", 'workerhost.yaml:2: queue.max_size "5" is not a whole number'),
        ("queue:\n  max_size: true\n", "workerhost.yaml:2: queue.max_size true is not a whole number"),
        ("queue:\n  max_size: 0\n", "workerhost.yaml:2: queue.max_size 0 is too small; at least 1"),
        ("queue: 5\n", "workerhost.yaml:1: queue 5 is not a mapping; write `key: value` lines below it"),
        ("queue: []\n", "workerhost.yaml:1: queue [] is not a mapping; write `key: value` lines below it"),
        ("monitoring:\n  enabled: yes\n", 'workerhost.yaml:2: monitoring.enabled "yes" is not true or false'),
        (
            "monitoring:\n  metrics:\n    - task_duration\n    - speed\n",
            (
                'workerhost.yaml:4: monitoring.metrics[1] "speed" is not supported; '
                "use task_duration, success_rate or queue_depth"
            ),
        ),
        (
            "pool: {lost_after: 1500ms}\n",
            "workerhost.yaml:1: pool.lost_after must be at least twice the heartbeat (2s)",
        ),
        (
            "pool: {bind: 'localhost:7470'}\n",
            (
                'workerhost.yaml:1: pool.bind "localhost:7470" is not an address; '
                "write tcp://127.0.0.1:7470 or ipc:///run/workerhost.sock"
            ),
        ),
        (
            "queue: {persistence: memory, database: x.db}\n",
            "workerhost.yaml:1: queue.database is of no use with `persistence: memory`; remove one of the two",
        ),
        (
            "host:\n  slots: {video: 0}\n",
            (
                'workerhost.yaml:2: host.slots {"video": 0} is not a number of slots; '
                "write 4, or {video: 4, audio: 2} (each from 1 to 4096)"
            ),
        ),
        (
            "workers: {video: {class: VideoWorker}}\n",
            'workerhost.yaml:1: workers.video.class "VideoWorker" is not a class; write my.module:Class',
        ),
        ("version: 2\n", "workerhost.yaml:1: version 2 is not supported; use 1"),
        ("- a\n", "workerhost.yaml: is not a mapping; write sections such as `queue:` with keys below them"),
        ("queue: {}\nqueue: {}\n", "workerhost.yaml:2: the key queue stands here a second time; remove one"),
        (
            "queue:\n\tmax_size: 5\n",
            (
                "workerhost.yaml:2: not valid YAML: found character '\\t' that cannot start any token; "
                "indent with spaces, not with a tab"
            ),
        ),
        (
            "queue: {database: ${NAME}}\n",
            (
                "workerhost.yaml:1: not valid YAML: expected ',' or '}', but got '{'; "
                'between { } write it in quotes: "${NAME}"'
            ),
        ),
        (
            "queue: !!python/object/apply:os.system [x]\n",
            (
                "workerhost.yaml:1: the tag tag:yaml.org,2002:python/object/apply:os.system is not allowed here; "
                "write plain values"
            ),
        ),
        ("a: 1\n---\nb: 2\n", "workerhost.yaml:2: not valid YAML: but found another document"),
    ],
)
def test_a_mistake_is_one_line_with_place_key_and_cure(write: Write, text: str, expected: str) -> None:
    assert complaint(write(text)) == expected


@pytest.mark.parametrize("value", ["0", "-1", "5 m", "1w", "m", "true", ".inf", ".nan", "[5]", "99999d", "1e999"])
def test_what_is_no_duration(write: Write, value: str) -> None:
    assert "workerhost.yaml:1: defaults.timeout " in complaint(write(f"defaults: {{timeout: {value}}}"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1.5", 1.5),
        ("7", 7.0),
        ("null", None),
    ],
)
def test_durations(write: Write, value: str, expected: float | None) -> None:
    assert load(write(f"defaults: {{timeout: {value}}}")).policies().effective("x").timeout == expected


def test_all_mistakes_are_told_by_check_and_the_first_by_load(write: Write) -> None:
    file = write("queue:\n  type: lifo\n  max_size: 0\npool:\n  bind: 5\n")

    lines = check(file)
    assert [line.split(" ")[1] for line in lines] == ["pool.bind", "queue.type", "queue.max_size"]
    assert complaint(file).endswith("(and 2 more: workerhost config check)")
    assert check(write(SEED_QUEUE)) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent.yaml", "no such file; name one with -c FILE or $WORKERHOST_CONFIG"),
        (".", "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, expected: str) -> None:
    assert check(tmp_path / name) == [f"{tmp_path / name}: {expected}"]


def test_texts_that_are_too_much(tmp_path: Path, write: Write) -> None:
    assert "more than 100000 values" in complaint(write("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
    )))  # fmt: skip
    assert "nested too deeply" in complaint(write("a: " + "[" * 100_000))
    assert "levels" in complaint(write("a: &a [*a]"))
    assert "larger than" in complaint(write("#" * 1_100_000))
    (tmp_path / "workerhost.yaml").write_bytes(b"a: \xff")
    assert "is not UTF-8" in complaint(tmp_path / "workerhost.yaml")
    assert "not valid YAML" in complaint(write("a: \x00"))


# The environment, and where a configuration comes from -------------------------------------------------------------


def test_the_environment_is_put_in_after_parsing(write: Write, tmp_path: Path) -> None:
    file = write(
        "queue: {max_size: 7}\nhost:\n  name: ${NAME}\n  serve: ['${FIRST}.x', b]\npool:\n  lost_after: ${LOST}\n"
    )

    settings = load(file, {"NAME": "host-1", "FIRST": "video", "LOST": "30"})
    assert (settings.host.name, settings.host.serve, settings.pool.lost_after) == ("host-1", ["video.x", "b"], 30.0)
    assert complaint(file, {"NAME": "a: {b: c}", "FIRST": "x", "LOST": "9"}).startswith(
        'workerhost.yaml:3: host.name "a: {b: c}" is not a host name'
    )
    assert complaint(file, {"NAME": "a", "FIRST": "x"}) == (
        "workerhost.yaml:6: the environment variable LOST is not set; set it, or write the value instead"
    )


def test_variables_override_the_file(write: Write) -> None:
    file = write("queue: {max_size: 7}\nworkers: {Video: {timeout: 5}}\n")

    settings = load(
        file,
        {
            "WORKERHOST__QUEUE__MAX_SIZE": "9",
            "WORKERHOST__HOST__SERVE": "[video, audio]",
            "WORKERHOST__WORKERS__VIDEO__TIMEOUT": "1m",
            "WORKERHOST__LOGGING__LEVEL": "debug",
            "WORKERHOST_ADDRESS": "not of interest",
        },
    )
    assert settings.queue.max_size == 9
    assert settings.host.serve == ["video", "audio"]
    assert settings.nodes == {"Video": {"timeout": 60.0}}
    assert settings.logging.level == "DEBUG"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("QUEUE__MAXSIZE", "9", "queue.maxsize is an unknown key; did you mean max_size?"),
        ("QUEUE__MAX_SIZE", "x", 'queue.max_size "x" is not a whole number'),
        ("QUEUE__", "x", "names no key; write WORKERHOST__QUEUE__MAX_SIZE for queue.max_size"),
        ("VERSION__X__Y", "1", "names no key; write WORKERHOST__QUEUE__MAX_SIZE for queue.max_size"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, expected: str) -> None:
    assert complaint({"version": 1}, {f"WORKERHOST__{name}": value}) == f"WORKERHOST__{name}: {expected}"


def test_a_dict_is_as_good_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"queue": {"max_size": "${SIZE}", "database": "x.db"}, "host": {"slots": {"video": 2}, "serve": ("a", "b")}}

    settings = load(given, {"SIZE": "5"})
    assert (settings.queue.max_size, settings.host.serve) == (5, ["a", "b"])
    assert settings.database() == tmp_path / "x.db"
    assert given["queue"]["max_size"] == "${SIZE}", "what was given is not changed"
    assert complaint({"queue": {"typ": 1}}) == "configuration: queue.typ is an unknown key; did you mean type?"


def test_a_json_file_is_read_as_json(tmp_path: Path) -> None:
    file = tmp_path / "pool.json"
    file.write_text(json.dumps({"queue": {"max_size": 5}}, indent="\t"))
    assert load(file).queue.max_size == 5

    file.write_text('{"queue": {"max_size": 5}')
    assert complaint(file) == "pool.json:1: not valid JSON: Expecting ',' delimiter"


def test_the_file_that_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Write) -> None:
    monkeypatch.chdir(tmp_path)
    assert find({}) is None
    assert load().source is None

    write(SEED_QUEUE)
    assert find({}) == Path("workerhost.yaml")
    assert load().queue.max_size == 1000
    assert load().database() == tmp_path / "tasks.db"

    other = tmp_path / "other.yaml"
    other.write_text("queue: {max_size: 3}")
    assert load(None, {"WORKERHOST_CONFIG": str(other)}).queue.max_size == 3
    assert load(None, {"WORKERHOST_CONFIG": str(other)}).source == other


def test_where_the_queue_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({}).database() == tmp_path / "tasks.db"
    assert load({}).database(embedded=True) is None
    assert load({"queue": {"persistence": "sqlite"}}).database(embedded=True) == tmp_path / "tasks.db"
    assert load({"queue": {"database": "/x/y.db"}}).database(embedded=True) == Path("/x/y.db")
    assert load({"queue": {"persistence": "memory"}}).database() is None


def test_hosts_by_name_are_plain_data() -> None:
    settings = load({"hosts": {"gpu-*": {"slots": 4, "not": "ml"}, "b": {}}})

    assert settings.host_entries() == {"gpu-*": {"slots": {"": 4}, "not": ["ml"]}, "b": {}}
    assert "is not a host's name or pattern" in complaint({"hosts": {"a b": {}}})
