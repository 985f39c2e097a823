"""Draws label maps of kidneys with tumors and cysts, as the phantom's cases have them.

No paper: sizes are anatomical textbook values, and how thick slices are and how large tumors are follows KiTS19
(Heller et al. 2021, Medical Image Analysis 67, 101821, doi:10.1016/j.media.2020.101821): slices of 0.5 to 5 mm, most
of them 1, 3 or 5, and tumors of about 4 cm in the median.

Coordinates are mm: `(z, y, x)`, z down, y to the back, x to the patient's left, from the middle of the trunk at the
height of the kidneys.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kidney_lab.geometry import Spacing, Triple
from kidney_lab.labels import CYST, KIDNEY, TUMOR

Points = NDArray[np.float64]

FIELD_MM = (330.0, 420.0)
MIN_DEPTH_MM = 235.0
THICKNESS_MM = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
THICKNESS_SHARE = (0.08, 0.04, 0.12, 0.06, 0.06, 0.10, 0.22, 0.06, 0.26)
TUMOR_MM = (5.0, 80.0)
CYST_MM = (8.0, 45.0)
KIDNEY_LEFT = 0.6  # part of a kidney that its largest lesion must leave


@dataclass(frozen=True)
class Kidney:
    """A bean: an ellipsoid whose poles lean towards the spine, with a sinus of fat on that side.

    Args:
        center: `(3,)` in mm.
        axes: `(3, 3)`, rows are unit vectors along its length, across, and towards the hilum.
        radii: `(3,)` in mm along those axes.
    """

    center: Points
    axes: Points
    radii: Points

    def holds(self, points: Points) -> NDArray[np.bool_]:
        """Tells which of the points `(..., 3)` are renal tissue."""
        along, across, hilum = np.moveaxis((points - self.center) @ self.axes.T / self.radii, -1, 0)
        hilum = hilum - 0.45 * along * along + 0.1
        bean = along**2 + across**2 + hilum**2
        sinus = (along / 0.45) ** 2 + (across / 0.38) ** 2 + ((hilum - 0.85) / 0.8) ** 2
        inside: NDArray[np.bool_] = (bean < 1) & (sinus > 1)
        return inside

    def surface(self, direction: Points) -> tuple[Points, Points]:
        """Point of the surface `(3,)` in a direction of its own axes `(3,)`, and the unit normal there."""
        bend = np.array([0.0, 0.0, 0.45 * direction[0] ** 2 - 0.1])
        normal = (direction / self.radii) @ self.axes
        return self.center + ((direction + bend) * self.radii) @ self.axes, normal / np.linalg.norm(normal)

    @property
    def reach(self) -> Points:
        """Half the size `(3,)` in mm of a box around the kidney."""
        padded = self.radii * (1.0, 1.0, 1.45)
        reach: Points = np.linalg.norm(padded[:, None] * self.axes, axis=0)
        return reach


@dataclass(frozen=True)
class Mass:
    """A tumor or cyst: a ball whose radius swells and shrinks smoothly over the sphere.

    Args:
        value: its label.
        center: `(3,)` in mm.
        radius: mean radius in mm.
        waves: `(N, 4)`: the wave vector and the phase of each swelling.
        roughness: height of the swellings, as a part of the radius.
    """

    value: int
    center: Points
    radius: float
    waves: Points
    roughness: float

    def holds(self, points: Points) -> NDArray[np.bool_]:
        """Tells which of the points `(..., 3)` are inside."""
        offset = points - self.center
        distance = np.linalg.norm(offset, axis=-1)
        direction = offset / np.maximum(distance, 1e-6)[..., None]
        swelling = np.sin(direction @ self.waves[:, :3].T + self.waves[:, 3]).mean(axis=-1)
        inside: NDArray[np.bool_] = distance < self.radius * (1 + self.roughness * swelling)
        return inside

    @property
    def reach(self) -> Points:
        """Half the size `(3,)` in mm of a box around the mass."""
        return np.full(3, self.radius * (1 + self.roughness))


@dataclass(frozen=True)
class Design:
    """One case of the phantom before it is put on voxels.

    Args:
        shape: `(D, H, W)`.
        spacing: mm, `(D, H, W)`.
        first: `(3,)` where the first voxel's center lies, in mm.
        kidneys: one or two.
        masses: cysts first, then tumors, of which there is at least one.
    """

    shape: Triple
    spacing: Spacing
    first: Points
    kidneys: tuple[Kidney, ...]
    masses: tuple[Mass, ...]

    @property
    def tumors_mm(self) -> list[float]:
        """Diameter of every tumor as designed, the largest first."""
        return sorted((2 * mass.radius for mass in self.masses if mass.value == TUMOR), reverse=True)

    def rasterize(self) -> NDArray[np.uint8]:
        """Puts the case on its grid.

        Returns:
            `(D, H, W)` uint8 label map; every tumor holds at least the voxel nearest to its center.
        """
        label = np.zeros(self.shape, dtype=np.uint8)
        for kidney in self.kidneys:
            self._fill(label, kidney, KIDNEY)
        for mass in self.masses:
            self._fill(label, mass, mass.value)
            nearest = np.rint((mass.center - self.first) / self.spacing).astype(int)
            label[tuple(np.clip(nearest, 0, np.array(self.shape) - 1))] = mass.value
        return label

    def _fill(self, label: NDArray[np.uint8], solid: Kidney | Mass, value: int) -> None:
        start = np.floor((solid.center - solid.reach - self.first) / self.spacing).astype(int)
        stop = np.ceil((solid.center + solid.reach - self.first) / self.spacing).astype(int) + 1
        ends = [(max(int(a), 0), min(int(b), n)) for a, b, n in zip(start, stop, self.shape, strict=True)]
        if any(a >= b for a, b in ends):
            return
        box = tuple(slice(a, b) for a, b in ends)
        for z in range(*ends[0]):  # slice by slice: the points of a fine grid are many
            lattice = np.meshgrid([z], np.arange(*ends[1]), np.arange(*ends[2]), indexing="ij")
            points = np.stack(lattice, axis=-1)[0] * np.array(self.spacing) + self.first
            label[z][box[1:]][solid.holds(points)] = value


def draw_design(rng: np.random.Generator, *, in_plane: tuple[int, int], max_slices: int) -> Design:
    """Draws a case: its kidneys, its masses and the scan that covers them.

    Args:
        rng: source of every choice.
        in_plane: rows and columns.
        max_slices: most slices of a scan; where the slices drawn are too thin to cover both kidneys with so few,
            they get thicker.

    Returns:
        A case with one or two kidneys and at least one tumor.
    """
    field = rng.uniform(*FIELD_MM)
    pixel = float(max(field / in_plane[1], MIN_DEPTH_MM / in_plane[0]))
    size = 2 * field / sum(FIELD_MM)
    kidneys = tuple(_draw_kidney(side, size, rng) for side in (-1, 1))
    if rng.random() < 0.06:
        kidneys = (kidneys[rng.integers(2)],)
    trunk = np.array([0.27, 0.40]) * field
    tumors = _diameters(rng)
    cysts = rng.uniform(*CYST_MM, size=rng.integers(1, 4) if rng.random() < 1 / 3 else 0)
    masses = [_draw_mass(CYST, float(mm), kidneys, trunk, rng) for mm in cysts]
    masses += [_draw_mass(TUMOR, mm, kidneys, trunk, rng) for mm in tumors]
    solids: tuple[Kidney | Mass, ...] = (*kidneys, *masses)
    top = min(float(solid.center[0] - solid.reach[0]) for solid in solids)
    bottom = max(float(solid.center[0] + solid.reach[0]) for solid in solids)
    thickness, slices, above = _draw_slices(bottom - top, max_slices=max_slices, rng=rng)
    shift = rng.uniform(-8, 8, size=2)
    first = np.array([top - above, *(-(np.array(in_plane) - 1) * pixel / 2 + shift)])
    return Design((slices, *in_plane), (thickness, pixel, pixel), first, kidneys, tuple(masses))


def _draw_kidney(side: int, size: float, rng: np.random.Generator) -> Kidney:
    """Draws the kidney on the patient's right (-1) or left (1); `size` scales the trunk."""
    length = rng.uniform(90, 130)
    radii = np.array([0.5 * length, rng.uniform(23, 30), rng.uniform(27, 34)])
    lateral, back = rng.uniform(64, 76) * size, rng.uniform(14, 30) * size
    center = np.array([rng.normal(-7.0 * side, 6.0), back, lateral * side])
    lean, tip, turn = np.deg2rad([rng.uniform(6, 24), rng.uniform(0, 18), rng.uniform(10, 45)])
    along = _unit(np.array([1.0, -np.tan(tip), side * np.tan(lean)]))
    hilum = np.array([0.0, -np.sin(turn), -side * np.cos(turn)])
    hilum = _unit(hilum - (hilum @ along) * along)
    return Kidney(center, np.stack([along, np.cross(along, hilum), hilum]), radii)


