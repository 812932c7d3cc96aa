"""The demonstration's own media: a dozen short clips, really encoded (H.264 and AAC), and one broken file.

Owns what the clips are and how they are encoded; what they show is drawn in `demo_scenes`, or comes from FFmpeg's own
sources. Needs the extra `media`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, cast

import av
from av import error as ffmpeg
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from PIL import Image, ImageDraw

from . import demo_scenes
from .demo_scenes import Scene

RATE: Final = 20
SAMPLE_RATE: Final = 48_000


@dataclass(frozen=True, slots=True)
class Source:
    """A source of pictures in FFmpeg: its name and its arguments."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip.

    Attributes:
        name: The file's name; its ending decides the container.
        title: What the file says about itself.
        seconds: How long it lasts.
        size: Width and height in pixels, or None: sound only.
        picture: What it shows.
        sound: An expression for FFmpeg's `aevalsrc` (left, or left|right), or None: a silent film.
    """

    name: str
    title: str
    seconds: float
    size: tuple[int, int] | None = None
    picture: Scene | Source | None = None
    sound: str | None = None


CLIPS: Final = (
    Clip("train.mp4", "A train crosses the hills", 20, (854, 480), demo_scenes.train,
         "0.5*(random(0)-0.5)*(exp(-14*mod(t,0.7))+0.7*exp(-14*mod(t+0.52,0.7)))+0.05*(random(1)-0.5)"),
    Clip("sunset.mp4", "The sun goes down over the sea", 18, (640, 360), demo_scenes.sunset,
         "(0.09*sin(2*PI*220*t)+0.07*sin(2*PI*277.18*t)+0.07*sin(2*PI*329.63*t))*(0.6+0.4*sin(0.7*t))"
         "|(0.09*sin(2*PI*220.6*t)+0.07*sin(2*PI*277.6*t)+0.07*sin(2*PI*330*t))*(0.6+0.4*sin(0.7*t+1))"),
    Clip("fireworks.mp4", "Midnight", 15, (640, 360), demo_scenes.fireworks,
         "0.9*(random(0)*2-1)*exp(-5*mod(t+0.05,0.75))|0.9*(random(1)*2-1)*exp(-5*mod(t+0.05,0.75))"),
    Clip("aquarium.mp4", "Nine fish", 18, (640, 360), demo_scenes.aquarium,
         "0.3*sin(2*PI*(260+500*mod(t*2.3,1))*mod(t,1/2.3))*exp(-5*mod(t*2.3,1))+0.01*(random(0)-0.5)"),
    Clip("city-rain.mp4", "Rain, seen from the fourth floor", 16, (360, 640), demo_scenes.city,
         "0.03*(random(0)*2-1)|0.03*(random(1)*2-1)"),
    Clip("game-of-life.mp4", "Conway's game of life", 16, (640, 360),
         Source("life", "size=160x90:mold=24:ratio=0.22:seed=11"
                ":death_color=#7a1f3d:life_color=#ffd166:mold_color=#181a2c"),
         "0.3*sin(2*PI*220*pow(2,mod(floor(t*6)*7,24)/12)*t)*exp(-3*mod(t*6,1))"),
    Clip("clock.mp4", "A station clock", 12, (480, 480), demo_scenes.clock,
         "0.5*sin(2*PI*1800*t)*exp(-70*mod(t,1))"),
    Clip("balls.mp4", "Five balls", 14, (640, 360), demo_scenes.balls,
         "0.5*sin(2*PI*(160+90*exp(-6*mod(t,0.8)))*mod(t,0.8))*exp(-5*mod(t,0.8))"
         "|0.5*sin(2*PI*(200+90*exp(-6*mod(t,0.93)))*mod(t,0.93))*exp(-5*mod(t,0.93))"),
    Clip("fractal.mp4", "Into the Mandelbrot set", 10, (480, 270),
         Source("mandelbrot", "size=480x270:maxiter=300:start_scale=2.4:end_scale=0.02:end_pts=260"),
         "0.7*sin(2*PI*(110*t+18*t*t))"),
    Clip("countdown.mp4", "Ten seconds to go", 10, (640, 480), demo_scenes.leader,
         "0.4*sin(2*PI*1000*t)*lt(mod(t,1),0.1)"),
    Clip("aurora.mp4", "Northern light, a silent film", 9, (360, 640),
         Source("gradients", "size=180x320:nb_colors=4:speed=0.015:seed=5"
                ":c0=#04122e:c1=#12a37c:c2=#5b2a86:c3=#0b3d5c")),
    Clip("lullaby.m4a", "A lullaby, sound only", 22,
         sound="0.2*sin(2*PI*261.63*pow(2,mod(floor(t*2)*5,12)/12)*t)*exp(-2*mod(t*2,1))"
         "+0.08*sin(2*PI*130.81*pow(2,mod(floor(t/2)*5,12)/12)*t)"),
)  # fmt: skip
"""Ordered by the work they make, the longest first, so that the encoders end together."""

BROKEN: Final = "broken-upload.mp4"
BROKEN_FROM: Final = "sunset.mp4"


def encode_clips(folder: Path, progress: Callable[[int, int, str], None]) -> list[Path]:
    """Encode all clips and the broken file into `folder`. Those that are there already stay as they are.

    Args:
        folder: Where to; it is made.
        progress: Called with how many files are done, how many there will be, and the name of the last one.

    Returns:
        The files, in the order of `CLIPS`, the broken one last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = len(CLIPS) + 1
    missing = [clip for clip in CLIPS if not (folder / clip.name).exists()]
    done = len(CLIPS) - len(missing)
    if missing:
        # Drawing is Python's work, so threads would take turns. Spawned, not forked: FFmpeg has threads of its own.
        context = multiprocessing.get_context("spawn")
        workers = min(len(missing), os.cpu_count() or 1)
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            for future in as_completed([pool.submit(encode, clip, folder / clip.name) for clip in missing]):
                done += 1
                progress(done, total, future.result())
    broken = folder / BROKEN
    if not broken.exists():
        whole = (folder / BROKEN_FROM).read_bytes()
        broken.write_bytes(whole[: len(whole) * 6 // 10])
    progress(total, total, BROKEN)
    return [*(folder / clip.name for clip in CLIPS), broken]


def encode(clip: Clip, path: Path) -> str:
    """Encode one clip. The file appears under its name only when it is whole.

    Returns:
        The file's name.
    """
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with av.open(str(unfinished), "w", options={"movflags": "+faststart"}) as container:
            container.metadata["title"] = clip.title
            _write(container, clip)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path.name


def _write(container: OutputContainer, clip: Clip) -> None:
    """Picture by picture, each followed by its part of the sound, as a film is laid out."""
    # PyAV's types leave open what a packet belongs to.
    video = audio = None
    if clip.size is not None:
        options = {"preset": "superfast", "crf": "26", "g": "50"}
        video = container.add_stream("libx264", rate=RATE, options=options)  # pyright: ignore[reportUnknownMemberType]
        video.width, video.height = clip.size
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
    if clip.sound is not None:
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")  # pyright: ignore[reportUnknownMemberType]

    def add_picture(frame: VideoFrame | None) -> None:
        if video is not None:
            container.mux(video.encode(frame))  # pyright: ignore[reportUnknownMemberType]

    def add_sound(frame: AudioFrame | None) -> None:
        if audio is not None:
            container.mux(audio.encode(frame))  # pyright: ignore[reportUnknownMemberType]

    sounds = _sounds(clip)
    heard = 0.0
    for number, picture in enumerate(_pictures(clip)):
        picture.pts, picture.time_base = number, Fraction(1, RATE)
        add_picture(picture)
        while heard < (number + 1) / RATE and (sound := next(sounds, None)) is not None:
            heard += sound.samples / SAMPLE_RATE
            add_sound(sound)
    for sound in sounds:
        add_sound(sound)
    add_sound(None)
    add_picture(None)


def _pictures(clip: Clip) -> Iterator[VideoFrame]:
    if clip.size is None or clip.picture is None:
        return
    count = round(clip.seconds * RATE)
    if isinstance(clip.picture, Source):
        name, arguments = clip.picture.name, clip.picture.arguments
        graph = Graph()
        source = graph.add(name, f"{arguments}:rate={RATE}")
        scale = graph.add("scale", f"{clip.size[0]}:{clip.size[1]}:flags={'neighbor' if name == 'life' else 'bicubic'}")
        graph.link_nodes(source, scale, graph.add("format", "yuv420p"), graph.add("buffersink")).configure()
        for _ in range(count):
            yield cast("VideoFrame", graph.pull())
        return
    for number in range(count):
        image = Image.new("RGB", clip.size)
        clip.picture(ImageDraw.Draw(image), clip.size, number / RATE)
        yield VideoFrame.from_image(image)  # pyright: ignore[reportUnknownMemberType] PyAV's gap


def _sounds(clip: Clip) -> Iterator[AudioFrame]:
    if clip.sound is None:
        return
    graph = Graph()
    source = graph.add("aevalsrc", exprs=clip.sound, sample_rate=str(SAMPLE_RATE), duration=str(clip.seconds))
    fit = graph.add("aformat", sample_fmts="fltp", channel_layouts="stereo")
    graph.link_nodes(source, fit, graph.add("abuffersink")).configure()
    try:
        while True:
            yield cast("AudioFrame", graph.pull())
    except (ffmpeg.EOFError, ffmpeg.BlockingIOError):
        return
