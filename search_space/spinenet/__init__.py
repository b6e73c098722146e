"""SpineNet (Du et al., CVPR 2020): spec, space, key, cost, backbone."""
