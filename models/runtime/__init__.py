"""A model file: its card, its checks, its session in ONNX Runtime, its nodes, its predecessors."""

__all__ = ["card", "onnx_file", "onnx_graph", "session", "superseded"]
