"""An R50-FPN that is as large as another network."""

from __future__ import annotations

import pytest

from search_space import SCALES, R50FPNSpec, Scale, parse_scale, published_spec, spec_cost
from search_space.resnet_fpn.fitting import FINEST, fit_r50_fpn


@pytest.mark.parametrize("scale", [parse_scale("49,width=0.125,endpoints=64,head_filters=64"), SCALES["49"]])
@pytest.mark.parametrize("size", [128, 640])
def test_no_other_width_is_nearer(scale: Scale, size: int) -> None:
    target = float(spec_cost(published_spec("spinenet-49"), scale, size, "retinanet").macs)

    def macs(spec: R50FPNSpec) -> float:
        return float(spec_cost(spec, scale, size, "retinanet").macs)

    fitted = fit_r50_fpn(macs, target)
    off = abs(macs(fitted) - target)
    assert off < 0.02 * target
    for step in (-2, -1, 1, 2):
        assert off <= abs(macs(R50FPNSpec(fitted.width + step / FINEST)) - target)


def test_what_cannot_be_reached_is_as_near_as_can_be() -> None:
    def macs(spec: R50FPNSpec) -> float:
        return float(spec_cost(spec, SCALES["49"], 128).macs)

    assert fit_r50_fpn(macs, 1.0).width == 1 / 64
    assert fit_r50_fpn(macs, 1e16).width == 1000
    assert fit_r50_fpn(macs, macs(R50FPNSpec())).width == 1
