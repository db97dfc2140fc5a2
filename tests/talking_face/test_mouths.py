"""Where a dubbed mouth's pixels come from, and the masks under which they are laid."""

import numpy as np
import pytest

from animate import pose
from animate import topology as mesh
from animate.mouth_table import MouthTable
from animate.warp import PortraitWarp
from talking_face.mouths import (
    Candidates,
    MouthSource,
    MouthSources,
    Texture,
    choose_sources,
    choose_textures,
    draw_warped,
    face_to_face,
    own_table,
    with_corners,
    without_teeth,
)
from talking_face.outline import colour_change, face_box, face_mask, lips_mask


@pytest.fixture(scope="module")
def face(astronaut_face):
    return astronaut_face


def candidates(opening, yaw=None, speed=None) -> Candidates:
    count = len(opening)
    angles = np.zeros((count, 3))
    angles[:, 1] = 0 if yaw is None else yaw
    speed = np.zeros(count) if speed is None else np.asarray(speed, float)
    return Candidates(np.arange(100, 100 + count), angles, np.asarray(opening, float), np.full(count, 0.8), speed)


class TestChoice:
    def test_a_still_head_needs_one_source_and_it_is_closed_and_slow(self):
        assert choose_sources(candidates([0.2, 0.0, 0.15, 0.0], speed=[0, 0.4, 0, 0.01])) == [103]

    def test_a_turning_head_gets_sources_on_its_way_but_no_open_or_blurred_ones(self):
        yaw = np.linspace(-0.4, 0.4, 81)
        opening = np.where(np.arange(81) % 2, 0.0, 0.2)
        speed = np.where(np.arange(81) > 60, 3.0, 0.0)
        chosen = np.array(choose_sources(candidates(opening, yaw, speed))) - 100
        assert 3 <= len(chosen) <= 6 and (chosen % 2 == 1).all() and (chosen <= 60).all()
        assert np.ptp(yaw[chosen]) > 0.4

    def test_a_clip_without_a_closed_mouth_still_has_a_source(self):
        assert choose_sources(candidates([0.3, 0.25, 0.2])) == [102]

    def test_textures_come_from_open_mouths_of_every_kind(self):
        chosen = choose_textures(candidates([0.0, 0.01, 0.05, 0.05, 0.3, 0.1]))
        assert chosen == [102, 103, 104, 105]


class TestTable:
    def test_a_mouth_of_the_clip_replaces_the_general_ones_near_it_only(self, face):
        general = MouthTable.load()
        green = np.zeros((24, 48, 3), np.float32) + (0, 1, 0)
        table = own_table([Texture(green, 0.19, 0.75)] * 12, general)
        assert np.abs(table.lookup(0.19, 0.75) - green).mean() < 0.12
        assert np.array_equal(table.lookup(0.02, 0.95), general.lookup(0.02, 0.95))

    def test_without_open_mouths_the_general_table_stays(self):
        general = MouthTable.load()
        assert own_table([], general) is general


class TestLandmarks:
    def test_lips_of_an_open_mouth_lose_their_inner_edge_and_closed_ones_nothing(self, face):
        _, points = face
        opened = np.array(points)
        opened[list(mesh.LOWER_LIP), 1] += 12
        gaps = [p[14, 1] - p[13, 1] for p in (opened, without_teeth(opened))]
        assert gaps[1] > gaps[0] + 0.8
        closed = np.array(points)
        for upper, lower in mesh.LIP_PAIRS:
            closed[lower] = closed[upper]
        assert np.array_equal(without_teeth(closed), closed)

    def test_corners_move_out_along_the_mouth(self, face):
        _, points = face
        moved = with_corners(points) - points
        assert moved[61, 0] < -1 and moved[291, 0] > 1 and np.abs(moved[[13, 14, 0, 17]]).max() == 0

    def test_face_to_face_carries_a_turned_face_back(self, face):
        _, points = face
        turned = np.array(points)
        turn = 1.3 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
        turned[:, :2] = points[:, :2] @ turn.T + (7, -4)
        matrix = face_to_face(points, turned)
        assert np.allclose(matrix[:, :2], turn, atol=1e-5) and np.allclose(matrix[:, 2], (7, -4), atol=1e-3)


