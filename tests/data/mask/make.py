"""Makes the ONNX files in this folder: `pip install onnx`, then `python tests/data/mask/make.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

MEAN, DEVIATION = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
BRIGHT = 0.6


def save(name: str, nodes: list, inputs: list, outputs: list, **constants: np.ndarray) -> None:
    initial = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = h.make_graph(nodes, name, inputs, outputs, initial)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    (Path(__file__).parent / f"{name}.onnx").write_bytes(model.SerializeToString())


def brightness(kind: type, scale: float = 1.0, shift: float = 0.0) -> dict[str, np.ndarray]:
    """A convolution that takes ImageNet's normalisation back and averages R, G, B: scale * (mean + shift)."""
    weights = (scale * DEVIATION / 3).reshape(1, 3, 1, 1).astype(kind)
    return {"weights": weights, "bias": np.array([scale * (MEAN.mean() + shift)], kind)}


def picture(element: int, *shape: int | str) -> onnx.ValueInfoProto:
    return h.make_tensor_value_info("input_image", element, shape)


def main() -> None:
    convolution = h.make_node("Conv", ["input_image", "weights", "bias"], ["grey"])
    save(
        "threshold",
        [
            convolution,
            h.make_node("Greater", ["grey", "bright"], ["is_bright"]),
            h.make_node("Cast", ["is_bright"], ["output_image"], to=T.FLOAT),
        ],
        [picture(T.FLOAT, 1, 3, 96, 128)],
        [h.make_tensor_value_info(name, T.FLOAT, (1, 1, 96, 128)) for name in ("grey", "output_image")],
        bright=np.array(BRIGHT, np.float32),
        **brightness(np.float32),
    )
    save(
        "logits_half",
        [h.make_node("Conv", ["input_image", "weights", "bias"], ["output_image"])],
        [picture(T.FLOAT16, "batch", 3, "height", "width")],
        [h.make_tensor_value_info("output_image", T.FLOAT16, ("batch", 1, "height", "width"))],
        **brightness(np.float16, 60.0, -BRIGHT),
    )
    for name, value in {
        "no_picture": picture(T.FLOAT, 1, 10),
        "grey_picture": picture(T.FLOAT, 1, 1, 8, 8),
        "bytes_picture": picture(T.UINT8, 1, 3, 8, 8),
        "three_masks": picture(T.FLOAT, 1, 3, 8, 8),
    }.items():
        output = onnx.ValueInfoProto()
        output.CopyFrom(value)
        output.name = "output_image"
        save(name, [h.make_node("Identity", ["input_image"], ["output_image"])], [value], [output])
    add = h.make_node("Add", ["input_image", "prompt"], ["output_image"])
    prompt = h.make_tensor_value_info("prompt", T.FLOAT, (1, 3, 8, 8))
    output = h.make_tensor_value_info("output_image", T.FLOAT, (1, 3, 8, 8))
    save("two_inputs", [add], [picture(T.FLOAT, 1, 3, 8, 8), prompt], [output])


if __name__ == "__main__":
    main()
