"""From a trained network to a verified bundle: ONNX, INT8, model card."""
