"""Arrays come back as they were saved, also to several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pretune.text.arrays.array_file import load_array


def test_threads_read_what_was_saved(tmp_path: Path) -> None:
    kind = np.dtype([("shard", "<i4"), ("row", "<i4")])
    saved = np.array([(1, 2), (3, 4)], dtype=kind)
    np.save(tmp_path / "rows.npy", saved)
    with ThreadPoolExecutor(4) as pool:
        for mmap_mode in (None, "r"):
            found = list(
                pool.map(lambda _, mode=mmap_mode: load_array(tmp_path / "rows.npy", mmap_mode=mode), range(40))
            )
            assert all(each.dtype == kind and each.tolist() == saved.tolist() for each in found)
    assert isinstance(load_array(tmp_path / "rows.npy", mmap_mode="r"), np.memmap)
