"""What the project's first page promises, in a `with` block: its worker patterns and configuration, as printed."""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from workerhost import BaseWorker, QueueFull, Result, Task, TaskFailed, WorkerHost, worker

SECONDS = 10.0
"""Longer than anything here takes; a wait of that length has failed."""

SEED = """
### Basic Worker Implementation
```python
class MyWorker(BaseWorker):
    def can_handle(self, task: Task) -> bool:
        \"""Check if worker can handle task\"""
        return task.type == 'my_type'
    
    def execute(self, task: Task) -> Result:
        \"""Execute task\"""
        # Implementation
        return Result(success=True)
```

### Worker with Cleanup
```python
class MyWorker(BaseWorker):
    def execute(self, task: Task) -> Result:
        try:
            # Do work
            return Result(success=True)
        finally:
            self.cleanup()
    
    def cleanup(self):
        \"""Cleanup resources\"""
        pass
```

### Worker with Progress Reporting
```python
class MyWorker(BaseWorker):
    def execute(self, task: Task) -> Result:
        for i in range(100):
            # Do work
            self.report_progress(i / 100)
        return Result(success=True)
```

### Basic Worker Config
```yaml
worker:
  type: video
  max_concurrent: 5
  timeout: 300
  retry:
    max_attempts: 3
    backoff: exponential
```

### Task Queue Config
```yaml
queue:
  type: priority
  max_size: 1000
  persistence: sqlite
  database: tasks.db
```

### Monitoring Config
```yaml
monitoring:
  enabled: true
  metrics:
    - task_duration
    - success_rate
    - queue_depth
  alerts:
    queue_depth_high: 100
```
"""  # noqa: W293  # as printed

PYTHON = re.findall(r"```python\n(.*?)```", SEED, re.DOTALL)
WORKER_CONFIG, QUEUE_CONFIG, MONITORING_CONFIG = re.findall(r"```yaml\n(.*?)```", SEED, re.DOTALL)


def pattern(number: int) -> Any:
    """The class of one of the patterns."""
    names: dict[str, Any] = {"BaseWorker": BaseWorker, "Task": Task, "Result": Result}
    exec(PYTHON[number], names)
    return names["MyWorker"]


