"""NAS-FPN (Ghiasi et al., CVPR 2019): spec, space, key, backbone."""
