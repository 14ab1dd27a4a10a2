"""What runs on the device: front end, windows, bundle, inference, alerts, engine, sinks, command line."""
