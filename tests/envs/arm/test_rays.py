import copy
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
import pytest

from imagoal.envs._types import Floats, Frames
from imagoal.envs.arm._rays import CENTRE, MOVING, STATIC, RayRenderer
from imagoal.errors import UsageError

SIZE, VIEW, HEIGHT = 64, 0.52, 3.0  # px, m at the table, m of the camera above it
PIXEL = VIEW / SIZE
DISC = 0.038  # m, radius

TABLE = f"""
<mujoco>
  <visual><headlight ambient="0.4 0.4 0.4" diffuse="0 0 0" specular="0 0 0"/></visual>
  <asset><material name="green" rgba="0 0.8 0 1" specular="0"/></asset>
  <worldbody>
    <light name="sun" directional="true" dir="-0.25 0.3 -1" diffuse="0.6 0.6 0.6" specular="0 0 0" castshadow="false"/>
    <camera name="above" pos="0 0 {HEIGHT}" fovy="{np.degrees(2 * np.arctan(VIEW / 2 / HEIGHT))}"/>
    <camera name="side" pos="0 -1 0.6" xyaxes="1 0 0 0 0.5 0.86" fovy="40"/>
    <camera name="flat" pos="0 0 1" projection="orthographic" fovy="1"/>
    <geom name="table" type="plane" size="2 2 0.1" rgba="0.9 0.9 0.9 1"/>
    <geom name="lip" type="box" pos="0.2 0 0.005" size="0.006 0.2 0.005" rgba="0.5 0.5 0.4 1"/>
    <body name="arm" pos="0 -0.2 0.1">
      <joint axis="0 0 1"/>
      <geom name="link" type="capsule" fromto="0 0 0 0 0.2 0" size="0.012" rgba="0.3 0.3 0.4 1" contype="0" conaffinity="0"/>
      <geom name="finger" type="cylinder" fromto="0 0.2 -0.09 0 0.2 0.02" size="0.016" rgba="0.1 0.4 0.7 1"/>
      <camera name="wrist"/>
    </body>
    <body name="puck" pos="0 0 0.001">
      <joint type="slide" axis="1 0 0"/>
      <joint type="slide" axis="0 1 0"/>
      <geom name="puck" type="cylinder" size="{DISC} 0.001" rgba="0.8 0.2 0.2 1"/>
    </body>
    <body name="hand" mocap="true" pos="-0.1 0.1 0.02">
      <geom name="hand" type="box" size="0.02 0.03 0.02" material="green"/>
    </body>
  </worldbody>
</mujoco>
"""


def loaded(xml: str = TABLE) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(xml)
    return model, posed(model, np.zeros(model.nq) + model.qpos0)


def posed(model: mujoco.MjModel, qpos: Floats) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    return data


def numbers(values: Floats) -> str:
    return " ".join(str(float(value)) for value in values)


def random_geom(rng: np.random.Generator, spread: float) -> str:
    """A geom of any kind that collides or not, and is sometimes not to be seen."""
    shape = rng.choice(["sphere", "capsule", "box", "cylinder", "ellipsoid"])
    collides, group, alpha = rng.integers(2), rng.choice([0, 1, 2, 4]), int(rng.random() > 0.15)
    size, place, turn = rng.uniform(0.02, 0.12, 3), rng.uniform(-spread, spread, 3), rng.uniform(-180, 180, 3)
    return f"""<geom type="{shape}" size="{numbers(size)}" pos="{numbers(place)}" euler="{numbers(turn)}"
        rgba="{numbers(rng.random(3))} {alpha}" contype="{collides}" conaffinity="0" group="{group}"/>"""


def random_scene(seed: int) -> str:
    """Two static geoms and five bodies of three geoms each above a plane, seen from straight above or aslant."""
    rng = np.random.default_rng(seed)
    bodies = [
        f"""<body pos="{numbers(rng.uniform(-0.4, 0.4, 3))}"><freejoint/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
        {"".join(random_geom(rng, 0.1) for _ in range(3))}</body>"""
        for _ in range(5)
    ]
    tilt = rng.uniform(-20, 20, 2) * (seed % 2)
    return f"""<mujoco><worldbody><camera pos="0 0 1.5" euler="{numbers(tilt)} 0" fovy="50"/>
        <geom type="plane" size="1 1 0.1" pos="0 0 -0.5"/>{random_geom(rng, 0.4)}{random_geom(rng, 0.4)}
        {"".join(bodies)}</worldbody></mujoco>"""


