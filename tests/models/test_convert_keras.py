"""Networks that Keras itself made, saved and ran answer the same after conversion."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facelesion.errors import Error
from facelesion.models import get
from facelesion.models.convert import VGG_FACE_MEAN, Layout, convert

pytestmark = [pytest.mark.slow]  # Keras takes five seconds to import
if importlib.util.find_spec("keras") is None:
    pytest.skip("needs Keras 3: pip install keras", allow_module_level=True)
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
SMALL = Layout(width=0.0625, hidden=24, people=20, size=64)


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    module = pytest.importorskip("keras")
    module.utils.set_random_seed(0)
    return module


def notebook(keras: Any, layout: Layout) -> Any:
    """The notebook's network: keras-vggface's names, an average, one sigmoid unit."""
    layers = keras.layers
    inputs = maps = layers.Input((layout.size, layout.size, 3))
    maps = named_convolutions(keras, maps, layout)
    pooled = layers.GlobalAveragePooling2D()(maps)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Flatten()(pooled)))


def named_convolutions(keras: Any, maps: Any, layout: Layout) -> Any:
    for block, (count, channels) in enumerate(BLOCKS, 1):
        for number in range(1, count + 1):
            maps = keras.layers.Conv2D(
                int(channels * layout.width), (3, 3), activation="relu", padding="same",
                name=f"conv{block}_{number}", bias_initializer=keras.initializers.RandomNormal(stddev=0.1),
                kernel_initializer="he_normal",
            )(maps)  # fmt: skip
        maps = keras.layers.MaxPooling2D((2, 2), strides=(2, 2), name=f"pool{block}")(maps)
    return maps


def vggface_with_top(keras: Any, layout: Layout) -> Any:
    """keras-vggface's network with top: fully connected layers behind `Flatten`."""
    layers = keras.layers
    inputs = layers.Input((layout.size, layout.size, 3))
    x = layers.Flatten(name="flatten")(named_convolutions(keras, inputs, layout))
    for name in ("fc6", "fc7"):
        x = layers.Activation("relu", name=f"{name}_relu")(layers.Dense(layout.hidden, name=name)(x))
    return keras.Model(inputs, layers.Dense(layout.people, name="fc8")(x))


def deepface(keras: Any, layout: Layout) -> Any:
    """deepface's network: unnamed layers in order, padding apart, convolutions for fully connected layers."""
    layers = keras.layers
    model = keras.Sequential([layers.Input((layout.size, layout.size, 3))])
    for count, channels in BLOCKS:
        for _ in range(count):
            model.add(layers.ZeroPadding2D((1, 1)))
            model.add(
                layers.Convolution2D(
                    int(channels * layout.width), (3, 3), activation="relu", kernel_initializer="he_normal"
                )
            )
        model.add(layers.MaxPooling2D((2, 2), strides=(2, 2)))
    side = layout.size // 32
    model.add(layers.Convolution2D(layout.hidden, (side, side), activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Convolution2D(layout.hidden, (1, 1), activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Convolution2D(layout.people, (1, 1)))
    model.add(layers.Flatten())
    return model


def save(model: Any, path: Path) -> None:
    """As Keras saves: by the name, or as Keras 2 and keras-vggface did for weights in a plain .h5."""
    if path.name.startswith("weights") and not path.name.endswith(".weights.h5"):
        h5py = pytest.importorskip("h5py")
        from keras.src.legacy.saving import legacy_h5_format

        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)


def pictures(size: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def answer_of_keras(keras: Any, model: Any, output: Any) -> np.ndarray:
    """What Keras answers at one of its layers, given BGR less the mean, as keras-vggface prepares pictures."""
    size = model.input_shape[1]
    prepared = (pictures(size).astype(np.float32) - np.float32(VGG_FACE_MEAN))[..., ::-1]
    return keras.Model(model.inputs, output).predict(np.ascontiguousarray(prepared), verbose=0)


def answer_of(path: Path) -> tuple[torch.Tensor, Any]:
    subject = get(str(path))
    images = torch.from_numpy(pictures(subject.size)).permute(0, 3, 1, 2)
    return subject.module(subject.preprocess(images)), subject


def agrees(answer: torch.Tensor, expected: np.ndarray) -> None:
    scale = np.abs(expected).max()
    assert scale > 0.1 and expected.std() > 0.01 * scale
    np.testing.assert_allclose(answer.numpy() / scale, expected / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["weights.h5", "model.h5", "all.weights.h5", "model.keras"])
def test_the_notebooks_network_however_keras_saved_it(name: str, keras: Any, tmp_path: Path) -> None:
    model = notebook(keras, SMALL)
    # As after training: the file then also holds the optimiser's arrays, which bear the layers' names.
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.optimizer.build(model.trainable_variables)
    save(model, tmp_path / name)
    known_as = "vgg-face" if name == "all.weights.h5" else None  # Keras 3 keeps no names there
    convert(tmp_path / name, tmp_path / "out.safetensors", known_as=known_as, layout=SMALL)
    expected = answer_of_keras(keras, model, model.layers[-3].output)
    assert expected.shape == (2, 32)
    agrees(answer_of(tmp_path / "out.safetensors")[0], expected)


def test_weights_without_names_need_a_word(keras: Any, tmp_path: Path) -> None:
    save(notebook(keras, SMALL), tmp_path / "all.weights.h5")
    with pytest.raises(Error, match="--known_as"):
        convert(tmp_path / "all.weights.h5", tmp_path / "out.safetensors", layout=SMALL)


def test_the_notebooks_network_at_full_size(keras: Any, tmp_path: Path) -> None:
    model = notebook(keras, Layout())
    assert model.count_params() == 14_715_201
    save(model, tmp_path / "weights.h5")
    convert(tmp_path / "weights.h5", tmp_path / "out.safetensors")
    agrees(answer_of(tmp_path / "out.safetensors")[0], answer_of_keras(keras, model, model.layers[-3].output))


@pytest.mark.parametrize("name", ["weights.h5", "model.h5", "all.weights.h5", "model.keras"])
@pytest.mark.parametrize("make", [vggface_with_top, deepface])
def test_fully_connected_layers_answer_as_in_keras(make: Any, name: str, keras: Any, tmp_path: Path) -> None:
    model = make(keras, SMALL)
    save(model, tmp_path / name)
    convert(tmp_path / name, tmp_path / "out.safetensors", top=True, layout=SMALL)
    answer, subject = answer_of(tmp_path / "out.safetensors")
    fc7 = model.get_layer("fc7_relu").output if make is vggface_with_top else model.layers[-4].output
    agrees(answer, answer_of_keras(keras, model, fc7).reshape(2, -1))
    scores = torch.nn.functional.linear(answer, subject.extra["head.weight"], subject.extra["head.bias"])
    agrees(scores, answer_of_keras(keras, model, model.layers[-1].output))
