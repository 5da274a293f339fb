"""A model file: its card, its checks, its session in ONNX Runtime, its nodes."""

__all__ = ["card", "onnx_file", "onnx_graph", "session"]