@pytest.mark.parametrize("seed", range(8))
def test_rays_agree_with_mj_ray_pixel_by_pixel(seed: int) -> None:
    model, _ = loaded(random_scene(seed))
    data = posed(model, model.qpos0 + np.random.default_rng(seed).normal(0, 0.05, model.nq))
    mujoco.mj_camlight(model, data)
    renderer = RayRenderer(model, 40)
    renderer.render(data)  # hands the pose over
    rays = renderer._rays[:, CENTRE]
    geoms, depths = np.full(len(rays), -1), np.full(len(rays), np.inf)
    for group in (STATIC, MOVING):
        hits, distances, _ = renderer._cast(rays.copy(), group)
        nearer = (hits >= 0) & (distances < depths)
        geoms[nearer], depths[nearer] = hits[nearer], distances[nearer]

    one, shown = np.zeros(1, np.int32), np.array([1, 1, 1, 0, 0, 0], np.uint8)
    expected = [(mujoco.mj_ray(model, data, data.cam_xpos[0], ray, shown, True, -1, one), int(one[0])) for ray in rays]
    assert [geom for _, geom in expected] == geoms.tolist()
    assert len(set(geoms.tolist())) > 5
    np.testing.assert_allclose(np.where(geoms < 0, -1, depths), [distance for distance, _ in expected], rtol=1e-12)


