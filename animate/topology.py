"""The 478-point MediaPipe face mesh: named regions, symmetric pairs, triangles.

Left and right are the SUBJECT's: in an unmirrored picture the right eye (33, 133, iris 468) lies on the left
side of the image. Point lists that describe a curve run corner to corner in the order named in their comment.
Points 0..467 are the skin mesh, 468..477 the irises (centre, then four ring points).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

POINTS = 478
SKIN_POINTS = 468
EYES = ("right", "left")  # order of every per-eye array in Mien

# Eyelids, outer corner to inner corner.
RIGHT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_EYE_UPPER = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LEFT_EYE_LOWER = (263, 249, 390, 373, 374, 380, 381, 382, 362)
RIGHT_EYE_CORNERS = (33, 133)  # outer, inner
LEFT_EYE_CORNERS = (263, 362)  # outer, inner
EYE_CORNERS = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
RIGHT_EYE_PAIRS = tuple(zip(RIGHT_EYE_UPPER[1:-1], RIGHT_EYE_LOWER[1:-1], strict=True))
LEFT_EYE_PAIRS = tuple(zip(LEFT_EYE_UPPER[1:-1], LEFT_EYE_LOWER[1:-1], strict=True))
EYE_PAIRS = (RIGHT_EYE_PAIRS, LEFT_EYE_PAIRS)  # (upper lid, lower lid), outer to inner, per eye
RIGHT_EYE = RIGHT_EYE_UPPER + RIGHT_EYE_LOWER[1:-1]
LEFT_EYE = LEFT_EYE_UPPER + LEFT_EYE_LOWER[1:-1]

# Rings of skin round each eye: the first follows the lid, the second the crease and the bag under the eye.
RIGHT_LID_RING = (130, 247, 30, 29, 27, 28, 56, 190, 243, 25, 110, 24, 23, 22, 26, 112)
LEFT_LID_RING = (359, 467, 260, 259, 257, 258, 286, 414, 463, 255, 339, 254, 253, 252, 256, 341)
RIGHT_CREASE_RING = (226, 113, 225, 224, 223, 222, 221, 189, 244, 31, 228, 229, 230, 231, 232, 233)
LEFT_CREASE_RING = (446, 342, 445, 444, 443, 442, 441, 413, 464, 261, 448, 449, 450, 451, 452, 453)

RIGHT_IRIS_CENTRE, LEFT_IRIS_CENTRE = 468, 473
RIGHT_IRIS = (468, 469, 470, 471, 472)  # centre, image right (nasal), top, image left (temporal), bottom
LEFT_IRIS = (473, 474, 475, 476, 477)  # centre, image right (temporal), top, image left (nasal), bottom
IRISES = (RIGHT_IRIS, LEFT_IRIS)
IRIS_CENTRES = (RIGHT_IRIS_CENTRE, LEFT_IRIS_CENTRE)

# Brows, outer end to inner end.
RIGHT_BROW_UPPER = (70, 63, 105, 66, 107)
RIGHT_BROW_LOWER = (46, 53, 52, 65, 55)
LEFT_BROW_UPPER = (300, 293, 334, 296, 336)
LEFT_BROW_LOWER = (276, 283, 282, 295, 285)
RIGHT_BROW = RIGHT_BROW_UPPER + RIGHT_BROW_LOWER
LEFT_BROW = LEFT_BROW_UPPER + LEFT_BROW_LOWER
BROWS = (RIGHT_BROW, LEFT_BROW)

# Lips, the subject's right corner to the left corner (image left to image right).
INNER_LIPS_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LIPS_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OUTER_LIPS_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LIPS_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
INNER_LIPS = INNER_LIPS_UPPER + INNER_LIPS_LOWER[1:-1]
OUTER_LIPS = OUTER_LIPS_UPPER + OUTER_LIPS_LOWER[1:-1]
# The red of the lips between the inner and the outer line.
MID_LIPS_UPPER = (
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
)
MID_LIPS_LOWER = ((77, 90, 180, 85, 16, 315, 404, 320, 307), (96, 89, 179, 86, 15, 316, 403, 319, 325))
UPPER_LIP = INNER_LIPS_UPPER[1:-1] + OUTER_LIPS_UPPER[1:-1] + MID_LIPS_UPPER[0][1:-1] + MID_LIPS_UPPER[1][1:-1]
LOWER_LIP = INNER_LIPS_LOWER[1:-1] + OUTER_LIPS_LOWER[1:-1] + MID_LIPS_LOWER[0] + MID_LIPS_LOWER[1]
MOUTH_CORNERS = (78, 308)
OUTER_MOUTH_CORNERS = (61, 291)
LIP_CORNERS = (78, 308, 61, 291, 76, 306, 62, 292)
LIP_PAIRS = tuple(zip(INNER_LIPS_UPPER[1:-1], INNER_LIPS_LOWER[1:-1], strict=True))  # (upper, lower)
OUTER_LIP_PAIRS = tuple(zip(OUTER_LIPS_UPPER[1:-1], OUTER_LIPS_LOWER[1:-1], strict=True))
LIPS = tuple(sorted({*UPPER_LIP, *LOWER_LIP, *LIP_CORNERS}))

# The outline of the face, clockwise on the screen from the middle of the forehead.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
CHIN = 152
FOREHEAD = 10
NOSE_TIP = 4
NOSE_BASE = 2
NOSE_BRIDGE = (168, 6, 197, 195, 5, 4)
NOSE = (
    *(168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 122, 351, 196, 419, 3, 248, 51, 281, 45),
    *(275, 44, 274, 125, 354, 141, 370, 97, 326, 98, 327, 99, 328, 60, 290, 75, 305, 20, 250),
    *(238, 458, 239, 459, 241, 461, 242, 462, 79, 309, 218, 438, 166, 392, 59, 289, 219, 439, 235),
    *(455, 240, 460, 64, 294, 48, 278, 115, 344, 220, 440, 237, 457, 134, 363, 131, 360, 198, 420),
    *(236, 456, 174, 399, 188, 412, 217, 437, 114, 343, 49, 279, 102, 331, 209, 429, 129, 358),
)
CHIN_POINTS = (
    *(152, 148, 176, 149, 377, 400, 378, 175, 171, 396, 199, 208, 428, 200, 201, 421, 18, 83, 313, 32, 262),
    *(140, 369, 194, 418, 182, 406, 204, 424, 211, 431, 170, 395),
)
JAW_LINE = (
    *(132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361),
    *(169, 394, 135, 364, 138, 367, 210, 430, 202, 422, 214, 434, 212, 432, 43, 273, 106, 335, 57, 287),
)

# Points that expressions hardly move: bridge and back of the nose, eye corners, temples, forehead. The
# weights (same order) fall where brows, cheeks or the tracker's outline wobble.
RIGID = (
    *(168, 6, 197, 195, 5, 4, 122, 351, 196, 419, 188, 412, 174, 399, 236, 456, 198, 420),
    *(33, 263, 133, 362, 130, 359, 243, 463),
    *(127, 356, 162, 389, 234, 454, 93, 323, 227, 447, 34, 264, 139, 368),
    *(10, 151, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251),
)
RIGID_WEIGHTS = (*(1.0,) * 18, *(1.0,) * 8, *(0.6,) * 14, *(0.4,) * 12)

# What an animation strength or region name means in points; `animate.retarget` blends between them smoothly.
REGIONS: dict[str, tuple[int, ...]] = {
    "eyes": tuple(
        sorted({*RIGHT_EYE, *LEFT_EYE, *RIGHT_LID_RING, *LEFT_LID_RING, *RIGHT_CREASE_RING, *LEFT_CREASE_RING})
    ),
    "brows": tuple(sorted({*RIGHT_BROW, *LEFT_BROW})),
    "lips": LIPS,
    "jaw": tuple(sorted({*CHIN_POINTS, *JAW_LINE})),
    "nose": tuple(sorted(NOSE)),
    "irises": RIGHT_IRIS + LEFT_IRIS,
    "oval": FACE_OVAL,
}

FACE_MESH_FILE = Path(__file__).resolve().parents[1] / "weights" / "embedded" / "face_mesh.safetensors"


def _load() -> tuple[np.ndarray, np.ndarray]:
    from safetensors.numpy import load_file

    tables = load_file(FACE_MESH_FILE)
    for table in tables.values():
        table.flags.writeable = False
    return tables["triangles"], tables["mirror"]


#: TRIANGLES (852, 3) int32: the skin mesh without mouth opening and eye openings. Facing the camera, a
#: triangle runs counter-clockwise on the screen: its signed area with y down is negative and turns positive
#: with it. MIRROR (478,) int32: the index of each point's partner across the face's midline; an involution.
TRIANGLES, MIRROR = _load()


def mirror_landmarks(landmarks: np.ndarray, width: float) -> np.ndarray:
    """Landmarks (..., 478, 3) px of the horizontally flipped picture whose width is `width` px."""
    flipped = np.array(landmarks)[..., MIRROR, :]
    flipped[..., 0] = (width - 1) - flipped[..., 0]
    return flipped


def triangles_from_edges(edges: set[tuple[int, int]]) -> np.ndarray:
    """The faces (M, 3) int32 of an oriented mesh given by directed edges (MediaPipe's FACEMESH_TESSELATION).

    Both directions of an inner edge are listed, so orientation comes from the rims and spreads inwards. Three
    mutually joined points that enclose another point are no face: each of their edges has three such triples.
    """
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    cliques = {tuple(sorted((a, b, c))) for a, b in edges for c in neighbours[a] & neighbours[b]}
    by_edge: dict[frozenset[int], list[tuple[int, ...]]] = {}
    for clique in cliques:
        for i in range(3):
            by_edge.setdefault(frozenset((clique[i], clique[i - 2])), []).append(clique)
    faces = {c for c in cliques if any(len(by_edge[frozenset((c[i], c[i - 2]))]) < 3 for i in range(3))}

    oriented: dict[tuple[int, ...], tuple[int, int, int]] = {}
    todo = [(edge, face) for edge in edges if edge[::-1] not in edges for face in by_edge[frozenset(edge)]]
    while todo:
        (a, b), face = todo.pop()
        if face in oriented or face not in faces:
            continue
        c = next(p for p in face if p not in (a, b))
        oriented[face] = (a, b, c)
        for p, q in ((a, b), (b, c), (c, a)):
            todo += [((q, p), other) for other in by_edge[frozenset((p, q))] if other != face]
    rolled = [f[f.index(min(f)) :] + f[: f.index(min(f))] for f in oriented.values()]
    return np.array(sorted(rolled), np.int32)


def mirror_from_face(face: np.ndarray) -> np.ndarray:
    """The mirror permutation (N,) int32 of a frontal face (N, 3) with midline x = 0: the nearest partners."""
    from scipy.optimize import linear_sum_assignment

    reflected = face * (-1.0, 1.0, 1.0)
    return linear_sum_assignment(np.linalg.norm(face[:, None] - reflected[None], axis=-1))[1].astype(np.int32)
