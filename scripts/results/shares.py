"""Intervals of shares, for the pages of figures."""

import math


def wilson(count, of):
    """95 % interval of a share, as if cases were independent."""
    if not of:
        return None
    z = 1.959964
    share = count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return max(middle - half, 0.0), min(middle + half, 1.0)
