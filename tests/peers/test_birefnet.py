"""BiRefNet against the definition in the package nobg, with transformers and torchvision."""

from __future__ import annotations

from typing import Any

import pytest

from tests import reference

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
peer = pytest.importorskip("nobg.birefnet.modeling_birefnet")

FORMS = {
    "birefnet_swin_t": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7},
    "birefnet_swin_l": {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "window_size": 12},
}
UNUSED = {"bb.swin.layernorm.weight", "bb.swin.layernorm.bias"}  # transformers has them, nobg reads each level's


@pytest.mark.parametrize(("width", "height"), [(320, 256), (96, 64)])
@pytest.mark.parametrize("name", FORMS)
def test_logits_are_the_peers(name: str, width: int, height: int) -> None:
    ours = reference.network(name)
    theirs: Any = peer.BiRefNet(peer.BiRefNetConfig(**FORMS[name])).eval()
    loaded = theirs.load_state_dict(peer._remap_legacy_state_dict(ours.state_dict()), strict=False)
    assert set(loaded.missing_keys) == UNUSED
    assert not loaded.unexpected_keys
    picture = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(picture)["logits"]
        difference = (ours(picture) - expected).abs().max()
    assert expected.std() > 0.5
    assert difference <= 2e-4
