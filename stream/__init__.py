"""The engine: vocabulary, ring, linker, windows, pipeline, wire and store."""
