"""The log-mel of an incident as a picture."""

import io

import numpy as np


def png(log_mel: np.ndarray) -> bytes:
    """Return a PNG of a log-mel's codes [shape=(frames, n_mels), int8]: time to the right, low bands at the bottom.

    A pixel is a code; the loudest is the brightest. Codes have no unit that all models share.
    """
    from matplotlib import image  # takes half a second

    out = io.BytesIO()
    image.imsave(out, log_mel.T, cmap="magma", format="png", origin="lower")
    return out.getvalue()
