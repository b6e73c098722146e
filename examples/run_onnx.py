"""Finds objects in a photo with an exported detector: python run_onnx.py model.onnx photo.jpg

It needs NumPy, Pillow and onnxruntime, and nothing else.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

if len(sys.argv) != 3:
    sys.exit(__doc__)
model, photo = sys.argv[1:3]
session = onnxruntime.InferenceSession(model)
about = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
scale = about["size"] / max(image.size)
small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
pixels = (np.asarray(small) / 255 - about["mean"]) / about["std"]
images = np.zeros((1, 3, about["size"], about["size"]), np.float32)  # What the photo leaves free stays zero.
images[0, :, : small.height, : small.width] = pixels.transpose(2, 0, 1)
found = session.run(["detected_boxes", "detected_scores", "detected_labels"], {"images": images})
for box, score, label in zip(*found, strict=True):  # One row for each object; boxes are x0, y0, x1, y1.
    if score >= 0.3:
        corners = np.clip(box / scale, 0, [*image.size, *image.size])  # In pixels of the photo.
        print(about["categories"][label][1], f"{score:.3f}", *corners.round(1).tolist())
if not (found[1] >= 0.3).any():
    print("no object has a score of 0.3 or more; the highest score is", max(found[1], default=0))
