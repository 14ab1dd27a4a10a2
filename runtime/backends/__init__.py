"""Inference backends: a verified model graph in, logits out."""

from .backend import Backend, probabilities
from .choose import BACKENDS, CHOICES, installed, open_backend, open_model
from .onnx import OnnxBackend
from .tflite import TfliteBackend

__all__ = [
    "BACKENDS",
    "CHOICES",
    "Backend",
    "OnnxBackend",
    "TfliteBackend",
    "installed",
    "open_backend",
    "open_model",
    "probabilities",
]
