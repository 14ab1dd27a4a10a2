"""Sub-commands of `ecg-edge` that need the export extra."""
