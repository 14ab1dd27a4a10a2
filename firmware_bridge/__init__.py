"""What passes between the microcontroller and the host: leads, wire format, transports, a simulated device."""