class TestDrawing:
    def test_nothing_moves_where_the_landmarks_are_the_own(self, face):
        picture, points = face
        still = draw_warped(PortraitWarp(picture, points), points, np.eye(2, 3), picture.shape[:2])
        x0, y0, x1, y1 = face_box((points,), picture.shape[1::-1])
        assert np.abs(still.astype(int) - picture)[y0:y1, x0:x1].mean() < 0.1

    def test_a_source_is_drawn_in_the_targets_place_and_size(self, face):
        picture, points = face
        smaller = np.array(points) * 0.8 + (15, 20, 0)
        drawn = MouthSource(picture, points, MouthTable.load()).draw(smaller, (260, 260))
        there = np.round(smaller[[50, 280, 205, 425], :2]).astype(int)
        here = np.round(points[[50, 280, 205, 425], :2]).astype(int)
        apart = drawn[there[:, 1], there[:, 0]].astype(int) - picture[here[:, 1], here[:, 0]]
        assert np.abs(apart).mean() < 12

    def test_shares_change_smoothly_from_source_to_source(self, face):
        picture, points = face
        source = MouthSource(picture, points, MouthTable.load())
        sources = MouthSources([source] * 3)
        sources._angles = np.array([[0, -0.1, 0], [0, 0.0, 0], [0, 0.12, 0]])
        weights = np.zeros((200, 3))
        for t, yaw in enumerate(np.linspace(-0.15, 0.15, 200)):
            for i, share in sources.shares(np.array([0, yaw, 0])):
                weights[t, i] = share
        assert np.allclose(weights.sum(axis=1), 1) and np.abs(np.diff(weights, axis=0)).max() < 0.08
        assert (weights.max(axis=0) > 0.9).all()


class TestMasks:
    def test_the_mask_holds_both_outlines_and_nothing_above_the_eyes(self, face):
        picture, points = face
        lower = np.array(points)
        lower[[mesh.CHIN, 148, 377, 176, 400], 1] += 15
        mask = face_mask(points, lower, picture.shape[:2])
        at = {i: np.round(lower[i, :2]).astype(int) for i in (13, mesh.CHIN, 33, 263, mesh.FOREHEAD)}
        assert mask[at[13][1], at[13][0]] == 1 and mask[at[mesh.CHIN][1] - 2, at[mesh.CHIN][0]] > 0.95
        assert all(mask[at[i][1], at[i][0]] == 0 for i in (33, 263, mesh.FOREHEAD))
        iod = pose.inter_ocular(points)
        assert mask[round(at[mesh.CHIN][1] + 0.25 * iod) :].max() == 0
        assert (mask[:, 0] == 0).all() and (mask[:, -1] == 0).all()

    def test_the_mask_changes_little_when_the_face_moves_by_a_tenth_of_a_pixel(self, face):
        picture, points = face
        moved = points + np.array([0.1, 0.1, 0], np.float32)
        masks = [face_mask(p, p, picture.shape[:2]) for p in (points, moved)]
        assert np.abs(masks[0] - masks[1]).max() < 0.12 and np.abs(masks[0] - masks[1]).mean() < 0.003

    def test_lips_lie_inside_their_mask_and_skin_outside(self, face):
        picture, points = face
        lips, skin = lips_mask(points, picture.shape[:2])
        inner = np.round(points[list(mesh.LIPS), :2]).astype(int)
        assert lips[inner[:, 1], inner[:, 0]].min() > 0.95 and not skin[inner[:, 1], inner[:, 0]].any()
        assert lips[5, 5] == 0 and skin[5, 5]

    def test_colours_go_over_into_those_below(self):
        below = np.full((60, 60, 3), 100, np.float32)
        above = below - (0, 20, 40)
        known = np.ones((60, 60), bool)
        known[20:40, 20:40] = False
        change = colour_change(below, above, known, iod=30)
        assert np.abs(change - (0, 20, 40)).max() < 1

    def test_the_box_stays_inside_the_picture(self, face):
        _, points = face
        x0, y0, x1, y1 = face_box((points, points + 500), (290, 300))
        assert 0 <= x0 < x1 == 290 and 0 <= y0 < y1 == 300
        assert face_box((points - 5000,), (290, 300)) == (0, 0, 1, 1)
