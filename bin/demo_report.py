"""The demonstration's report: one HTML file with everything in it, which opens without a network.

Owns how what was done is shown. Every text that comes from outside is escaped, pictures are embedded, there is no
script, and a content security policy keeps it so. Follows the reader's light or dark setting.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from .demo_run import LOST, Attempt, Line, Run, color_of, text
from .demo_style import STYLE
from .demo_timeline import draw_timeline

FILES_SHOWN_MAX: Final = 300
"""Files whose pictures are embedded (about 100 KB each); the table lists all tasks whatever their number."""

POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(run: Run, path: Path) -> None:
    """Write the report. The file is there whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(render(run), encoding="utf-8")
    unfinished.replace(path)


def render(run: Run) -> str:
    """The whole page."""
    return "\n".join((
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>WorkerHost: {text(Path(run.folder).name)}</title><style>{STYLE}</style></head><body><main>",
        _head(run),
        "<section><h2>What ran where</h2>" + draw_timeline(run) + "</section>",
        "<section><h2>Files</h2>" + _files(run) + "</section>",
        "<section><h2>Tasks</h2>" + _table(run) + "</section>",
        "</main></body></html>\n",
    ))  # fmt: skip


def _head(run: Run) -> str:
    numbers = run.summary()
    tiles = "".join(
        f'<div class="tile {name if numbers[name] else "none"}"><b>{value}</b><span>{text(said)}</span></div>'
        for name, value, said in (
            ("tasks", numbers["tasks"], "tasks"),
            ("completed", numbers["completed"], "completed, once each"),
            ("failed", numbers["failed"], "failed for good"),
            ("rescued", numbers["rescued"], "rescued"),
            ("executions", numbers["executions"], "executions"),
            ("seconds", f"{run.seconds:.1f} s", "send to last result"),
        )
    )
    when = run.began.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    return (
        f"<header><p class=brand>WorkerHost</p><h1>{text(run.folder)}</h1>"
        f"<p class=when>{text(when)}, {len(run.hosts)} hosts. {_story(run)}</p><div class=tiles>{tiles}</div></header>"
    )


def _story(run: Run) -> str:
    """What became of the host that was killed, in one sentence."""
    killed = run.killed
    if killed is None:
        return "No host was killed: all tasks were done first."
    saved = run.summary()["rescued"]
    noticed = ""
    if killed.noticed is not None:
        noticed = f" The supervisor knew {killed.noticed - killed.at:.1f} s later."
    what = "It ran nothing just then."
    if saved:
        had, done = ("The task", "was") if saved == 1 else (f"The {saved} tasks", "were")
        what = f"{had} that it ran {done} done by the other."
    return f"After {killed.at:.1f} s <strong>{text(killed.host)}</strong> was killed (SIGKILL).{noticed} {what}"


def _files(run: Run) -> str:
    files: dict[str, list[Line]] = {}
    for line in run.lines:
        files.setdefault(line.file, []).append(line)
    cards = [_card(name, lines) for name, lines in list(files.items())[:FILES_SHOWN_MAX]]
    rest = len(files) - len(cards)
    more = f"<p>{rest} more files are in the table only.</p>" if rest > 0 else ""
    return f"<div class=cards>{''.join(cards)}</div>{more}"


def _card(name: str, lines: Iterable[Line]) -> str:
    """One file: its picture, its facts, its wave, its sheet; or why it could not be used."""
    done = {line.type.rpartition(".")[2]: line for line in lines}
    errors = sorted({line.error for line in done.values() if line.error})
    values = {last: line.value for last, line in done.items() if line.value}
    facts = values.get("probe", {})
    title = facts.get("title") or ""
    parts = [f'<article class="card{" broken" if errors else ""}">']
    parts.append(_picture(values.get("thumbnail"), "thumb", f"a frame of {name}") or _placeholder(errors, facts))
    parts.append(f"<div class=about><h3>{text(name)}</h3>")
    if title:
        parts.append(f"<p class=title>{text(title)}</p>")
    if facts:
        parts.append(_facts(facts, values.get("loudness")))
    parts += [f"<p class=error>{text(error)}</p>" for error in errors]
    parts.append("</div>")
    parts.append(_picture(values.get("waveform"), "wave", f"the wave of {name}"))
    sheet = _picture(values.get("contact_sheet"), "sheet", f"a contact sheet of {name}")
    if sheet:
        parts.append(f"<details><summary>{sheet}</summary></details>")
    hosts = sorted({line.attempts[-1].host for line in done.values() if line.attempts})
    rescued = " <b class=badge>rescued</b>" if any(line.rescued for line in done.values()) else ""
    parts.append(f"<p class=by>ran on {text(', '.join(hosts))}{rescued}</p></article>")
    return "".join(parts)


