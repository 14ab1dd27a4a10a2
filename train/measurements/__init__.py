"""What a cardiologist's ruler would read off an ECG: intervals, amplitudes, axes, and how regular the beats are."""
