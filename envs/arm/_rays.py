"""Frames from MuJoCo without OpenGL: one ray per pixel, nine where something that moves has an edge.

Everything that cannot move is drawn once, at `refresh`. A frame then casts one ray through the middle of each pixel at what
moves (MuJoCo's `mj_multiRay`), shades what was hit by its colour and normal (Lambert), lays it over the backdrop, and casts
3x3 rays through the pixels in which two things or two sides meet. The arithmetic is the same in every process, before and
after a fork: frames of one machine and one MuJoCo are equal to the bit.

Not drawn: textures, shadows, highlights, half transparency, sites, tendons, skins. What is thinner than a pixel may be missed.
"""

import copy

import mujoco
import numpy as np
import numpy.typing as npt

from imagoal.envs._types import Bools, Floats, Frames
from imagoal.errors import UsageError

Ints = npt.NDArray[np.int32]

FINE = 3  # samples along each side of a pixel with an edge
SAMPLES, CENTRE = FINE * FINE, FINE * FINE // 2
STATIC, MOVING, HIDDEN = np.eye(6, dtype=np.uint8)[:3]  # which of MuJoCo's six geom groups a ray can hit
SHOWN_GROUPS = 3  # MuJoCo's viewer, too, shows groups 0, 1, 2 unless told otherwise
SHADES = 64  # steps of brightness (8 from dark to a light of 1); a change of step marks an edge within one geom