def _diameters(rng: np.random.Generator) -> list[float]:
    """Diameters in mm of a case's tumors: mostly one, and those beside it smaller."""
    low, high = TUMOR_MM
    first = low + (high - low) * rng.beta(1.6, 2.0)
    others = rng.choice([0, 1, 2], p=[0.82, 0.13, 0.05])
    return [float(first), *(float(max(low, first * rng.uniform(0.25, 0.8))) for _ in range(others))]


def _draw_mass(
    value: int, diameter: float, kidneys: tuple[Kidney, ...], trunk: Points, rng: np.random.Generator
) -> Mass:
    """Draws a mass from wholly inside its kidney to nearly outside; of the tries, the one with the least to object to.

    Large masses so end up where they leave most of the kidney, off the spine and within the trunk, whose half depth and
    half width in mm `trunk` gives.
    """
    kidney = kidneys[rng.integers(len(kidneys))]
    lattice = np.stack(np.meshgrid(*[np.linspace(-reach, reach, 16) for reach in kidney.reach], indexing="ij"), axis=-1)
    lattice = (lattice + kidney.center)[kidney.holds(lattice + kidney.center)]
    radius = diameter / 2
    tries: list[tuple[float, Mass]] = []
    for _ in range(40):
        direction = _unit(rng.normal(size=3))
        if direction[2] > 0.35:
            continue  # the hilum's side
        point, normal = kidney.surface(direction)
        center = point + rng.uniform(-1.0, 0.75) * radius * normal
        waves = np.column_stack([rng.normal(scale=2.2, size=(6, 3)), rng.uniform(0, 2 * np.pi, size=6)])
        mass = Mass(value, center, radius, waves, 0.1 if value == CYST else rng.uniform(0.15, 0.45))
        tries.append((_objection(mass, lattice, trunk), mass))
        if tries[-1][0] == 0:
            break
    return min(tries, key=lambda candidate: candidate[0])[1]


