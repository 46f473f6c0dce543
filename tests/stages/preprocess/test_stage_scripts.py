"""Text in a script without spaces is measured in characters, from the corpus to the token shards."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pretune.settings import CollectConfig, PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess

PARTS = {
    "chinese": (
        "老师 朋友 医生 孩子 邻居".split(),
        "修理 喜欢 买了 清洗 带来".split(),
        "茶杯 雨伞 灯笼 篮子 长椅".split(),
    ),
    "japanese": (
        "先生 友達 医者 子供 隣人".split(),
        "直した 好む 買った 洗う 運ぶ".split(),
        "茶碗 かさ とうろう かご いす".split(),
    ),
    "thai": ("ครู เพื่อน หมอ เด็ก คนขับ".split(), "ซ่อม ชอบ ซื้อ ล้าง ยืม".split(), "ถ้วย ร่ม โคม ตะกร้า ม้านั่ง".split()),
}


@pytest.mark.parametrize("script", PARTS)
def test_text_without_spaces_is_enough_to_learn_from(tmp_path: Path, script: str) -> None:
    draw = random.Random(0)
    lines = ["".join(draw.choice(words) for _ in range(20) for words in PARTS[script]) for _ in range(60)]
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    collect([tmp_path / "text.txt"], tmp_path / "c", CollectConfig(text_unit="line"))
    manifest = preprocess(tmp_path / "c", tmp_path / "p", PreprocessConfig(vocab_size=400))
    summary = manifest.summary
    assert summary["train_documents"] + summary["validation_documents"] == 60