def test_rays_go_through_the_middles_of_the_pixels_that_the_camera_sees() -> None:
    model, data = loaded()
    picture = RayRenderer(model, SIZE, "above").render(data)
    across = int((0.2 + VIEW / 2) / PIXEL)
    assert picture[SIZE // 2, across].max() < picture[SIZE // 2, SIZE - across].max()  # the lip is on the right only
    assert picture[int((VIEW / 2 - 0.1) / PIXEL), int((VIEW / 2 - 0.1) / PIXEL)].argmax() == 1  # the green hand at (-0.1, 0.1)


def test_area_and_centre_of_a_disc() -> None:
    model, _ = loaded()
    model.geom_rgba[[model.geom(name).id for name in ("link", "finger", "hand", "lip", "table")], 3] = 0
    model.geom_rgba[model.geom("puck").id] = 1
    renderer = RayRenderer(model, SIZE, "above")
    middles = (np.arange(SIZE) + 0.5) * PIXEL - VIEW / 2
    rng, areas = np.random.default_rng(0), []
    for _ in range(40):
        x, y = rng.uniform(-0.15, 0.15, 2)
        covered = renderer.render(posed(model, np.array([0, x, y])))[..., 0] / renderer.render(posed(model, np.zeros(3))).max()
        areas.append(covered.sum() * PIXEL**2)
        assert ((covered > 0) & (covered < 1)).sum() > 20, "the edge is anti-aliased"
        centre = np.array([(covered.sum(0) * middles).sum(), -(covered.sum(1) * middles).sum()]) / covered.sum()
        assert np.abs(centre - (x, y)).max() < 0.1 * PIXEL
    assert np.abs(np.array(areas) / (np.pi * DISC**2) - 1).max() < 0.01


def test_brightness_is_lambert() -> None:
    model, data = loaded()
    cosine = 1 / np.linalg.norm([-0.25, 0.3, 1])
    expected = np.array([0.8, 0.2, 0.2]) * (0.4 + 0.6 * cosine)
    picture = RayRenderer(model, SIZE, "above").render(posed(model, np.array([0.0, 0.0, 0.15])))
    row = int((VIEW / 2 - 0.15) / PIXEL)
    np.testing.assert_allclose(picture[row, SIZE // 2] / 255, expected, atol=0.003)
    model.vis.headlight.active = 0
    model.light_active[:] = 0
    dark = RayRenderer(model, SIZE, "above", background=(1, 2, 3)).render(data)
    assert not dark.any(), "the table fills the picture, and nothing shines"


def test_rays_that_hit_nothing_show_the_background() -> None:
    model, data = loaded()
    model.geom_rgba[:, 3] = 0  # also that of the material
    model.mat_rgba[:, 3] = 0
    model.geom_rgba[model.geom("hand").id] = (0.5, 0.5, 0.5, 1)  # the default: the material decides
    assert np.all(RayRenderer(model, 8, "above", (10, 20, 30)).render(data) == (10, 20, 30))


def test_what_is_static_hides_what_moves_below_it() -> None:
    model, data = loaded()
    model.geom_pos[model.geom("lip").id] = (0, 0, 0.3)
    model.geom_size[model.geom("lip").id] = (0.3, 0.3, 0.01)
    assert np.ptp(RayRenderer(model, SIZE, "above").render(data).reshape(-1, 3), axis=0).max() == 0


def test_what_is_static_hides_the_half_of_a_thing_to_the_pixel() -> None:
    model, data = loaded()
    model.geom_pos[model.geom("lip").id] = (0.1, 0, 0.01)  # covers x > 0, and half of the puck
    model.geom_size[model.geom("lip").id] = (0.1, 0.2, 0.004)
    renderer = RayRenderer(model, SIZE, "above")
    picture, elsewhere = renderer.render(data), renderer.render(posed(model, np.array([0, 0.1, 0])))
    right = SIZE // 2 + 1
    assert np.array_equal(picture[SIZE // 2 - 8 : SIZE // 2 + 8, right:], elsewhere[SIZE // 2 - 8 : SIZE // 2 + 8, right:])
    assert not np.array_equal(picture, elsewhere)


def test_creases_between_the_sides_of_one_geom_are_anti_aliased() -> None:
    model = mujoco.MjModel.from_xml_string("""<mujoco><worldbody><light directional="true" dir="1 0 -1"/>
        <camera pos="0 0 3" fovy="10"/>
        <body euler="0 0 20"><freejoint/><geom type="box" size="0.1 0.2 0.1" euler="0 45 0"/></body>
        </worldbody></mujoco>""")
    picture = RayRenderer(model, SIZE).render(posed(model, model.qpos0))
    middle = picture[SIZE // 2 - 10 : SIZE // 2 + 10, SIZE // 2 - 10 : SIZE // 2 + 10, 0]
    mixed = (middle > middle.min()) & (middle < middle.max())  # neither the bright nor the dark side of the roof
    assert mixed.sum(1).max() == 1
    assert mixed.sum() >= 15, "most rows cross the ridge in one pixel of both sides"


def test_a_colour_of_its_own_overrides_the_material() -> None:
    model, data = loaded()
    model.mat_rgba[:, 3] = 0
    assert not (RayRenderer(model, SIZE, "above").render(data).argmax(-1) == 1).any()
    model.geom_rgba[model.geom("hand").id] = (0, 0.6, 0, 1)
    assert (RayRenderer(model, SIZE, "above").render(data).argmax(-1) == 1).sum() > 30


def test_mocap_bodies_move() -> None:
    model, data = loaded()
    renderer = RayRenderer(model, SIZE, "above")
    before = renderer.render(data)
    data.mocap_pos[0] += (0.05, 0, 0)
    mujoco.mj_kinematics(model, data)
    after = renderer.render(data)
    assert (before[..., 1] > 2.0 * before[..., 0]).sum() == pytest.approx((after[..., 1] > 2.0 * after[..., 0]).sum(), abs=8)
    assert not np.array_equal(before, after)


def test_a_picture_depends_on_the_pose_alone_and_changes_nothing() -> None:
    model, _ = loaded()
    poses = [posed(model, qpos) for qpos in np.random.default_rng(1).uniform(-0.2, 0.2, (3, 3))]
    buffer, untouched = np.zeros(mujoco.mj_sizeModel(model), np.uint8), np.zeros(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, untouched)
    states = [copy.copy(data) for data in poses]
    renderer = RayRenderer(model, SIZE, "above")
    first = [renderer.render(data) for data in poses]
    again = [renderer.render(data) for data in reversed(poses)][::-1]
    fresh = [RayRenderer(model, SIZE, "above").render(data) for data in poses]
    assert all(np.array_equal(a, b) and np.array_equal(a, c) for a, b, c in zip(first, again, fresh, strict=True))
    assert not np.array_equal(first[0], first[1])
    mujoco.mj_saveModel(model, None, buffer)
    assert np.array_equal(buffer, untouched)
    for data, state in zip(poses, states, strict=True):
        for field in ("qpos", "qvel", "geom_xpos", "geom_xmat", "xpos", "cam_xpos", "light_xdir", "time"):
            assert np.array_equal(getattr(data, field), getattr(state, field)), field


def test_pictures_are_fresh_arrays() -> None:
    model, data = loaded()
    renderer = RayRenderer(model, 16, "above")
    first = renderer.render(data)
    kept = first.copy()
    renderer.render(data)[:] = 0
    assert np.array_equal(first, kept)
    assert first.shape == (16, 16, 3)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous


def redden(model: mujoco.MjModel) -> None:
    model.geom_rgba[model.geom("puck").id] = (1, 0, 0, 1)


def enlarge(model: mujoco.MjModel) -> None:
    model.geom_size[model.geom("puck").id, 0] *= 1.2


def shift(model: mujoco.MjModel) -> None:
    model.cam_pos[model.camera("above").id] += (0.02, 0, 0)


def zoom(model: mujoco.MjModel) -> None:
    model.cam_fovy[model.camera("above").id] *= 1.1


def turn_light(model: mujoco.MjModel) -> None:
    model.light_dir[0] = (0.6, 0, -0.8)


def paint_table(model: mujoco.MjModel) -> None:
    model.geom_rgba[model.geom("table").id, :3] = (0.2, 0.3, 0.4)


@pytest.mark.parametrize("change", [redden, enlarge, shift, zoom, turn_light, paint_table])
def test_refresh_takes_over_what_changed(change: Callable[[mujoco.MjModel], None]) -> None:
    model, data = loaded()
    renderer = RayRenderer(model, SIZE, "above")
    before = renderer.render(data)
    change(model)
    data = posed(model, data.qpos)
    assert np.array_equal(renderer.render(data), before), "until refresh, the renderer keeps to its own copy"
    renderer.refresh()
    after = renderer.render(data)
    assert not np.array_equal(after, before)
    assert np.array_equal(after, RayRenderer(model, SIZE, "above").render(data))


CHILD = """
import hashlib, sys, mujoco, numpy as np
from imagoal.envs.arm import RayRenderer
model = mujoco.MjModel.from_xml_path(sys.argv[1])
data = mujoco.MjData(model)
data.qpos[:] = np.load(sys.argv[2])
mujoco.mj_kinematics(model, data)
print(hashlib.sha256(RayRenderer(model, 64, "above").render(data).tobytes()).hexdigest())
"""


def digest(frame: Frames) -> str:
    return hashlib.sha256(frame.tobytes()).hexdigest()


def test_same_bytes_in_another_process(tmp_path: Path) -> None:
    model, _ = loaded()
    qpos = np.array([0.3, 0.05, 0.1])
    (tmp_path / "table.xml").write_text(TABLE)
    np.save(tmp_path / "qpos.npy", qpos)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "table.xml"), str(tmp_path / "qpos.npy")]
    spawned = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert spawned == digest(RayRenderer(model, SIZE, "above").render(posed(model, qpos)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_same_bytes_after_a_fork() -> None:
    model, _ = loaded()
    data = posed(model, np.array([0.3, 0.05, 0.1]))
    renderer = RayRenderer(model, SIZE, "above")
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(sink, digest(renderer.render(data)).encode())
        finally:
            os._exit(0)
    os.close(sink)
    with os.fdopen(source) as answer:
        assert answer.read() == digest(renderer.render(data))
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("size", "camera", "background", "message"),
    [
        (0, "above", (0, 0, 0), "size 0; expected at least 1"),
        (8, "below", (0, 0, 0), "camera 'below'; expected one of .*'above', 'side'"),
        (8, 9, (0, 0, 0), "camera 9; expected"),
        (8, "flat", (0, 0, 0), "camera 'flat' has an orthographic"),
        (8, "wrist", (0, 0, 0), "moves with the scene"),
        (8, "above", (0, 0, 300), "background .*; expected red, green and blue from 0 to 255"),
        (8, "above", (0, 0), "background"),
    ],
)
def test_wrong_arguments(size: int, camera: str | int, background: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RayRenderer(loaded()[0], size, camera, background)
