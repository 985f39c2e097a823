"""Surface elements of a voxel mask: where they lie and how large they are, as marching cubes sees them.

S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med Internet Res
2021, doi:10.2196/26151, define the surface Dice on these elements, and KiTS21 and KiTS23 score with them. A surface
element ("surfel") sits at every corner that eight voxels share where these are neither all inside nor all outside; its
area is that of the marching cubes triangles through the 2x2x2 neighbourhood, whose vertices lie halfway along the
lines between voxel centres.

The paper leaves the triangles of ambiguous neighbourhoods open. Their areas here follow from two rules that give the
published evaluation's numbers for all 256 neighbourhoods: the side with fewer voxels is cut off in parts, one for each
set of voxels that touch by a face, and a bent polygon is split into
plane pieces as `_plane_pieces` says.
"""

from functools import cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kidney_lab.geometry import Spacing

Corner = tuple[int, ...]

CORNERS: tuple[Corner, ...] = tuple(product((0, 1), repeat=3))
"""The voxels of a neighbourhood in the order of the bits of its code, lowest first."""


def neighbour_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Encodes which of the eight voxels around every voxel corner are inside.

    Args:
        mask: `(D, H, W)`; outside the array is background.

    Returns:
        `(D + 1, H + 1, W + 1)`: element `(d, h, w)` is the corner before voxel `(d, h, w)`; bit `4 a + 2 b + c` is
        voxel `(d - 1 + a, h - 1 + b, w - 1 + c)`.
    """
    voxels = np.pad(mask, 1).view(np.uint8)
    lines = voxels[:, :, :-1] | voxels[:, :, 1:] << 1
    planes = lines[:, :-1] | lines[:, 1:] << 2
    return (planes[:-1] | planes[1:] << 4).astype(np.uint8, copy=False)


def is_surface(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tells where a neighbourhood is neither all outside (0) nor all inside (255)."""
    return codes + np.uint8(1) > 1


def surfel_areas(spacing_mm: Spacing) -> NDArray[np.float64]:
    """Area of the surface through each of the 256 neighbourhoods.

    Args:
        spacing_mm: distance between voxels, (D, H, W), in mm.

    Returns:
        `(256,)` float64, mm²; 0 for the two codes without a surface.
    """
    codes, vectors = _area_vectors()
    cell_faces = np.prod(spacing_mm) / np.asarray(spacing_mm)
    areas = np.linalg.norm(vectors * cell_faces, axis=1)
    return np.bincount(codes, weights=areas, minlength=256).astype(np.float64, copy=False)


@cache
def _area_vectors() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Area vectors of all plane pieces of all neighbourhoods, in units of a voxel's faces: codes `(N,)`, `(N, 3)`."""
    pieces = [(code, vector) for code in range(256) for part in _parts(code) for vector in _plane_pieces(part)]
    codes, vectors = zip(*pieces, strict=True)
    return np.array(codes), np.array(vectors)


def _parts(code: int) -> list[list[Corner]]:
    """Face-connected parts of the side of a neighbourhood that has fewer voxels, the inside if both have four."""
    inside = [corner for bit, corner in enumerate(CORNERS) if code >> bit & 1]
    fewer = inside if len(inside) <= 4 else [corner for corner in CORNERS if corner not in inside]
    n, edges = len(fewer), np.array(_edges(fewer), dtype=int).reshape(-1, 3)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    count, part_of = connected_components(graph, directed=False)
    return [[fewer[i] for i in np.flatnonzero(part_of == part)] for part in range(count)]


def _edges(corners: list[Corner]) -> list[tuple[int, int, int]]:
    """Pairs of corners that differ along one axis: (index, index, axis)."""
    found = []
    for i, j in combinations(range(len(corners)), 2):
        axes = np.flatnonzero(np.subtract(corners[i], corners[j]))
        if len(axes) == 1:
            found.append((i, j, int(axes[0])))
    return found


def _plane_pieces(part: list[Corner]) -> list[NDArray[np.float64]]:
    """Plane pieces of the polygon that cuts one connected part of at most four voxels off its neighbourhood.

    Returns:
        Their area vectors, without signs, in units of a voxel's faces: `(1, 0, 0)` is as large as a face between two
        slices.
    """
    edges = _edges(part)
    along = np.bincount([axis for _, _, axis in edges], minlength=3)  # edges along each axis
    degree = np.bincount([i for edge in edges for i in edge[:2]], minlength=len(part))
    diagonal, axes = np.ones(3), np.eye(3)
    match len(part), len(edges), int(degree.max()):
        case 1, _, _:  # triangle
            return [diagonal / 8]
        case 2, _, _:  # rectangle along the edge
            return [(diagonal - along) / 2]
        case 3, _, _:  # pentagon: the triangle in the plane of the L, and a trapezoid
            return [(along == 0) / 2, diagonal * 3 / 8]
        case 4, 4, _:  # rectangle parallel to a face
            return [1.0 * (along == 0)]
        case 4, 3, 3:  # a corner and its three neighbours: a plane hexagon
            return [diagonal * 3 / 4]
        case _:  # a path that turns twice: a hexagon bent about the direction of its middle edge
            middle = next(axis for i, j, axis in edges if degree[i] == degree[j] == 2)
            return [diagonal / 2, *((axes[middle] + axes[other]) / 4 for other in {0, 1, 2} - {middle})]