def _placeholder(errors: list[str], facts: Mapping[str, Any]) -> str:
    sign, said = ("&#9888;", "not readable") if errors and not facts else ("&#9834;", "sound only")
    return f"<div class=thumb aria-label='{said}'><span>{sign}</span></div>"


def _facts(facts: Mapping[str, Any], loudness: Mapping[str, Any] | None) -> str:
    video: dict[str, Any] = facts.get("video") or {}
    audio: dict[str, Any] = facts.get("audio") or {}
    pairs = [("length", duration_text(facts.get("duration")))]
    if video:
        rate = f", {video['frame_rate']:g}/s" if video.get("frame_rate") else ""
        pairs.append(("picture", f"{video['width']} x {video['height']}{rate}, {video['codec']}"))
    sound = f"{audio['codec']}, {audio['sample_rate'] / 1000:g} kHz, {audio['layout']}" if audio else "none"
    pairs += [("sound", sound), ("size", f"{facts['bytes'] / 1e6:.2f} MB")]
    if loudness is not None:
        measured = loudness.get("integrated_lufs")
        pairs.append(("loudness", "silence" if measured is None else f"{measured:.1f} LUFS"))
    rows = "".join(f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in pairs if value)
    return f"<dl>{rows}</dl>"


def _picture(value: Mapping[str, Any] | None, kind: str, said: str) -> str:
    """A picture that a worker stored, embedded; nothing where there is none."""
    try:
        content = Path(value["out"]).read_bytes() if value else b""
    except OSError:
        return ""
    if not value or not content:
        return ""
    width, height = int(value["width"]), int(value["height"])
    size = f"width={width} height={height}{' class=wide' if 1.3 < width / height < 2.4 else ''}"
    source = f"data:image/{text(value['format'])};base64,{base64.b64encode(content).decode()}"
    return f'<div class={kind}><img {size} alt="{text(said)}" src="{source}"></div>'


def _table(run: Run) -> str:
    rows: list[str] = []
    for line in run.lines:
        starts = "".join(_start(attempt) for attempt in line.attempts)
        rescued = " <b class=badge>rescued</b>" if line.rescued else ""
        said = f"<br><span class=error>{text(line.error)}</span>" if line.error else ""
        rows.append(
            f"<tr><td class=number>{line.id}</td>"
            f'<td><i class="dot {color_of(line.type)}"></i>{text(line.type)}</td>'
            f"<td>{text(line.file)}</td>"
            f'<td class="state {text(line.state)}">{text(line.state)}{rescued}{said}</td>'
            f"<td class=number>{len(line.attempts)}</td><td><ol>{starts}</ol></td></tr>"
        )
    return (
        "<div class=scroll><table><thead><tr><th>id<th>type<th>file<th>state<th>attempts<th>ran on</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _start(attempt: Attempt) -> str:
    if attempt.outcome == LOST:
        return f"<li class=gone>{text(attempt.host)} <small>from {attempt.started:.2f} s, host lost</small></li>"
    return f"<li>{text(attempt.host)} <small>slot {attempt.slot}, {_span(attempt)}</small></li>"


def _span(attempt: Attempt) -> str:
    if attempt.ended is None:
        return f"from {attempt.started:.2f} s"
    return f"{max(0.0, attempt.ended - attempt.started) * 1000:.0f} ms from {attempt.started:.2f} s"


def duration_text(seconds: object) -> str:
    """`75.24` -> `1:15.2`; what is no number -> ``."""
    if not isinstance(seconds, (int, float)):
        return ""
    minutes, rest = divmod(round(float(seconds), 1), 60)
    return f"{int(minutes)}:{rest:04.1f}" if minutes else f"{rest:.1f} s"
