"""The body around the kidneys of a synthesized CT: organs as ellipsoids, painted slice by slice.

No paper: sizes, positions and attenuations are textbook values for a contrast-enhanced adult abdomen, spread per case.
Every organ that a fixed window could be tempted by (liver, spleen, bowel, muscle, vessels) covers part of the range of
renal tumors, so that a tumor is found by where it lies and not by its brightness alone.

Coordinates are mm: x to the patient's left, y to the back, z down, all from the point between the two kidneys.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

AIR_HU, GAS_HU, FAT_HU, MUSCLE_HU = -1000.0, -900.0, -100.0, 55.0
SKIN_MM, WALL_MM = 2.0, 11.0
VERTEBRA_MM, DISC_MM = 34.0, 8.0


@dataclass(frozen=True)
class Ellipsoid:
    """One piece of an organ.

    Args:
        center: `(z, y, x)` in mm.
        radii: `(z, y, x)` in mm; an infinite z makes a tube.
        hu: mean attenuation.
        texture: standard deviation in HU of its inner structure.
        angle: rotation in the axial plane, in radians, from x towards y.
    """

    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    texture: float = 5.0
    angle: float = 0.0

    def paint(self, canvas: FloatArray, plane: "Plane") -> None:
        """Writes the cross-section at the plane's height into `canvas`, `(H, W)` in HU."""
        height = (plane.z - self.center[0]) / self.radii[0]
        if abs(height) >= 1:
            return
        box = plane.box(self.center[1:], max(self.radii[1:]))
        if canvas[box].size == 0:
            return
        y, x = plane.y[box] - self.center[1], plane.x[box] - self.center[2]
        along, across = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        u, v = (x * along + y * across) / self.radii[2], (y * along - x * across) / self.radii[1]
        inside = u * u + v * v < 1 - height * height
        canvas[box][inside] = self.hu + self.texture * plane.texture[box][inside]


@dataclass(frozen=True)
class Plane:
    """An axial slice: where its pixels lie and how texture varies over them.

    Args:
        z: height in mm.
        y, x: `(H, W)` in mm, already bent by the case's own deformation.
        texture: `(H, W)`, zero mean, unit variance.
        rows, columns: the undeformed mm of the rows `(H,)` and columns `(W,)`.
        slack: the largest deformation in mm.
    """

    z: float
    y: FloatArray
    x: FloatArray
    texture: FloatArray
    rows: FloatArray
    columns: FloatArray
    slack: float

    def box(self, center: tuple[float, ...], radius: float) -> tuple[slice, slice]:
        """Rows and columns that can hold a disc of `radius` mm around `center` (y, x)."""
        reach = radius + self.slack
        row_ends = np.searchsorted(self.rows, (center[0] - reach, center[0] + reach))
        column_ends = np.searchsorted(self.columns, (center[1] - reach, center[1] + reach))
        return slice(*map(int, row_ends)), slice(*map(int, column_ends))


@dataclass(frozen=True)
class Body:
    """The trunk: an ellipse-like outline with layers, soft organs, and what lies in the midline.

    Args:
        center_y: of the outline, in mm.
        half_width, half_depth: of the outline, in mm.
        fat_mm: thickness of the subcutaneous fat.
        organs: what lies inside the muscular wall.
        wall: muscles and bones in and behind that wall.
        midline: spine and great vessels, painted after that fat.
    """

    center_y: float
    half_width: float
    half_depth: float
    fat_mm: float
    organs: tuple[Ellipsoid, ...]
    wall: tuple[Ellipsoid, ...]
    midline: tuple[Ellipsoid, ...]

    def paint_trunk(self, plane: Plane) -> FloatArray:
        """Paints air, skin, fat, the muscular wall and the organs of one slice.

        Args:
            plane: of shape `(H, W)`.

        Returns:
            `(H, W)` in HU.
        """
        level = outline_level(plane.y - self.center_y, plane.x, half_depth=self.half_depth, half_width=self.half_width)
        canvas = np.full(level.shape, AIR_HU, dtype=np.float32)
        layers = (
            (0.0, 20.0, 10.0),
            (SKIN_MM, FAT_HU - 5, 8.0),
            (self.fat_mm, MUSCLE_HU, 22.0),
            (self.fat_mm + WALL_MM, FAT_HU, 9.0),
        )
        for depth_mm, hu, texture in layers:
            inside = level < (1 - depth_mm / self.half_depth) ** OUTLINE_POWER
            canvas[inside] = hu + texture * plane.texture[inside]
        cavity = level < (1 - (self.fat_mm + WALL_MM) / self.half_depth) ** OUTLINE_POWER
        layers_alone = canvas.copy()
        for organ in self.organs:
            organ.paint(canvas, plane)
        canvas = np.where(cavity, canvas, layers_alone)
        for part in self.wall:
            part.paint(canvas, plane)
        canvas[level >= 1] = AIR_HU
        return canvas

    def paint_midline(self, canvas: FloatArray, plane: Plane) -> None:
        """Paints spine and great vessels over `canvas`, `(H, W)` in HU."""
        for part in self.midline:
            part.paint(canvas, plane)


