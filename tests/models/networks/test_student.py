"""Student networks: the graph is the network, frames are what they say, truth is where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livespt.models.localize.student_peaks import interleave  # noqa: E402
from livespt.models.networks import student, student_graph  # noqa: E402
from livespt.models.optics import spots  # noqa: E402
from livespt.models.render import backgrounds, training_frames  # noqa: E402
from livespt.models.runtime.session import shipped  # noqa: E402

SHAPES = [student.Shape(16, 1, 1), student.Shape(16, 1, 2)]


def run(content: bytes, frame: Any) -> tuple[Any, float]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    field, noise = session.run(None, {"frame": frame})
    return field[0], float(noise)


def net_of(shape: student.Shape) -> Any:
    torch.manual_seed(3)
    return student.build(shape).eval()


def frame(seed: int, shape: tuple[int, int] = (64, 64), level: float = 100.0) -> Any:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, np.array(shape) - 1.0, (12, 2))
    light = spots.render(points[:, 0], points[:, 1], 2000.0, shape, 1.3, level)
    return spots.camera(light, rng)


@pytest.mark.parametrize("shape", SHAPES)
def test_graph_is_the_network(shape: student.Shape) -> None:
    net, image = net_of(shape), frame(1)
    counts = torch.from_numpy(image.astype(np.float32))[None, None]
    noise = student.measure_noise(counts).frame
    with torch.no_grad():
        expected = net(counts)[0].numpy()
    field, measured = run(student_graph.serialize(net), image)
    if shape.split == 2:
        field = interleave(field)
    np.testing.assert_allclose(field, expected, atol=1e-4)
    assert measured == pytest.approx(float(noise[0]), rel=1e-4)


def test_noise_is_the_cameras() -> None:
    _, noise = run(student_graph.serialize(net_of(SHAPES[0])), frame(2, (256, 256)))
    assert noise == pytest.approx(np.sqrt(100 + 1.5**2), rel=0.05)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (66, 64), (19, 128)])
def test_any_size_has_cells_to_its_edge(size: tuple[int, int]) -> None:
    field, _ = run(student_graph.serialize(net_of(SHAPES[0])), frame(4, size))
    assert field.shape == (3, -(-size[0] // 4), -(-size[1] // 4))
    assert np.isfinite(field).all()


FLAT = {
    "black": np.zeros((32, 32), np.uint16),
    "constant": np.full((32, 32), 1234, np.uint16),
    "saturated": np.full((32, 32), 65535, np.uint16),
    "one pixel": np.pad(np.array([[65535]], np.uint16), 16),
}


@pytest.mark.parametrize("name", FLAT)
def test_frames_without_noise_give_numbers(name: str) -> None:
    field, noise = run(student_graph.serialize(net_of(SHAPES[0])), FLAT[name])
    assert np.isfinite(field).all() and noise > 0


def test_offset_and_gain_do_not_matter() -> None:
    content, image = student_graph.serialize(net_of(SHAPES[0])), frame(5)
    plain, noise = run(content, image)
    other, twice = run(content, (2 * image + 20_000).astype(np.uint16))
    np.testing.assert_allclose(other, plain, atol=2e-3)
    assert twice == pytest.approx(2 * noise, rel=1e-3)


def test_a_moved_frame_gives_moved_answers() -> None:
    content, image = student_graph.serialize(net_of(SHAPES[0])), frame(6, (96, 96))
    field, _ = run(content, image)
    moved, _ = run(content, np.roll(image, (8, -4), (0, 1)))
    # noise is measured on the same grid of 4 pixels, except at the edges
    np.testing.assert_allclose(moved[:, 6:18, 6:18], field[:, 4:16, 7:19], rtol=0.1, atol=0.02)


def test_integers_answer_alike() -> None:
    net = net_of(student.Shape(16, 2, 1))
    content = student_graph.serialize(net)
    images = [frame(k) for k in range(4)]
    whole = student_graph.quantize(content, images)
    assert whole != content and whole == student_graph.quantize(content, images)
    plain, integers = run(content, images[0])[0], run(whole, images[0])[0]
    assert np.abs(integers - plain).max() < 0.05 * np.abs(plain).max()


def weights_of(content: bytes) -> list[Any]:
    import onnx

    model = onnx.load_from_string(content)
    arrays = (onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    return [array for array in arrays if array.dtype == np.int8 and array.ndim == 4]


@pytest.mark.parametrize("name", ["fast", "crowd", "made here"])
def test_integer_weights_overflow_on_no_processor(name: str) -> None:
    """Without VNNI, 255 w + 255 w' must fit 16 bits: weights of 7 bits do."""
    if name == "made here":
        content = student_graph.quantize(
            student_graph.serialize(net_of(student.Shape(16, 2, 1))), [frame(k) for k in range(2)]
        )
    else:
        content = shipped(name).read_bytes()
    weights = weights_of(content)
    assert weights and max(np.abs(one.astype(int)).max() for one in weights) <= 64


