"""A folder is of one sweep: whatever else would give other answers is told apart, and what gives the same is not."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate
from facelesion.sweep import Options, SweepError, read_sweep, read_table, sweep, sweep_to_folder
from facelesion.sweep.fingerprint import fingerprint

IMAGES = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
LESIONS = {"none": None, "a": Ablate("first", units=[1])}
FACTOR = 2.0
LIMITS = types.SimpleNamespace(low=0.1)


class Network(nn.Module):
    rate = 1.0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)
        self.limit, self.table, self.extra = 9.0, {"scale": [1.0, 2.0]}, nn.ReLU()
        self.register_buffer("offset", torch.zeros(3), persistent=False)
        self.plain = torch.ones(3)
        self.hidden = [nn.Linear(3, 3)]
        self.last = None

    def forward(self, x):
        x = torch.clamp(self.extra(self.first(x)), max=self.limit)
        x = self.second(x) * self.plain + self.offset
        # Kept for whoever wants to look, as many networks do.
        self.last = x
        return x


def first(output):
    return output[:, :1]


def last(output):
    return output[:, -1:]


def read(output):
    return output * FACTOR


def read_limits(output):
    return output.clamp(min=LIMITS.low)


class Reader:
    def __init__(self, column):
        self.column = column

    def __call__(self, output):
        return output[:, self.column : self.column + 1]


def change_buffer(network):
    network.offset += 1


def change_attribute(network):
    # It takes no part in the healthy answer: none of these numbers reaches it.
    network.limit = 8.0


def change_table(network):
    network.table["scale"][1] = 3.0


def change_plain_tensor(network):
    network.plain[0] = 2.0


def change_class(network):
    network.__class__ = type("Network", (Network,), {"rate": 2.0})


def change_forward(network):
    forward = network.forward
    network.forward = lambda x: forward(x) + 1


def change_part(network):
    network.extra = nn.ReLU6()


def change_parts_forward(network):
    network.extra.forward = lambda x: x.relu() * 2


def add_hook(network):
    network.second.register_forward_hook(lambda module, args, output: output.clamp(max=50))


def add_first_hook(network):
    network.register_forward_pre_hook(lambda module, args: (args[0].clamp(max=50),))


def change_hidden_part(network):
    with torch.no_grad():
        network.hidden[0].weight += 1


def change_weight(network):
    with torch.no_grad():
        network.second.weight[0, 0] += 1


CHANGES = [
    change_buffer, change_attribute, change_table, change_plain_tensor, change_class, change_forward, change_part,
    change_parts_forward, add_hook, add_first_hook, change_hidden_part, change_weight,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_another_network_is_told_from_the_one_that_a_folder_holds(change, tmp_path):
    network = Network().eval()
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES)
    # Nothing that a forward leaves on the network makes it another.
    network(IMAGES)
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES)
    sweep_to_folder(tmp_path, Network().eval(), LESIONS, IMAGES)
    change(network)
    with pytest.raises(SweepError, match=r"another network.*changed: network"):
        sweep_to_folder(tmp_path, network, LESIONS, IMAGES)


def readout_of_column(column):
    return lambda output: output[:, column : column + 1]


READOUTS = [
    (None, first),
    (first, last),
    (lambda output: output[:, :1], lambda output: output[:, 1:2]),
    (readout_of_column(0), readout_of_column(1)),
    (functools.partial(torch.softmax, dim=1), functools.partial(torch.log_softmax, dim=1)),
    (Reader(0), Reader(1)),
    (Reader(0).__call__, Reader(1).__call__),
    (lambda output, scale=1.0: output * scale, lambda output, scale=2.0: output * scale),
    (lambda output: (output > 50).float(), lambda output: (output > 60).float()),
    (lambda output: output.argmax(1), lambda output: output.argmin(1)),
]


@pytest.mark.parametrize("number", range(len(READOUTS)))
def test_another_readout_is_told_from_the_one_that_a_folder_holds(number, tmp_path):
    one, other = READOUTS[number]
    network = Network().eval()
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES, readout=one)
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES, readout=one)
    with pytest.raises(SweepError, match=r"changed: readout"):
        sweep_to_folder(tmp_path, network, LESIONS, IMAGES, readout=other)


def test_what_a_readout_reaches_for_outside_of_itself_counts(tmp_path, monkeypatch):
    network = Network().eval()
    head = nn.Linear(3, 2)
    for number, (readout, change) in enumerate(
        [
            (read, lambda: monkeypatch.setitem(globals(), "FACTOR", 3.0)),
            (read_limits, lambda: monkeypatch.setattr(LIMITS, "low", 0.2)),
            (lambda output: head(output), lambda: nn.init.zeros_(head.weight)),
            (head, lambda: nn.init.ones_(head.weight)),
        ]
    ):
        folder = tmp_path / str(number)
        sweep_to_folder(folder, network, LESIONS, IMAGES, readout=readout)
        change()
        with pytest.raises(SweepError, match=r"changed: readout"):
            sweep_to_folder(folder, network, LESIONS, IMAGES, readout=readout)


def test_what_no_hash_sees_shows_in_the_healthy_answer(tmp_path, monkeypatch):
    network = Network().eval()
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES)
    # A function of torch's own, replaced behind everybody's back.
    original = torch.clamp
    monkeypatch.setattr(torch, "clamp", lambda x, **given: original(x, **given) + 1)
    with pytest.raises(SweepError, match=r"what the healthy network answers"):
        sweep_to_folder(tmp_path, network, LESIONS, IMAGES)


def test_other_images_and_image_numbers_are_told(tmp_path):
    network = Network().eval()
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES)
    other = IMAGES.clone()
    other[2] += 0.1
    with pytest.raises(SweepError, match=r"other images.*image 2 is the first"):
        sweep_to_folder(tmp_path, network, LESIONS, other)
    with pytest.raises(SweepError, match="other images or image numbers"):
        sweep_to_folder(tmp_path, network, LESIONS, IMAGES, ids=[0, 1, 2, 7])
    # More images after those that are there are welcome, in batches of any size.
    more = torch.cat([IMAGES, other])
    sweep_to_folder(tmp_path, network, LESIONS, more, options=Options(batch_size=3))
    wanted = sweep(network, LESIONS, more)
    for name, found in read_sweep(tmp_path).items():
        torch.testing.assert_close(found, wanted[name])


def test_arithmetic_is_told(tmp_path):
    network = Network().eval()
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES)
    with pytest.raises(SweepError, match="changed: precision"):
        sweep_to_folder(tmp_path, network, LESIONS, IMAGES, options=Options(autocast=torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(SweepError, match="changed: precision"):
        sweep_to_folder(tmp_path, network, LESIONS, IMAGES)


def test_a_fingerprint_is_the_same_in_every_process():
    told = f"""