class RayRenderer:
    """Draws states of one MuJoCo model from one camera that stands still.

    Geoms of the world body, and of bodies welded to it, are static, all others move (mocap bodies too). Geoms with alpha 0
    and those in groups 3 to 5 are invisible. Light is MuJoCo's: the headlight and the directional lights, ambient and
    diffuse parts, from where they are at `qpos0`; other lights do not shine.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        size: int,
        camera: str | int = 0,
        background: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """Prepare to draw `model`, which is read here and at `refresh`, and never written.

        Args:
            model: with at least one camera.
            size: height and width of a frame, pixels.
            camera: name or index of a perspective camera that does not move.
            background: red, green, blue from 0 to 255 where a ray hits nothing.

        Raises:
            UsageError: for a size below 1, a background out of range, an unknown camera, or one that these rays cannot be.
        """
        if np.shape(background) != (3,) or not all(0 <= part <= 255 for part in background):
            raise UsageError(f"background {background}; expected red, green and blue from 0 to 255")
        self._background = np.array(background) / 255
        self._model, self._size, self._camera = model, checked_size(size), camera_id(model, camera)
        self.refresh()

    def refresh(self) -> None:
        """Take over what changed in the model: colours, sizes, camera, light. Takes as long as some fifteen frames."""
        fixed = ~_moves(self._model)
        if not fixed[self._model.cam_bodyid[self._camera]] or self._model.cam_mode[self._camera]:
            raise UsageError(f"camera {self._camera} moves with the scene; rays need one that is fixed to the world")
        self._scene = _prepared(self._model, fixed)
        self._data = mujoco.MjData(self._scene)
        mujoco.mj_kinematics(self._scene, self._data)
        mujoco.mj_comPos(self._scene, self._data)
        mujoco.mj_camlight(self._scene, self._data)
        self._eye = self._data.cam_xpos[self._camera].copy()
        self._ambient, self._diffuse, self._towards = self._lights()
        self._rays = self._pixel_rays()
        self._centres = np.ascontiguousarray(self._rays[:, CENTRE])
        self._draw_backdrop()

    def render(self, data: mujoco.MjData) -> Frames:
        """A fresh picture u8 (size, size, 3) of `data`, which is only read.

        Only `geom_xpos` and `geom_xmat` count: they must be up to date (`mj_kinematics`, or anything that includes it, after
        `qpos` was set; mind that `mj_step` leaves those of the step's beginning). What was drawn before has no influence.
        """
        self._data.geom_xpos[:] = data.geom_xpos
        self._data.geom_xmat[:] = data.geom_xmat
        geoms, depths, normals = self._cast(self._centres, MOVING)
        hit = np.flatnonzero((geoms >= 0) & (depths < self._depths[:, CENTRE]))
        picture = self._backdrop.copy()
        surface = np.full(len(geoms), -1)
        if len(hit):
            seen, light = geoms[hit], self._light(normals[hit])
            picture[hit] = _bytes(self._colour(seen, light))
            surface[hit] = seen * SHADES + np.minimum(light[:, 1] * 8, SHADES - 1).astype(np.int64)
            edges = np.flatnonzero(_edges(surface.reshape(self._size, self._size)))
            picture[edges] = self._sampled(edges)
        return picture.reshape(self._size, self._size, 3)

    def _sampled(self, pixels: npt.NDArray[np.intp]) -> Frames:
        """Colours u8 (P, 3) of the pixels (P,), as the mean over 3x3 rays through each."""
        geoms, depths, normals = self._cast(self._rays[pixels].reshape(-1, 3), MOVING)
        colours = self._colours[pixels].reshape(-1, 3)
        hit = np.flatnonzero((geoms >= 0) & (depths < self._depths[pixels].ravel()))
        colours[hit] = self._colour(geoms[hit], self._light(normals[hit]))
        return _bytes(_mean(colours.reshape(-1, SAMPLES, 3)))

    def _draw_backdrop(self) -> None:
        """Colour (N, 9, 3) and depth (N, 9) of what is static along each ray, and its anti-aliased picture u8 (N, 3)."""
        geoms, depths, normals = self._cast(self._rays.reshape(-1, 3), STATIC)
        colours = np.tile(self._background, (len(geoms), 1))
        hit = geoms >= 0
        colours[hit] = self._colour(geoms[hit], self._light(normals[hit]))
        self._colours = colours.reshape(-1, SAMPLES, 3)
        self._depths = np.where(hit, depths, np.inf).reshape(-1, SAMPLES)
        self._backdrop = _bytes(_mean(self._colours))

    def _cast(self, rays: Floats, group: npt.NDArray[np.uint8]) -> tuple[Ints, Floats, Floats]:
        """Nearest visible geom (R,), or -1, its distance (R,) and its normal (R, 3) along rays (R, 3) from the camera."""
        count = len(rays)
        geoms, depths, normals = np.empty(count, np.int32), np.empty(count), np.empty(3 * count)
        scene, data, far = self._scene, self._data, mujoco.mjMAXVAL
        mujoco.mj_multiRay(scene, data, self._eye, rays.ravel(), group, True, -1, geoms, depths, normals, count, far)
        return geoms, depths, normals.reshape(count, 3)

    def _light(self, normals: Floats) -> Floats:
        """Red, green and blue light (R, 3) that surfaces with the normals (R, 3) send back."""
        facing = np.einsum("rk,lk->rl", normals, self._towards)  # einsum, not @: no BLAS, whose sums depend on the machine
        return np.asarray(self._ambient + np.einsum("rl,lc->rc", np.maximum(facing, 0), self._diffuse))

    def _colour(self, geoms: Ints, light: Floats) -> Floats:
        """Colours (R, 3) from 0 to 1 of geoms (R,) under light (R, 3); what is lit more brightly stays at 1."""
        return np.asarray(np.minimum(self._scene.geom_rgba[geoms, :3] * light, 1))

    def _lights(self) -> tuple[Floats, Floats, Floats]:
        """Ambient light (3,), then the colours (L, 3) of the lamps and the directions (L, 3) towards them."""
        scene, head = self._scene, self._scene.vis.headlight
        on = (scene.light_active != 0) & (scene.light_type == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
        ambient, diffuse, towards = scene.light_ambient[on].sum(0), scene.light_diffuse[on], -self._data.light_xdir[on]
        if head.active:
            backwards = self._data.cam_xmat[self._camera].reshape(3, 3)[:, 2]
            ambient = ambient + head.ambient
            diffuse, towards = np.vstack([diffuse, head.diffuse]), np.vstack([towards, backwards])
        return ambient, diffuse.astype(np.float64), towards

    def _pixel_rays(self) -> Floats:
        """Directions (N, 9, 3) through the 3x3 middles of the parts of each pixel, pixels row by row from the top."""
        size, fine = self._size, self._size * FINE
        slope = np.tan(np.radians(self._scene.cam_fovy[self._camera]) / 2)
        across = slope * ((np.arange(fine) + 0.5) * 2 / fine - 1)
        grid = np.stack(np.broadcast_arrays(across, -across[:, None], -1.0), -1)  # y up, looking along -z
        by_pixel = grid.reshape(size, FINE, size, FINE, 3).swapaxes(1, 2).reshape(-1, SAMPLES, 3)
        frame = self._data.cam_xmat[self._camera].reshape(3, 3)
        return np.ascontiguousarray(np.einsum("nsk,wk->nsw", by_pixel, frame))


def checked_size(size: int) -> int:
    """The side of a frame, pixels; raises UsageError below 1."""
    if size < 1:
        raise UsageError(f"size {size}; expected at least 1 pixel")
    return size


def camera_id(model: mujoco.MjModel, camera: str | int) -> int:
    """The index of a camera that was named or numbered; raises UsageError if there is none, or it is no plain perspective."""
    names = [model.camera(index).name for index in range(model.ncam)]
    if camera not in names and camera not in range(model.ncam):
        raise UsageError(f"camera {camera!r}; expected one of {names} or an index below {model.ncam}")
    index = names.index(camera) if isinstance(camera, str) else camera
    plain = model.cam_projection[index] == mujoco.mjtProjection.mjPROJ_PERSPECTIVE and not model.cam_sensorsize[index].any()
    if not plain:
        raise UsageError(f"camera {camera!r} has an orthographic projection or intrinsics; expected a perspective by fovy")
    return index


def _moves(model: mujoco.MjModel) -> Bools:
    """Whether each body (B,) can move; MuJoCo 3 holds even mocap bodies for welded to the world."""
    return np.asarray((model.body_weldid != 0) | (model.body_mocapid[model.body_rootid] >= 0))


def _prepared(model: mujoco.MjModel, fixed: Bools) -> mujoco.MjModel:
    """A copy of the model in which rays see everything that is visible, sorted into the groups above."""
    scene = copy.copy(model)
    # Without these trees mj_multiRay tests every geom. With them it loses geoms that do not collide, if their body has others
    # that do, and some near the poles of its azimuth and elevation: where a camera looks straight down.
    scene.body_bvhadr[:] = -1
    plain = np.all(model.geom_rgba == (0.5, 0.5, 0.5, 1), axis=1)  # MuJoCo's default: the material's colour counts
    painted = (model.geom_matid >= 0) & plain
    scene.geom_rgba[painted] = model.mat_rgba[model.geom_matid[painted]]
    scene.geom_matid[:] = -1
    hidden = (scene.geom_rgba[:, 3] == 0) | (model.geom_group >= SHOWN_GROUPS)
    groups = [group.argmax() for group in (STATIC, MOVING, HIDDEN)]
    scene.geom_group[:] = np.where(hidden, groups[2], np.where(fixed[model.geom_bodyid], groups[0], groups[1]))
    return scene


def _edges(surface: npt.NDArray[np.int64]) -> Bools:
    """Whether each pixel (h, w) differs from one of the eight around it."""
    edges = np.zeros(surface.shape, dtype=np.bool_)
    low, high, whole = slice(None, -1), slice(1, None), slice(None)
    for one, other in [
        ((low, whole), (high, whole)),
        ((whole, low), (whole, high)),
        ((low, low), (high, high)),
        ((low, high), (high, low)),
    ]:
        differ = surface[one] != surface[other]
        edges[one] |= differ
        edges[other] |= differ
    return edges


def _mean(samples: Floats) -> Floats:
    """The mean (P, 3) of samples (P, 9, 3); einsum does it five times as fast as mean."""
    return np.asarray(np.einsum("psc->pc", samples) / SAMPLES)


def _bytes(colours: Floats) -> Frames:
    """Colours from 0 to 1 as u8."""
    return (colours * 255 + 0.5).astype(np.uint8)
