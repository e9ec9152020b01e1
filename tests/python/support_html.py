"""Recordings written by hand, event by event, for tests of what the HTML report makes of them."""

from __future__ import annotations

from libperf.events import ActorKind, Code, Event
from libperf.html.actors import History, read_history
from libperf.html.explain import Explainer, Piece
from libperf.names import Kind
from libperf.reader import Name

MS = 1_000_000
START = 1_000 * MS  # of each recording; times count from there
MAIN, LOOP = 1, 2  # ids that each recording has


class Recording:
    """Events in the order in which they are written; times in milliseconds. It begins with the main thread."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.names: list[Name] = []
        self(0, Code.THREAD, MAIN, arg=ActorKind.MAIN, more=1, cpu=0.001)

    def name(self, text: str, kind: Kind = Kind.SPAN) -> int:
        known = Name(len(self.names), kind, text)
        self.names.append(known)
        return known.number

    def __call__(
        self,
        time: float,
        code: Code,
        key: int = 0,
        *,
        arg: int = 0,
        more: float = 0,
        span: int = 0,
        cpu: float = 0,
        block: int = 0,
    ) -> None:
        """`more` of a timer is when it is due, in milliseconds too."""
        if code in (Code.TIMER, Code.SELECT):
            more = START + more * MS
        self.events.append(Event(code, block, arg, START + round(time * MS), round(cpu * MS), span, key, round(more)))

    def run(self, time: float, actor: int, kind: ActorKind = ActorKind.TASK, **fields: float) -> None:
        self(
            time,
            Code.RUN,
            actor,
            arg=kind,
            more=LOOP,
            span=int(fields.get("span", 0)),
            block=int(fields.get("block", 0)),
        )

    def history(self) -> History:
        return read_history(self.events)

    def pieces(self, actor: int) -> list[tuple[float, float, str, str, str]]:
        """Begin, end (milliseconds), state, span and what it waited for, of an actor."""
        history = self.history()
        explainer = Explainer(history, self.names)
        return [_readable(piece, explainer) for piece in explainer.pieces(history.actors[actor])]


def _readable(piece: Piece, explainer: Explainer) -> tuple[float, float, str, str, str]:
    return (
        (piece.start - START) / MS,
        (piece.end - START) / MS,
        piece.state.name,
        explainer.span_name(piece.span),
        piece.what,
    )
