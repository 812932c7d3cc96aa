"""What the demonstration's clips show: small scenes, drawn with Pillow, one function each.

A scene draws the picture of the instant `t`, in seconds from the start. Every scene is a pure function of it and the
size, so that a clip looks the same each time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL.ImageDraw import ImageDraw

Color = tuple[int, int, int]
Size = tuple[int, int]
Scene = Callable[[ImageDraw, Size, float], None]


def between(first: Color, last: Color, part: float) -> Color:
    """A colour on the way from `first` (0) to `last` (1)."""
    part = min(1.0, max(0.0, part))
    mixed = [round(a + (b - a) * part) for a, b in zip(first, last, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def sky(draw: ImageDraw, size: Size, top: Color, bottom: Color, horizon: float = 1.0) -> None:
    """A gradient from the upper edge down to `horizon`."""
    end = round(size[1] * horizon)
    for y in range(0, end, 2):
        draw.rectangle((0, y, size[0], y + 1), fill=between(top, bottom, y / end))


def disc(draw: ImageDraw, x: float, y: float, radius: float, fill: Color) -> None:
    """A filled circle."""
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def sunset(draw: ImageDraw, size: Size, t: float) -> None:
    """The sun goes down over the sea."""
    width, height = size
    horizon, part = height * 0.62, t / 18
    sky(draw, size, between((70, 130, 200), (18, 20, 60), part), between((250, 214, 165), (214, 84, 66), part), 0.62)
    disc(draw, width * 0.5, height * (0.2 + 0.5 * part), height * 0.13, between((255, 244, 200), (255, 120, 60), part))
    draw.rectangle((0, horizon, width, height), fill=between((40, 96, 140), (20, 22, 56), part))
    for row in range(14):
        y = horizon + 4 + row * row * 0.8 + row * 3
        reach = width * (0.05 + 0.014 * row) * (0.7 + 0.3 * math.sin(t * 2 + row * 1.7))
        x = width * 0.5 + math.sin(t + row) * 8
        draw.rectangle((x - reach, y, x + reach, y + 2 + row // 4), fill=between((255, 220, 160), (220, 90, 60), part))
    for bird in range(5):
        x, y = (width * 0.1 + t * 22 + bird * 36) % (width * 1.1), height * (0.16 + 0.03 * (bird % 3))
        wing = 7 * math.sin(t * 7 + bird)
        draw.line((x - 9, y - wing, x, y, x + 9, y - wing), fill=(30, 30, 50), width=2)


def clock(draw: ImageDraw, size: Size, t: float) -> None:
    """A station clock."""
    width, height = size
    draw.rectangle((0, 0, width, height), fill=between((224, 214, 200), (196, 210, 226), t / 12))
    x, y, radius = width / 2, height / 2, min(size) * 0.42
    disc(draw, x, y, radius, (40, 44, 52))
    disc(draw, x, y, radius * 0.95, (250, 250, 246))
    for minute in range(60):
        long = minute % 5 == 0
        angle, inner = minute / 60 * math.tau, radius * (0.74 if long else 0.84)
        ends = (x + math.sin(angle) * inner, y - math.cos(angle) * inner)
        tip = (x + math.sin(angle) * radius * 0.9, y - math.cos(angle) * radius * 0.9)
        draw.line((*ends, *tip), fill=(30, 30, 34), width=7 if long else 3)
    seconds = math.floor(t) + min(1.0, (t % 1) * 6)
    for angle, reach, thick, color in (
        ((10 + 8 / 60) / 12, 0.5, 13, (30, 30, 34)),
        ((8 + seconds / 60) / 60, 0.78, 9, (30, 30, 34)),
        (seconds / 60, 0.7, 4, (206, 32, 41)),
    ):
        tip = x + math.sin(angle * math.tau) * radius * reach, y - math.cos(angle * math.tau) * radius * reach
        draw.line((x, y, *tip), fill=color, width=thick)
        if thick == 4:
            disc(draw, *tip, radius * 0.07, color)


def balls(draw: ImageDraw, size: Size, t: float) -> None:
    """Balls bounce and leave shadows."""
    width, height = size
    floor = height * 0.86
    sky(draw, size, (250, 240, 226), (244, 196, 160))
    draw.rectangle((0, floor, width, height), fill=(128, 90, 108))
    colors: list[Color] = [(231, 76, 60), (52, 152, 219), (46, 174, 96), (155, 89, 182), (241, 196, 15)]
    for number, color in enumerate(colors):
        period = 0.8 + 0.13 * number
        bounce = 1 - (2 * ((t + number * 0.3) / period % 1) - 1) ** 2
        radius = height * (0.06 + 0.012 * number)
        x = width * (0.12 + 0.19 * number) + math.sin(t * 0.6 + number) * 22
        y = floor - radius - bounce * height * 0.5
        shadow = radius * (1.1 - 0.6 * bounce)
        draw.ellipse((x - shadow, floor + 6, x + shadow, floor + 16), fill=(96, 64, 84))
        disc(draw, x, y, radius, color)
        disc(draw, x - radius * 0.3, y - radius * 0.35, radius * 0.22, between(color, (255, 255, 255), 0.7))


def train(draw: ImageDraw, size: Size, t: float) -> None:
    """A train crosses hills that pass at three speeds."""
    width, height = size
    sky(draw, size, between((120, 180, 230), (60, 80, 140), t / 20), (250, 226, 190), 0.75)
    hills: list[tuple[float, float, Color]] = [
        (9.0, 0.46, (150, 160, 190)),
        (28.0, 0.58, (104, 140, 120)),
        (80.0, 0.7, (64, 104, 72)),
    ]
    for speed, level, color in hills:
        points = [(0.0, float(height))]
        for x in range(0, width + 12, 12):
            far = (x + t * speed) / width
            points.append((x, height * (level + 0.07 * math.sin(far * 7 + speed) + 0.03 * math.sin(far * 19))))
        draw.polygon([*points, (width, height)], fill=color)
    rail = height * 0.88
    draw.rectangle((0, rail, width, height), fill=(92, 78, 66))
    for sleeper in range(-1, width // 40 + 2):
        x = sleeper * 40 - t * 260 % 40
        draw.rectangle((x, rail + 4, x + 16, rail + 12), fill=(58, 46, 40))
    shake = math.sin(t * 18) * 1.2
    for car in range(4):
        left, top = width * (0.08 + 0.21 * car), rail - height * 0.17 + shake * (1 if car % 2 else -1)
        color = (190, 48, 52) if car == 3 else (236, 230, 214)
        draw.rounded_rectangle((left, top, left + width * 0.195, rail - 4), radius=10, fill=color)
        for window in range(4):
            x = left + width * (0.018 + 0.043 * window)
            draw.rectangle((x, top + 14, x + width * 0.03, top + height * 0.08), fill=(64, 84, 110))
        for wheel in (0.04, 0.155):
            disc(draw, left + width * wheel, rail - 2, 8, (40, 40, 44))


def city(draw: ImageDraw, size: Size, t: float) -> None:
    """Rain over a town at night; lights go on and off."""
    width, height = size
    sky(draw, size, (10, 14, 34), (58, 48, 92))
    disc(draw, width * 0.76, height * 0.14, width * 0.09, (240, 236, 208))
    picked = random.Random(7)  # noqa: S311 -- a picture, not a secret
    for house in range(7):
        left, wide = house * width / 6.4 - 14, width * picked.uniform(0.15, 0.21)
        top = height * picked.uniform(0.34, 0.66)
        draw.rectangle((left, top, left + wide, height), fill=between((22, 24, 44), (36, 34, 62), picked.random()))
        for row in range(int((height - top) / 22)):
            for column in range(3):
                lit = math.sin(picked.uniform(0, 60) + t * picked.uniform(0.1, 0.7)) > 0.35
                x, y = left + 9 + column * (wide - 12) / 3, top + 10 + row * 22
                color = (255, 214, 120) if lit else (30, 32, 56)
                draw.rectangle((x, y, x + wide / 6, y + 10), fill=color)
    for _ in range(130):
        x, y = picked.uniform(0, width * 1.1), picked.uniform(0, height)
        y = (y + t * height * 1.6) % height
        draw.line((x, y, x - 3, y + 14), fill=(120, 136, 180), width=1)


def aquarium(draw: ImageDraw, size: Size, t: float) -> None:
    """Fish swim by, weeds sway, bubbles rise."""
    width, height = size
    sky(draw, size, (70, 190, 214), (10, 60, 104))
    draw.rectangle((0, height * 0.9, width, height), fill=(214, 190, 140))
    for weed in range(9):
        x = width * (0.05 + 0.115 * weed)
        points = [
            (x + math.sin(t * 1.3 + weed + step * 0.6) * step * 1.6, height * 0.93 - step * 15) for step in range(9)
        ]
        draw.line(points, fill=(30, 120 + weed * 8, 80), width=7, joint="curve")
    picked = random.Random(3)  # noqa: S311 -- a picture, not a secret
    for fish in range(9):
        speed, y, length = picked.uniform(30, 90), picked.uniform(0.12, 0.8) * height, picked.uniform(24, 54)
        color: Color = (picked.randint(200, 255), picked.randint(70, 200), picked.randint(30, 120))
        way = 1 if fish % 2 else -1
        x = (picked.uniform(0, width) + way * t * speed) % (width + 120) - 60
        y += math.sin(t * 2 + fish) * 8
        tail = math.sin(t * 9 + fish) * length * 0.16
        back = x - way * length * 0.45
        end = x - way * length * 0.85
        draw.polygon([(back, y), (end, y - length * 0.3 + tail), (end, y + length * 0.3 + tail)], fill=color)
        draw.ellipse((x - length * 0.55, y - length * 0.3, x + length * 0.55, y + length * 0.3), fill=color)
        disc(draw, x + way * length * 0.33, y - length * 0.06, length * 0.06, (20, 20, 30))
    for bubble in range(24):
        x = picked.uniform(0, width) + math.sin(t * 2 + bubble) * 6
        y = (picked.uniform(0, height) - t * picked.uniform(30, 80)) % height
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=(214, 240, 250))


def fireworks(draw: ImageDraw, size: Size, t: float) -> None:
    """Rockets burst into sparks that fall and fade."""
    width, height = size
    sky(draw, size, (6, 8, 24), (30, 24, 58))
    for rocket in range(int(t / 0.75) + 1):
        age = t - rocket * 0.75
        if age > 3.2:
            continue
        picked = random.Random(rocket)  # noqa: S311 -- a picture, not a secret
        x, top = picked.uniform(0.15, 0.85) * width, picked.uniform(0.15, 0.45) * height
        color: Color = (picked.randint(150, 255), picked.randint(80, 255), picked.randint(80, 255))
        if age < 0.7:
            y = height - (height - top) * age / 0.7
            draw.line((x, y, x, y + 18), fill=(255, 230, 180), width=2)
            continue
        age -= 0.7
        for spark in range(70):
            angle, speed = spark * 2.399, height * 0.26 * math.sqrt((spark + 1) / 70)
            reach = speed * (1 - math.exp(-2.2 * age)) * 1.2
            y = top + math.sin(angle) * reach + 26 * age * age
            fade = between(color, (14, 12, 36), (age / 2.5) ** 2)
            disc(draw, x + math.cos(angle) * reach, y, 3.4, fade)
    draw.rectangle((0, height * 0.94, width, height), fill=(4, 6, 14))


def leader(draw: ImageDraw, size: Size, t: float) -> None:
    """The countdown before an old film."""
    from PIL import ImageFont

    width, height = size
    x, y = width / 2, height / 2
    draw.rectangle((0, 0, width, height), fill=(206, 198, 182))
    draw.pieslice((x - width, y - width, x + width, y + width), -90, -90 + (t % 1) * 360, fill=(168, 160, 146))
    ink = (42, 38, 36)
    draw.line((0, y, width, y), fill=ink, width=3)
    draw.line((x, 0, x, height), fill=ink, width=3)
    for radius in (height * 0.42, height * 0.36):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=5)
    number = str(max(1, math.ceil(10 - t)))
    draw.text((x, y), number, fill=ink, font=ImageFont.load_default(size=height * 0.5), anchor="mm")
    picked = random.Random(int(t * 12))  # noqa: S311 -- a picture, not a secret
    for _ in range(picked.randint(0, 5)):
        scratch = picked.uniform(0, width)
        draw.line((scratch, 0, scratch + picked.uniform(-4, 4), height), fill=(236, 230, 220), width=1)
