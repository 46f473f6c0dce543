from pathlib import Path

import numpy as np

from pretune.text.arrays.text_buffer import FlatText
from pretune.text.splits import hash_text, hash_unit
from pretune.text.steps.clean_shard import TEXTS_NAME, save_hashes
from pretune.text.steps.encode_shard import encode_shard, join_shards
from pretune.text.steps.select import REASONS_NAME
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer


def test_parts_one_after_another_are_the_texts(tmp_path: Path, tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    shards = [["The sun rises.", "dropped", "A warm film."], [], ["Rude waiter!", "Cold soup, noisy rooms."]]
    folders, by_split = [], {"train": [], "validation": []}
    for number, texts in enumerate(shards):
        shard = tmp_path / str(number)
        for name in ("cleaned", "selected", "encoded"):
            (shard / name).mkdir(parents=True)
        FlatText.from_texts(texts).save(shard / "cleaned" / TEXTS_NAME)
        save_hashes(shard / "cleaned", [hash_text(text) for text in texts])
        np.save(shard / "selected" / REASONS_NAME, np.array([text == "dropped" for text in texts], dtype=np.uint8))
        task = {"tokenizer": str(tokenizer_folder), "tokenizer_sha256": "x", "threshold": 0.5}
        task |= {name: str(shard / name) for name in ("cleaned", "selected")}
        result = encode_shard(shard / "encoded", task)
        kept = [text for text in texts if text != "dropped"]
        assert (result["documents"], result["bytes"]) == (len(kept), sum(len(text) + 1 for text in kept))
        assert result["is_exact"] and not result["is_refused"]
        folders.append(shard / "encoded")
        for text in kept:
            by_split["train" if hash_unit(text) < 0.5 else "validation"].append(tokenizer.encode(text))
    for split, expected in by_split.items():
        shard = join_shards(folders, tmp_path, split, tokenizer.vocab_size)
        assert [shard.doc(i).tolist() for i in range(len(shard))] == expected
        assert len(TokenShard(tmp_path, split)) == len(expected)