OUTLINE_POWER = 2.5


def outline_level(y: FloatArray, x: FloatArray, *, half_depth: float, half_width: float) -> FloatArray:
    """Level of the body's outline, the superellipse `|y/b|^2.5 + |x/a|^2.5`: 1 on the skin, less inside."""
    v, u = np.abs(y) / np.float32(half_depth), np.abs(x) / np.float32(half_width)
    level: FloatArray = (v * v * np.sqrt(v) + u * u * np.sqrt(u)).astype(np.float32, copy=False)
    return level


def draw_body(
    kidneys_yx: FloatArray, *, field_mm: tuple[float, float], z_range: tuple[float, float], rng: np.random.Generator
) -> Body:
    """Draws a body that holds the kidneys.

    Args:
        kidneys_yx: `(N, 2)` footprint of kidneys and masses in mm, from the point between the kidneys; may be empty.
        field_mm: height and width of the field of view.
        z_range: heights of the first and the last slice.
        rng: source of every choice.

    Returns:
        A body whose cavity, inside fat and muscle, holds every point of the footprint.
    """
    half_width = float(np.clip(rng.uniform(0.40, 0.45) * field_mm[1], 125, 215))
    half_depth = float(np.clip(rng.uniform(0.64, 0.74) * half_width, 0, max(0.49 * field_mm[0], 80)))
    center_y = -rng.uniform(0.24, 0.34) * half_depth
    y, x = kidneys_yx[:, 0] - center_y, kidneys_yx[:, 1]
    level = outline_level(y, x, half_depth=half_depth, half_width=half_width).max(initial=0.0)
    reach = float(level) ** (1 / OUTLINE_POWER)
    grow = max(1.0, reach / (1 - (SKIN_MM + WALL_MM + 12) / half_depth))
    half_width, half_depth = half_width * grow, half_depth * grow
    room = half_depth * (1 - reach / grow) - WALL_MM - 4
    fat_mm = min(float(rng.uniform(8, 32)), max(room, SKIN_MM + 2))
    scale = half_width / 158
    organs = (
        *_chest(scale, rng),
        *_upper_abdomen(scale, rng),
        *_bowel(scale, half_depth / 110, rng),
    )
    wall = (
        *_wall_muscles(scale, rng),
        *_ribs(half_width - fat_mm, half_depth - fat_mm, center_y),
        *_pelvis(scale, rng),
    )
    midline = (*_spine(z_range, rng), *_great_vessels(rng))
    return Body(center_y, half_width, half_depth, fat_mm, organs, wall, midline)


