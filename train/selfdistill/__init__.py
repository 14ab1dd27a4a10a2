"""Self-knowledge-distillation without labels (DINO, Caron et al. 2021, arXiv 2104.14294), as Phan et al. 2022
(arXiv 2210.06297) bring it to the ECG: one student and one teacher for the time series, one for the spectrogram."""
