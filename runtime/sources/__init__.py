"""Where samples come from: recordings on disk, and devices on a link."""