def renal_vessels(kidneys: list[tuple[float, float, float]], rng: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Veins and arteries from the great vessels to each kidney's center `(z, y, x)` in mm."""
    vessels = []
    for z, y, x in kidneys:
        for offset, radius in ((-6.0, 3.5), (5.0, 5.0)):
            start_y, start_x = -30.0, 8.0 if x > 0 else -16.0
            half_length = float(np.hypot(y - start_y, x - start_x)) / 2
            center = (z + offset, (y + start_y) / 2, (x + start_x) / 2)
            angle = float(np.arctan2(y - start_y, x - start_x))
            vessels.append(Ellipsoid(center, (radius, radius, half_length), rng.uniform(130, 220), angle=angle))
    return tuple(vessels)


def _chest(scale: float, rng: np.random.Generator) -> Iterator[Ellipsoid]:
    for side in (-1, 1):
        yield Ellipsoid((-260, -20, 74 * scale * side), (170, 84 * scale, 62 * scale), -850, 30)
    yield Ellipsoid((-235, -60 * scale, 22 * scale), (70, 48 * scale, 56 * scale), rng.uniform(120, 180), 8)


def _wall_muscles(scale: float, rng: np.random.Generator) -> Iterator[Ellipsoid]:
    psoas = rng.uniform(17, 24) * scale
    for side in (-1, 1):
        yield Ellipsoid((110, 0, 36 * scale * side), (150, psoas, 0.9 * psoas), rng.uniform(50, 70), 12, 0.4 * side)
        yield Ellipsoid((0, 44, 34 * scale * side), (np.inf, 21 * scale, 29 * scale), rng.uniform(40, 65), 28)


def _ribs(half_width: float, half_depth: float, center_y: float) -> Iterator[Ellipsoid]:
    """Ribs 6 to 12 on both sides: each runs from the spine around the wall, sinking towards the front."""
    for rib in range(7):
        sweep = np.linspace(0.25, 2.6 if rib < 5 else 1.7, 18 if rib < 5 else 12)
        for angle in sweep:
            z = -170 + 26 * rib + 30 * angle
            y = center_y + (half_depth - 6) * np.cos(angle)
            for side in (-1, 1):
                x = side * (half_width - 6) * np.sin(angle)
                tangent = float(np.arctan2(-(half_depth) * np.sin(angle), side * half_width * np.cos(angle)))
                yield Ellipsoid((float(z), float(y), float(x)), (7, 4, 15), 420, 60, tangent)
                yield Ellipsoid((float(z), float(y), float(x)), (4.5, 2, 12), 200, 40, tangent)


def _pelvis(scale: float, rng: np.random.Generator) -> Iterator[Ellipsoid]:
    for side in (-1, 1):
        center, angle = (215.0, 12.0, 96 * scale * side), -1.0 * side
        yield Ellipsoid((205, 62, 70 * scale * side), (90, 38, 48 * scale), rng.uniform(40, 60), 30)
        yield Ellipsoid(center, (80, 9, 52 * scale), 380, 50, angle)
        yield Ellipsoid(center, (76, 6, 48 * scale), 190, 45, angle)
    yield Ellipsoid((265, -40, 0), (48, 40, 46 * scale), rng.uniform(0, 40), 3)


def _upper_abdomen(scale: float, rng: np.random.Generator) -> Iterator[Ellipsoid]:
    liver, shift = rng.uniform(85, 135), rng.uniform(-25, 25)
    yield Ellipsoid((-75 + shift, -38, -86 * scale), (105, 72 * scale, 70 * scale), liver, 7, 0.25)
    yield Ellipsoid((-95 + shift, -72, -14 * scale), (62, 36, 74 * scale), liver, 7, -0.15)
    for _ in range(14):  # branches of the hepatic veins
        center = (rng.uniform(-150, 0) + shift, rng.uniform(-80, 5), rng.uniform(-125, -45) * scale)
        radii = (rng.uniform(2, 12), rng.uniform(2, 4), rng.uniform(4, 16))
        yield Ellipsoid(center, radii, liver + rng.uniform(25, 60), angle=rng.uniform(0, np.pi))
    yield Ellipsoid((-78 - shift, 6, 112 * scale), (58, 44 * scale, 25 * scale), rng.uniform(100, 145), 6, -0.9)
    stomach = (-80.0, -58.0, 66 * scale)
    yield Ellipsoid(stomach, (58, 36, 46 * scale), rng.uniform(60, 110), 15, -0.3)
    yield Ellipsoid(stomach, (54, 31, 41 * scale), rng.uniform(5, 60), 14, -0.3)
    yield Ellipsoid((-80, -76, 66 * scale), (40, 12, 30 * scale), GAS_HU, 0, -0.1)
    yield Ellipsoid((-22, -46, 18 * scale), (16, 10, 58 * scale), rng.uniform(80, 125), 16, rng.uniform(-0.3, 0.3))
    yield Ellipsoid((0, -44, -38 * scale), (32, 15, 14 * scale), rng.uniform(60, 110), 18)
    yield Ellipsoid((-8 + shift, -72, -56 * scale), (32, 15, 15 * scale), rng.uniform(2, 18), 3)


def _bowel(scale: float, depth: float, rng: np.random.Generator) -> Iterator[Ellipsoid]:
    for side, z, y, radius in ((-1, 135.0, -26.0, 23.0), (1, 60.0, -12.0, 16.0)):
        center = (z, y, side * 108 * scale)
        yield Ellipsoid(center, (125, radius, radius), rng.uniform(45, 80))
        yield Ellipsoid(center, (123, radius - 3, radius - 3), rng.uniform(-60, 40), 90)
        for step in range(7):
            pocket = (z - 110 + 35 * step + rng.uniform(-8, 8), y - 0.35 * radius, center[2] + rng.uniform(-5, 5))
            yield Ellipsoid(pocket, (rng.uniform(5, 14), 0.4 * radius, 0.55 * radius), GAS_HU, 0)
    for _ in range(100):
        center = (rng.uniform(-45, 270), rng.uniform(-104, -36) * depth, rng.uniform(-92, 92) * scale)
        radius = rng.uniform(9, 19)
        radii = (rng.uniform(10, 24), radius, rng.uniform(1.0, 2.2) * radius)
        angle, wall = rng.uniform(-0.9, 0.9), rng.uniform(55, 125)
        content = rng.choice([rng.uniform(5, 60), rng.uniform(60, 130), rng.uniform(130, 280)], p=[0.55, 0.3, 0.15])
        yield Ellipsoid(center, radii, wall, 8, angle)
        yield Ellipsoid(center, (radii[0] - 2.5, radii[1] - 2.5, radii[2] - 2.5), float(content), 16, angle)
        if rng.random() < 0.3:
            top = (center[0], center[1] - 0.45 * radius, center[2])
            yield Ellipsoid(top, (0.6 * radii[0], 0.38 * radius, 0.6 * radii[2]), GAS_HU, 0)


def _spine(z_range: tuple[float, float], rng: np.random.Generator) -> Iterator[Ellipsoid]:
    """Vertebrae over the whole scan, which may reach far above and below the abdomen."""
    size, marrow = rng.uniform(0.9, 1.1), rng.uniform(140, 230)
    yield Ellipsoid((0, -2, 0), (np.inf, 15 * size, 20 * size), 95, 10)  # the discs, where no vertebra follows
    yield Ellipsoid((0, 25 * size, 0), (np.inf, 16 * size, 18 * size), 330, 70)
    yield Ellipsoid((0, 23 * size, 0), (np.inf, 9 * size, 11 * size), 32, 5)
    first = np.floor(z_range[0] / VERTEBRA_MM) * VERTEBRA_MM + rng.uniform(0, VERTEBRA_MM)
    height = 0.62 * (VERTEBRA_MM - DISC_MM)  # an ellipsoid a little taller than the body it stands for
    for z in np.arange(first - VERTEBRA_MM, z_range[1] + VERTEBRA_MM, VERTEBRA_MM):
        yield Ellipsoid((z, -3, 0), (height, 19 * size, 26 * size), 420, 50)
        yield Ellipsoid((z, -3, 0), (height - 1, 16.5 * size, 23 * size), marrow, 40)
        yield Ellipsoid((z + 6, 49 * size, 0), (11, 15 * size, 4), 340, 60)
        for side in (-1, 1):
            yield Ellipsoid((z, 23 * size, 31 * size * side), (6, 4, 16 * size), 320, 60, 0.25 * side)


def _great_vessels(rng: np.random.Generator) -> Iterator[Ellipsoid]:
    radius, hu = rng.uniform(8, 12), rng.uniform(150, 260)
    yield Ellipsoid((0, -22 - radius, 9), (np.inf, radius, radius), hu)
    yield Ellipsoid((0, -32, -18), (np.inf, rng.uniform(7, 10), rng.uniform(10, 14)), rng.uniform(100, 190), 8)