def test_truth_is_where_the_spots_are() -> None:
    rng = np.random.default_rng(7)
    for stride in (2, 4):
        batch = training_frames.simulated(rng, 8, 64)
        answers = training_frames.truth(batch.specks, 8, 64, stride)
        specks = batch.specks
        asked = specks.snr >= training_frames.MIN_SNR
        inside = (specks.y >= -0.5) & (specks.y < 63.5) & (specks.x >= -0.5) & (specks.x < 63.5)
        for k in np.flatnonzero(asked & inside):
            i, j = (int((v + 0.5) // stride) for v in (specks.y[k], specks.x[k]))
            dy, dx, trust, holds, counts = answers[specks.image[k], :, i, j]
            assert holds == 1 and counts == 1 and trust > 0
            assert max(abs(dy), abs(dx)) <= stride / 2 + 1e-6
        image, _, i, j = np.nonzero(answers[:, 3:4])
        for n, row, column in zip(image, i, j, strict=True):
            offset = answers[n, :2, row, column]
            at = stride * np.array([row, column]) + (stride - 1) / 2 + offset
            here = specks.image == n
            gap = np.hypot(specks.y[here] - at[0], specks.x[here] - at[1])
            assert gap.min() < 1e-4


@pytest.mark.parametrize("which", range(8))
def test_turned_frames_have_turned_truth(which: int) -> None:
    rng = np.random.default_rng(8)
    batch = training_frames.simulated(rng, 4, 32)
    light = torch.zeros(4, 1, 32, 32)
    answers = torch.from_numpy(training_frames.truth(batch.specks, 4, 32, 4))
    for k in range(len(batch.specks.image)):
        y, x = round(batch.specks.y[k]), round(batch.specks.x[k])
        if 0 <= y < 32 and 0 <= x < 32:
            light[batch.specks.image[k], 0, y, x] = 1
    frames, turned = training_frames.turned(light, answers, which)
    n, i, j = torch.nonzero(turned[:, 3], as_tuple=True)
    y = 4 * i + 1.5 + turned[n, 0, i, j]
    x = 4 * j + 1.5 + turned[n, 1, i, j]
    seen = frames[n, 0, y.round().long().clamp(0, 31), x.round().long().clamp(0, 31)]
    assert seen.mean() > 0.95  # .5 rounds to even, turned or not
    assert torch.equal(answers, torch.from_numpy(training_frames.truth(batch.specks, 4, 32, 4)))


def test_the_camera_has_the_moments_of_poisson() -> None:
    rng = np.random.default_rng(9)
    for level in (5.0, 100.0):
        light = np.full((1, 400, 400), level, np.float32)
        one = np.ones(1)
        same = np.zeros_like(light), backgrounds.white(1)
        image = training_frames.expose(rng, light, 1.5 * one, one, 100 * one, *same)
        counts = image.astype(float) - 100
        assert counts.mean() == pytest.approx(level, rel=0.01)
        assert counts.var() == pytest.approx(level + 1.5**2 + 1 / 12, rel=0.05)
        skew = ((counts - counts.mean()) ** 3).mean() / counts.std() ** 3
        assert skew == pytest.approx(level / (level + 2.25) ** 1.5, abs=0.05)


def test_frames_come_again_from_their_seed() -> None:
    one, two = (training_frames.simulated(np.random.default_rng(11), 4, 64) for _ in range(2))
    assert np.array_equal(one.frames, two.frames)
    assert one.frames.dtype == np.uint16
