"""The bits of a small run, pinned: a change of them is meant, or it is a mistake.

The run has no registration, whose optimiser may take another way on another processor. Numbers with a fraction are
pinned to nine digits; everything else to the bit.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tests.support.tiny import Tiny, Voxels, contents

#: The first digits of the sha256 of what each array holds.
PINNED = {
    "contacts/area_um2": "fc94fc47077e9e0e",
    "contacts/faces": "9f1c047aabffe03c",
    "contacts/particle_a": "b081d88f173346a3",
    "contacts/particle_b": "03164ebc6f6d7877",
    "contacts/state": "ca5fa8c7b2c2b083",
    "histograms/cycle": "b0251af4ce012daa",
    "histograms/grey": "b0b6b057360a0971",
    "histograms/particle": "c1e160b0c4c4d5c4",
    "histograms/state": "d9ac64e2817a7717",
    "histograms/step": "704e97572623c3e7",
    "histograms/voltage": "7af21fce4c8e19aa",
    "histograms/voxels": "01000f7111999683",
    "labels/particle/0/label": "2ec3c277f312429c",
    "labels/particle/1/label": "3f6245bc0be62a8a",
    "levels/1/grey": "6d257d90c448690d",
    "particles/axis_1_um": "5ba3873b338ea113",
    "particles/axis_2_um": "21299c8a5a45e5a6",
    "particles/axis_3_um": "36602b3a995dc1fa",
    "particles/bbox_x0": "546b4f3da2ba3f16",
    "particles/bbox_x1": "15b76b058812550f",
    "particles/bbox_y0": "46fc9bfa0b0f4f98",
    "particles/bbox_y1": "fabe678f7e9ddbb8",
    "particles/bbox_z0": "635c716adc9a6716",
    "particles/bbox_z1": "ff1a1ee1eb5f4a46",
    "particles/centroid_x_um": "71cfd9e4d87728e2",
    "particles/centroid_y_um": "ca3aceda9cb05bd7",
    "particles/centroid_z_um": "29d935f6dadf925f",
    "particles/contact_area_um2": "8a98e6b564a0befb",
    "particles/cycle": "b0251af4ce012daa",
    "particles/displacement_x_um": "609c8a657782ee84",
    "particles/displacement_y_um": "178fe0b057d5bf36",
    "particles/displacement_z_um": "20e94900c44271f0",
    "particles/elongation": "3f45cbe199b19724",
    "particles/equivalent_diameter_um": "75443d0284b8302e",
    "particles/flatness": "cd2d6f6c1660d5d7",
    "particles/grey_max": "0d0ed8623b0e41f4",
    "particles/grey_mean": "19347685af0ceb68",
    "particles/grey_min": "6aa1b6ec80883810",
    "particles/grey_p05": "48cac1b5630f0e5f",
    "particles/grey_p50": "c2766143a92e5f66",
    "particles/grey_p95": "e89284f652ca18ea",
    "particles/grey_std": "d1e9b335aee1d756",
    "particles/lost": "6fc5c1bb1019000a",
    "particles/max_depth_um": "98f29d01cdd9bc67",
    "particles/n_contacts": "473fc1824b669075",
    "particles/neighbour_lost": "6fc5c1bb1019000a",
    "particles/on_border": "6fc5c1bb1019000a",
    "particles/on_invalid": "6fc5c1bb1019000a",
    "particles/particle": "c1e160b0c4c4d5c4",
    "particles/sphericity": "b432082cd83310f5",
    "particles/state": "d9ac64e2817a7717",
    "particles/step": "704e97572623c3e7",
    "particles/surface_area_um2": "229abdb47798ec35",
    "particles/touches_border": "6fc5c1bb1019000a",
    "particles/touches_invalid": "6fc5c1bb1019000a",
    "particles/tracked": "a2b10d3f8dbb4370",
    "particles/voltage": "7af21fce4c8e19aa",
    "particles/volume_um3": "97de6a06fbf93d02",
    "particles/volumetric_strain": "ca3cd8cd56d53fd0",
    "particles/volumetric_strain_error": "1fa5658032fe7617",
    "particles/voxels": "e631e99c5a72763e",
    "shells/cycle": "b0251af4ce012daa",
    "shells/grey_sum": "7dc8e8ee408cd491",
    "shells/grey_sumsq": "bdbdefe1c415c70d",
    "shells/particle": "c1e160b0c4c4d5c4",
    "shells/shell": "910e130161772fc0",
    "shells/state": "d9ac64e2817a7717",
    "shells/step": "704e97572623c3e7",
    "shells/voltage": "7af21fce4c8e19aa",
    "shells/voxels": "6f1c7ba59f53ab60",
    "transforms/axis": "5a3351e445c491c3",
    "transforms/bent": "c421f023d3d75640",
    "transforms/chain": "d8ce147150b8dae2",
    "transforms/chain_residual_voxels": "1c996bd0c3245d79",
    "transforms/cycle": "b0251af4ce012daa",
    "transforms/displacement": "d59fe450af2fc1a9",
    "transforms/displacement_error": "a4d4211d2cd8c65f",
    "transforms/lattice_x": "5a711783e5f87ab6",
    "transforms/lattice_y": "94bfe31e1357990c",
    "transforms/lattice_z": "5b441b61cf450cc8",
    "transforms/matrix": "cbbd63820ecba1cd",
    "transforms/residual_voxels": "18769331a6ecca05",
    "transforms/state": "d9ac64e2817a7717",
    "transforms/step": "704e97572623c3e7",
    "transforms/transform": "9ba644fcb64496b8",
    "transforms/voltage": "7af21fce4c8e19aa",
    "volumes/cycle": "b0251af4ce012daa",
    "volumes/denoised": "0e2bbada7c6cc2c8",
    "volumes/grey": "c0d09dca9ac644c0",
    "volumes/label": "2ec3c277f312429c",
    "volumes/mask": "dca4d1c634cb3e61",
    "volumes/state": "d9ac64e2817a7717",
    "volumes/step": "704e97572623c3e7",
    "volumes/voltage": "7af21fce4c8e19aa",
    "volumes/x": "c9db0a9347eb9fce",
    "volumes/y": "3677edc4eee87af9",
    "volumes/z": "9c33f9adfa000aeb",
}


def digest(values: Voxels) -> str:
    """Return a digest of an array's values, shape and dtype."""
    if values.dtype.kind == "f":
        kept = "\n".join("nan" if np.isnan(value) else f"{value + 0.0:.9e}" for value in values.ravel()).encode()
    elif values.dtype.kind in "biu":
        kept = values.astype(values.dtype.newbyteorder("<")).tobytes()
    else:
        kept = "\n".join(map(str, values.ravel())).encode()
    return hashlib.sha256(f"{values.shape} {values.dtype.name}\n".encode() + kept).hexdigest()[:16]


@pytest.mark.parametrize("cut", [{"chunk": 16, "block": 16}, {"chunk": [20, 14, 32], "block": [20, 28, 32]}], ids=str)
def test_the_bits_of_a_small_run(tiny: Tiny, cut: dict[str, object]) -> None:
    tiny.change("compute", keep_intermediate=True, **cut)
    said = tiny.run()
    assert said.code == 0, said.err
    arrays = contents(tiny.store)
    assert arrays["volumes/label"].max() == 3
    assert {name: digest(values) for name, values in arrays.items()} == PINNED


def test_a_digest_sees_a_bit() -> None:
    voxels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    other = voxels.copy()
    other[1, 2, 3] ^= 1
    assert len({digest(voxels), digest(other), digest(voxels.reshape(4, 6)), digest(voxels.astype("u4"))}) == 4
    assert digest(voxels) == digest(np.asfortranarray(voxels)) == digest(voxels.astype(">u2"))