import sys; sys.path.insert(0, {str(__file__.rpartition("/")[0])!r})
import test_identity as here
from facelesion.sweep.fingerprint import fingerprint
print(fingerprint(here.Network(), here.Reader(1), here.read, here.READOUTS, {{"a", "b", "c"}}, here.CHANGES))
"""
    found = {
        subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(found) == 1 and len(found.pop().strip()) == 16


def test_a_fingerprint_follows_what_holds_itself():
    network = Network()
    network.parent = [network]
    ring: list[object] = [1]
    ring.append(ring)
    assert fingerprint(network, ring) == fingerprint(network, ring) != fingerprint(network, [1])


KINDS = {
    "int64": lambda output: (output * 0).long() + 16777217,
    "int32": lambda output: (output * 1000).to(torch.int32),
    "int8": lambda output: (output * 10).to(torch.int8),
    "uint8": lambda output: (output.abs() * 10).to(torch.uint8),
    "bool": lambda output: output > 0,
    "float64": lambda output: output.double() + 1e-12,
    "float32": lambda output: output,
    "float16": lambda output: output.half(),
    "bfloat16": lambda output: output.bfloat16(),
    "complex64": lambda output: torch.complex(output, -output),
    "complex128": lambda output: torch.complex(output.double(), 1e-12 - output.double()).conj(),
    "one number": lambda output: output[:, 0],
    "one rank": lambda output: output.argmax(1),
    "nothing": lambda output: output[:, :0],
    "a map": lambda output: output[:, :, None, None].expand(-1, -1, 2, 2).transpose(1, 3),
    "no numbers": lambda output: output / 0 - output / 0,
    "minus zero": lambda output: output * -0.0,
}


@pytest.mark.parametrize("name", KINDS)
def test_outputs_of_every_type_are_kept_as_they_are(name, tmp_path):
    network = Network().eval()
    wanted = sweep(network, LESIONS, IMAGES, readout=KINDS[name])
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES, readout=KINDS[name])
    found = read_sweep(tmp_path)
    for lesion, output in wanted.items():
        assert found[lesion].dtype == output.dtype and found[lesion].shape == output.shape
        torch.testing.assert_close(found[lesion], output, rtol=0, atol=0, equal_nan=True)
    assert len(read_table(tmp_path)) == len(LESIONS) * len(IMAGES)


def test_damaged_folders_are_told(tmp_path):
    network = Network().eval()

    def folder(name):
        sweep_to_folder(tmp_path / name, network, LESIONS, IMAGES)
        return tmp_path / name

    other = '{"task": {}, "healthy": {}, "images": 4, "lesions": {}}'
    for name, text in {"cut": '{"task": {', "list": "[]", "empty": "{}", "other": other}.items():
        (folder(name) / "sweep.json").write_text(text)
        for run in (lambda name=name: read_sweep(tmp_path / name), lambda name=name: folder(name)):
            with pytest.raises(SweepError, match=r"sweep\.json"):
                run()
    part = next((folder("part") / "parts").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    for run in (read_sweep, read_table):
        with pytest.raises(SweepError, match="no part of a sweep, or not whole: run the sweep again"):
            run(tmp_path / "part")
    assert read_sweep(folder("part")).keys() == LESIONS.keys()
    told = json.loads((folder("whole") / "sweep.json").read_text())
    assert set(told["task"]) == {
        "network",
        "readout",
        "seed",
        "calibration",
        "precision",
        "version of the code",
    }


def test_a_readout_that_no_other_process_can_have_is_told(tmp_path):
    with pytest.raises(SweepError, match="processes"):
        sweep_to_folder(
            tmp_path, Network().eval(), LESIONS, IMAGES, readout=lambda output: output, processes=2
        )
