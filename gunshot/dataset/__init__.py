"""From recordings to chunks: onsets, near-duplicates, where to cut, the split, augmentation."""
