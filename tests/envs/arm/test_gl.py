import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from imagoal.envs.arm import _gl
from imagoal.envs.arm._rays import RayRenderer
from imagoal.errors import ResourceError, UsageError

SCENE = """
<mujoco>
  <visual><headlight ambient="0.4 0.4 0.4" diffuse="0 0 0" specular="0 0 0"/></visual>
  <worldbody>
    <light directional="true" dir="-0.25 0.3 -1" diffuse="0.6 0.6 0.6" specular="0 0 0" castshadow="false"/>
    <camera name="above" pos="0 0 3" fovy="10"/>
    <geom type="plane" size="2 2 0.1" rgba="0.9 0.9 0.8 1"/>
    <geom type="box" pos="0.2 0 0.01" size="0.01 0.2 0.01" rgba="0.5 0.5 0.4 1"/>
    <body pos="0 0 0.1">
      <joint axis="0 0 1"/>
      <geom type="capsule" fromto="0 0 0 0 0.2 0" size="0.02" rgba="0.3 0.3 0.4 1"/>
      <geom type="cylinder" fromto="0 0.2 -0.09 0 0.2 0.03" size="0.03" rgba="0.1 0.4 0.7 1"/>
      <geom type="box" pos="0.1 -0.1 0" size="0.03 0.05 0.02" rgba="0.2 0.7 0.2 1"/>
      <geom name="ball" type="sphere" pos="-0.1 0.05 0" size="0.04" rgba="0.8 0.2 0.2 1"/>
    </body>
  </worldbody>
</mujoco>
"""

# In a process of its own, so that no other test finds OpenGL open when it forks.
CHILD = """
import os, sys, mujoco, numpy as np
from imagoal.envs.arm import GLRenderer
from imagoal.errors import ResourceError
model = mujoco.MjModel.from_xml_path(sys.argv[1])
data = mujoco.MjData(model)
try:
    renderer = GLRenderer(model, 128, "above")
except ResourceError as error:
    sys.exit(f"no OpenGL: {error}")
frames = []
for angle in (0.0, 0.7, 2.0):
    data.qpos[0] = angle
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    frames.append(renderer.render(data))
model.geom("ball").rgba = (0, 0, 1, 1)
assert np.array_equal(renderer.render(data), frames[-1])
renderer.refresh()
frames.append(renderer.render(data))
for _ in range(3):
    assert np.array_equal(GLRenderer(model, 128, "above").render(data), frames[-1])
np.save(sys.argv[2], frames)
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        refused = 0
        for draw in (lambda: renderer.render(data), lambda: GLRenderer(model, 128, "above")):
            try:
                draw()
            except ResourceError as error:
                refused += "forked" in str(error)
        del renderer
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
"""


def test_rays_look_like_opengl(tmp_path: Path) -> None:
    (tmp_path / "scene.xml").write_text(SCENE)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "scene.xml"), str(tmp_path / "frames.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.stderr.startswith("no OpenGL"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "OpenGL opens, draws and closes without a word"

    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    for angle, by_gl in zip((0.0, 0.7, 2.0, 2.0), np.load(tmp_path / "frames.npy"), strict=True):
        data.qpos[0] = angle
        mujoco.mj_kinematics(model, data)
        by_rays = RayRenderer(model, 128, "above").render(data)
        apart = np.abs(by_gl.astype(int) - by_rays).max(-1)
        assert np.mean(apart > 4) < 0.05, "they differ in the pixels of edges only"
        assert apart.mean() < 1.5
        model.geom("ball").rgba = (0, 0, 1, 1) if angle == 2.0 else model.geom("ball").rgba


def test_where_there_is_no_opengl_the_message_has_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gl, "find_library", lambda name: None)
    monkeypatch.setattr(_gl.platform, "system", lambda: "Linux")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    model = mujoco.MjModel.from_xml_string(SCENE)
    with pytest.raises(ResourceError, match="apt-get install libegl1 libgl1, or take renderer='rays'"):
        _gl.GLRenderer(model, 16)


def test_a_driver_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'\nand more")

    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(_gl.importlib, "import_module", broken)
    with pytest.raises(ResourceError, match=r"OpenGL by egl failed \(AttributeError: .*eglQueryString'\); apt-get") as caught:
        _gl.GLRenderer(mujoco.MjModel.from_xml_string(SCENE), 16)
    assert "\n" not in str(caught.value)


def test_wrong_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mujoco.MjModel.from_xml_string(SCENE)
    with pytest.raises(UsageError, match="size 0"):
        _gl.GLRenderer(model, 0)
    with pytest.raises(UsageError, match="camera 'below'"):
        _gl.GLRenderer(model, 16, "below")
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    with pytest.raises(ResourceError, match="MUJOCO_GL=disabled; expected one of egl"):
        _gl.GLRenderer(model, 16)