class Gate:
    """Tasks that wait until the test lets them go, and count how many run at a time."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.running = self.most = 0

    def __call__(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.entered.release()
        assert self.open.wait(SECONDS)
        with self._lock:
            self.running -= 1


# The three patterns.


def test_the_basic_pattern_takes_what_it_says_it_can_handle() -> None:
    with WorkerHost(workers=[pattern(0)]) as pool:
        assert pool.client.send("my_type").result(SECONDS) is None
        other = pool.client.send("other.type")
        assert not other.wait(0.2)
        assert other.cancel()


def test_the_pattern_that_cleans_up_itself_is_not_cleaned_up_twice() -> None:
    calls: list[str] = []

    class Counted(pattern(1)):
        def cleanup(self) -> None:
            calls.append("cleanup")

    with WorkerHost(workers=[Counted], slots=1) as pool:
        assert pool.client.send("any.thing").result(SECONDS) is None
        assert pool.client.send("any.thing").result(SECONDS) is None
    assert calls == ["cleanup", "cleanup"]


def test_the_pattern_with_progress_reports_it() -> None:
    with WorkerHost(workers=[pattern(2)]) as pool:
        handle = pool.client.send("any.thing")
        assert handle.result(SECONDS) is None
        assert handle.progress.fraction == 1.0


# The three snippets of configuration, each a text, a dict or a file.


def test_the_worker_snippet_bounds_what_runs_at_a_time_and_for_how_long() -> None:
    gate = Gate()
    deadlines: list[datetime | None] = []

    class Video(BaseWorker):
        type = "video"

        def execute(self, task: Task) -> None:
            deadlines.append(task.deadline)
            gate()

    with WorkerHost(yaml.safe_load(WORKER_CONFIG), workers=[Video], slots=8) as pool:
        before = datetime.now(UTC)
        batch = pool.client.send_many("video", [None] * 8)
        for _ in range(5):
            assert gate.entered.acquire(timeout=SECONDS)
        assert not gate.entered.acquire(timeout=0.2)
        gate.open.set()
        batch.results(SECONDS)
    assert gate.most == 5
    waits = [(deadline - before).total_seconds() for deadline in deadlines if deadline is not None]
    assert len(waits) == 8
    assert all(299 < wait < 300 + SECONDS for wait in waits)


def test_the_worker_snippet_tries_three_times_with_growing_waits() -> None:
    @worker("video")
    def fails() -> None:
        raise ConnectionError("the site is down")

    with WorkerHost(yaml.safe_load(WORKER_CONFIG), workers=[fails]) as pool:
        handle = pool.client.send("video")
        with pytest.raises(TaskFailed, match="the site is down") as caught:
            handle.result(SECONDS)
        attempts = pool.client.show(handle.id)["attempts"]
    assert (caught.value.attempts, caught.value.cause, caught.value.error_type) == (3, "exception", "ConnectionError")
    first, second = (later["started_at"] - earlier["ended_at"] for earlier, later in itertools.pairwise(attempts))
    assert 0.8 < first < 1.6
    assert 1.7 < second < 2.9


def test_a_small_timeout_ends_a_task_that_listens() -> None:
    class Video(BaseWorker):
        type = "video"

        def execute(self, task: Task) -> str:
            while not self.cancelled:
                time.sleep(0.005)  # sleeps: the task is a slow one
            return "half of it"

    config = yaml.safe_load(WORKER_CONFIG)
    config["worker"] |= {"timeout": 0.2, "retry": {"max_attempts": 1}}
    with WorkerHost(config, workers=[Video]) as pool, pytest.raises(TaskFailed) as caught:
        pool.client.send("video").result(SECONDS)
    assert caught.value.cause == "timeout"


def test_the_queue_snippet_in_a_file_keeps_its_database_beside_it(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(QUEUE_CONFIG)
    with WorkerHost(tmp_path / "pool.yaml") as pool:
        id = pool.client.send("nobody.serves.it", {"n": 1}).id
        status = pool.client.status()
    assert (tmp_path / "tasks.db").is_file()
    assert status["supervisor"]["durable"]
    assert status["queue"]["max_size"] == 1000
    with WorkerHost(tmp_path / "pool.yaml") as pool:
        assert pool.client.show(id)["params"] == {"n": 1}


def test_a_queue_that_is_full_refuses(tmp_path: Path) -> None:
    queue = yaml.safe_load(QUEUE_CONFIG)["queue"] | {"max_size": 3, "database": str(tmp_path / "tasks.db")}
    with WorkerHost({"queue": queue}) as pool:
        batch = pool.client.send_many("nobody.serves.it", range(3))
        with pytest.raises(QueueFull, match="3"):
            pool.client.send("nobody.serves.it")
        assert batch[0].cancel()
        pool.client.send("nobody.serves.it")


def test_the_monitoring_snippet_warns_once_and_clears_once(caplog: pytest.LogCaptureFixture) -> None:
    def said() -> list[str]:
        pool.client.status()  # whatever went before it has been said by then
        return [record.message.split()[0] for record in caplog.records if "queue_depth" in record.message]

    with caplog.at_level(logging.INFO, "workerhost"), WorkerHost(yaml.safe_load(MONITORING_CONFIG)) as pool:
        first = pool.client.send_many("nobody.serves.it", range(100))
        assert said() == []
        second = pool.client.send_many("nobody.serves.it", range(100))
        pool.client.send("nobody.serves.it")
        assert said() == ["queue_depth_high"]
        assert pool.client.status()["queue"]["depth_warning"]
        second.cancel()
        assert said() == ["queue_depth_high"]  # at the threshold: it clears below four fifths of it
        first.cancel()
        assert said() == ["queue_depth_high", "queue_depth_normal"]
        pool.client.cancel([task["id"] for task in pool.client.tasks(state="queued")])
        assert said() == ["queue_depth_high", "queue_depth_normal"]


def test_all_snippets_hold_together(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(WORKER_CONFIG + QUEUE_CONFIG + MONITORING_CONFIG)

    @worker("video")
    def video(n: int) -> int:
        return n + 1

    with WorkerHost(tmp_path / "pool.yaml", workers=[video]) as pool:
        assert list(pool.client.map("video", ({"n": n} for n in range(20)))) == list(range(1, 21))
        types = {listed["type"]: listed for listed in pool.client.types()}
    assert (types["video"]["max_concurrent"], types["video"]["completed"]) == (5, 20)
