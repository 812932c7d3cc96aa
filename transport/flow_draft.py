"""A flow that is being written down: tasks, and which comes after which. Asks nobody and waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Self, Unpack, cast

from ..workers.errors import InvalidTask, plain
from ..workers.task import Task
from .block import Block
from .flow_order import circle, ordered
from .flow_parts import Wanted, parts
from .messages import TaskState
from .part import Part
from .references import Reference, pack
from .terms import ON_FAILURE, SendingInFlow, can_travel, id_of, ids_of, terms

if TYPE_CHECKING:
    from ..workers.registry import WorkerFunction

OnFailure = Literal["cancel", "run", "wait"]
NAME_MAX: Final = 200
_CIRCLE_SHOWN: Final = 10


class FlowNode(Reference):
    """A task of a flow. In the params of another one it stands for its result.

    Attributes:
        place: Where it stands in its flow, from 0, in the order in which the tasks were written down.
    """

    __slots__ = ("_flow", "place")

    def __init__(self, flow: Draft, place: int) -> None:
        self._flow, self.place = flow, place

    @property
    def handle(self) -> Any:
        """The task, once the flow is handed in.

        Raises:
            RuntimeError: It is not yet.
        """
        return self._flow.handle(self.place)

    @property
    def id(self) -> int:
        """The task's number, once the flow is handed in."""
        return self.handle.id

    def result(self, timeout: float | None = None) -> Any:
        """Its value, as the result of its handle."""
        return self.handle.result(timeout)

    @property
    def state(self) -> TaskState:
        """Where it is now, as its handle says; so are the three that follow."""
        return self.handle.state

    @property
    def progress(self) -> Any:
        """See `Handle.progress`."""
        return self.handle.progress

    def wait(self, timeout: float | None = None) -> Any:
        """See `Handle.wait`; of a flow of an `AsyncClient` it is awaited, and so is `cancel`."""
        return self.handle.wait(timeout)

    def cancel(self) -> Any:
        """See `Handle.cancel`."""
        return self.handle.cancel()

    def is_of(self, flow: Draft) -> bool:
        """Whether it was made by this flow (for this package's own use)."""
        return self._flow is flow

    def comes_after(self, *others: Any, on_failure: OnFailure = "cancel") -> Self:
        """Let it wait for more tasks: of this flow, or handed in before.

        Args:
            *others: Nodes, handles, batches, or numbers of tasks.
            on_failure: What if one of these does not complete: `cancel` this one, `run` it all the same, or `wait` for
                a person.
        """
        self._flow.connect(self.place, others, on_failure)
        return self

    def __repr__(self) -> str:
        return f"<FlowNode {self.place} of {self._flow!r}>"


