"""The teacher is read without running code, and tells real people apart."""

from pathlib import Path

import pytest
import torch

from facelesion.errors import Error
from facelesion.models.mobilefacenet import MobileFaceNet, for_speed, read_mobilefacenet


def test_folded_for_speed_it_answers_the_same() -> None:
    torch.manual_seed(0)
    network = MobileFaceNet()
    network(torch.randn(4, 3, 112, 112))  # statistics that are not the ones of the beginning
    network.eval()
    images = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(for_speed(network)(images), network(images), rtol=1e-3, atol=1e-3)


def test_code_in_the_file_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"conv1.0.weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(Error, match="not a plain state dict"):
        read_mobilefacenet(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(Error, match="do not fit"):
        read_mobilefacenet(tmp_path / "other.pt")
    with pytest.raises(Error, match="no such file"):
        read_mobilefacenet(tmp_path / "none.pt")


@pytest.mark.shared
def test_the_published_weights_fit(shared: Path) -> None:
    network = read_mobilefacenet(shared / "data" / "mobilefacenet.pt")
    assert network(torch.zeros(1, 3, 112, 112)).shape == (1, 128)