def _objection(mass: Mass, lattice: Points, trunk: Points) -> float:
    """How much too far a mass reaches into its kidney (points of which are `lattice`), the wall or the spine."""
    replaced = float(mass.holds(lattice).mean())
    outward = float(np.linalg.norm((mass.center[1:] + np.array([12.0, 0.0])) / trunk)) + (mass.radius + 14) / trunk[0]
    spine = float(np.hypot(mass.center[1] - 18, mass.center[2]))
    return float(
        max(0.0, replaced - (1 - KIDNEY_LEFT))
        + max(0.0, outward - 1)
        + max(0.0, (mass.radius + 26 - spine) / mass.radius)
    )


def _draw_slices(extent: float, *, max_slices: int, rng: np.random.Generator) -> tuple[float, int, float]:
    """Draws slice thickness, number of slices, and how far above the `extent` to be covered the scan begins, in mm."""
    needed = extent + 6.0
    drawn = float(rng.choice(THICKNESS_MM, p=THICKNESS_SHARE))
    enough = [mm for mm in THICKNESS_MM if mm >= drawn and needed / mm <= max_slices - 1]
    thickness = enough[0] if enough else float(np.ceil(4 * needed / (max_slices - 1)) / 4)
    above, below = rng.gamma(1.5, 28.0, size=2)
    spare = max(0.0, (max_slices - 1) * thickness - needed)
    shrink = min(1.0, spare / (above + below))
    above, below = above * shrink, below * shrink
    slices = min(max_slices, int(np.ceil((needed + above + below) / thickness)) + 1)
    return thickness, slices, float(above) + 3.0


def _unit(vector: Points) -> Points:
    unit: Points = vector / np.linalg.norm(vector)
    return unit