class Draft:
    """Tasks that are written down to be handed in as one."""

    def __init__(self, name: str) -> None:
        if len(name) > NAME_MAX:
            raise InvalidTask(f"the name of a flow has at most {NAME_MAX} characters", "name")
        if not can_travel(name):
            raise InvalidTask(f"name={plain(repr(name), 100)}: it must be a text that UTF-8 knows", "name")
        self.name = name
        self._tasks: list[Wanted] = []
        self._at: list[int] = []  # place as written down -> place as handed in
        self._batch: Any = None

    # Writing it down.

    def send(
        self,
        type: str | Task[Any],
        params: Any = None,
        *,
        after: Any = (),
        on_failure: OnFailure = "cancel",
        **sending: Unpack[SendingInFlow],
    ) -> FlowNode:
        """Add a task. Nodes and handles in its params stand for the results of those tasks, and it comes after them.

        Args:
            type: As for `Client.send`.
            params: The same.
            after: Tasks that it comes after: nodes of this flow, handles, batches or numbers, one or several.
            on_failure: What if one of them does not complete: `cancel` this one, `run` it all the same, or `wait` for
                a person.
            **sending: As for `Client.send`.

        Raises:
            InvalidTask, TooLarge: It cannot be a task; the flow is as it was.
        """
        if isinstance(type, Task):
            if params is not None:
                raise TypeError("a task brings its params: send(length.task(...)), or send(type, params)")
            type, params = type.type, type.params
        body, references = pack(params)
        wanted = Wanted(terms(type, **sending), body)
        if wanted.terms.key is not None:
            reason = "a task of a flow has no key: send it before the flow, and let tasks of that come after it"
            raise InvalidTask(reason, "key")
        if wanted.terms.patient:
            raise ValueError("full='wait': a flow is taken whole or not at all; QueueFull says when to try again")
        place = len(self._tasks)
        self._connect(wanted, after, on_failure)
        for offset, reference in references:
            inside = isinstance(reference, FlowNode)
            self._connect(wanted, reference, on_failure, again=False)
            wanted.results.append((offset, inside, reference.place if inside else id_of(reference)))
        self._check_open()
        self._tasks.append(wanted)
        return FlowNode(self, place)

    def chain(
        self,
        *steps: tuple[str, Callable[[FlowNode], Any]] | tuple[str, Any],
        after: Any = (),
        on_failure: OnFailure = "cancel",
        **sending: Unpack[SendingInFlow],
    ) -> list[FlowNode]:
        """Add tasks that run one after the other.

        Args:
            *steps: (type, params) of each; params may be a function that is given the node before it and returns them.
            after: What the first comes after.
            on_failure: What the others do if the one before does not complete.
            **sending: As for `Client.send`.

        Returns:
            Their nodes, in order.
        """
        nodes: list[FlowNode] = []
        before: Any = after
        for type, params in steps:
            given: Any = params(nodes[-1]) if callable(params) and nodes else params
            nodes.append(self.send(type, given, after=before, on_failure=on_failure, **sending))
            before = nodes[-1]
        return nodes

    def group(
        self,
        type: str | WorkerFunction[..., Any, Any],
        params: Iterable[Any],
        *,
        then: tuple[str, Callable[[Sequence[FlowNode]], Any]] | tuple[str, Any] | None = None,
        after: Any = (),
        on_failure: OnFailure = "cancel",
        **sending: Unpack[SendingInFlow],
    ) -> Group:
        """Add one task for each of the params, and, with `then`, one that comes after all of them.

        Args:
            type: Of each.
            params: One task for each.
            then: (type, params) of the last one; params may be a function that is given the nodes and returns them.
            after: What each of the group comes after.
            on_failure: What they, and the last one, do if one that they come after does not complete.
            **sending: As for `Client.send`.

        Returns:
            The nodes of the group, a list, whose `then` is the last one.
        """
        kind = type if isinstance(type, str) else type.type
        nodes = [self.send(kind, one, after=after, on_failure=on_failure, **sending) for one in params]
        last = None
        if then is not None:
            last_type, wanted = cast("tuple[str, Any]", then)
            given = wanted(nodes) if callable(wanted) else wanted
            last = self.send(last_type, given, after=nodes, on_failure=on_failure, **sending)
        return Group(nodes, last)

    def connect(self, place: int, others: Any, on_failure: OnFailure) -> None:
        """As `FlowNode.comes_after`, by its place (for this package's own use)."""
        self._check_open()
        self._connect(self._tasks[place], others, on_failure)

    def _connect(self, wanted: Wanted, others: Any, on_failure: str, *, again: bool = True) -> None:
        if on_failure not in ON_FAILURE:
            raise ValueError(f"on_failure={on_failure!r}: it is one of {', '.join(ON_FAILURE)}")
        several = cast("Sequence[Any]", others if isinstance(others, list | tuple) else [others])
        for other in several:
            if isinstance(other, FlowNode):
                if not other.is_of(self):
                    raise InvalidTask("after: a node of another flow: hand that in, then give its handle", "after")
                if again or other.place not in wanted.within:
                    wanted.within[other.place] = on_failure
                continue
            for id in ids_of([other]):
                if again or id not in wanted.after:
                    wanted.after[id] = on_failure

    def _check_open(self) -> None:
        if self._batch is not None:
            raise RuntimeError("the flow is handed in; nothing can be added to it")

    # As it is handed in.

    def ready(self) -> list[Part]:
        """It in parts, in the order in which they are handed in (for this package's own use).

        Raises:
            InvalidTask: Its tasks wait for each other in a circle, which the message names; or it has none.
        """
        self._check_open()
        if not self._tasks:
            raise InvalidTask("the flow has no task", "flow")
        return list(parts(self._in_order(), self.name))

    def _in_order(self) -> list[Wanted]:
        """The tasks as they are handed in, each behind those that it comes after."""
        after = [list(task.within) for task in self._tasks]
        order = ordered(after)
        if order is None:
            raise InvalidTask(f"a circle: {self._named(circle(after))}", "after")
        self._at = [0] * len(order)
        for place, written in enumerate(order):
            self._at[written] = place
        if order == list(range(len(order))):
            return self._tasks
        return [self._moved(self._tasks[written]) for written in order]

    def _moved(self, task: Wanted) -> Wanted:
        """A task with the places as they are in the order in which all are handed in."""
        within = {self._at[place]: word for place, word in task.within.items()}
        results = [(offset, inside, self._at[number] if inside else number) for offset, inside, number in task.results]
        return Wanted(task.terms, task.params, task.after, within, results)

    def _named(self, places: Sequence[int]) -> str:
        """A circle in words."""
        names = [f"{self._tasks[place].terms.type} (number {place})" for place in places]
        if len(names) > _CIRCLE_SHOWN:
            names = [*names[: _CIRCLE_SHOWN - 1], "...", names[-1]]
        return " comes after ".join(names)

    @property
    def id(self) -> int:
        """The flow's number, once it is handed in."""
        return self.tasks[0].id

    @property
    def tasks(self) -> Any:
        """All of its tasks as a batch, in the order in which they were handed in, once they are.

        Raises:
            RuntimeError: They are not yet.
        """
        if self._batch is None:
            raise RuntimeError("the flow is not handed in yet: leave its `with` block first")
        return self._batch

    def handle(self, place: int) -> Any:
        """The task at a place, as it was written down (for this package's own use)."""
        return self.tasks[self._at[place]]

    def ids_backwards(self) -> list[int]:
        """The numbers of its tasks, the last one first (for this package's own use).

        Cancelled in this order, nothing begins meanwhile.
        """
        return [id for span in reversed(self.tasks.ids()) for id in reversed(span)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {len(self._tasks)} tasks>"


class Group(list[FlowNode]):
    """The nodes of a group; `then` is the one that comes after all of them, if there is one."""

    def __init__(self, nodes: Iterable[FlowNode], then: FlowNode | None) -> None:
        super().__init__(nodes)
        self.then = then


def stored_backwards(blocks: Sequence[Block]) -> list[int]:
    """The numbers of what was stored of a flow before a part was refused, the last one first."""
    stored = [block for block in blocks if block.first]
    return [id for block in reversed(stored) for id in reversed(range(block.first, block.first + block.count))]
