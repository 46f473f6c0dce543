"""Text in a script other than the Latin one is measured by its own words, from the corpus to the token shards."""

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


KOREAN = (
    "나는 그는 우리는 엄마는 친구는".split(),
    "어제 오늘 아침에 밤에 가끔".split(),
    "새 큰 낡은 작은 예쁜".split(),
    "카페에 학교에 집에 산에 가게에".split(),
    "갔다 왔다 있다 들른다 모인다".split(),
)


def test_korean_has_short_words_and_is_kept(tmp_path: Path) -> None:
    draw = random.Random(0)
    sentences = [" ".join(map(draw.choice, KOREAN)) + "." for _ in range(60 * 12)]
    lines = [" ".join(sentences[i : i + 12]) for i in range(0, len(sentences), 12)]  # 60 words: judged like pages
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    collect([tmp_path / "text.txt"], tmp_path / "c", CollectConfig(text_unit="line"))
    manifest = preprocess(tmp_path / "c", tmp_path / "p", PreprocessConfig(vocab_size=300))
    assert manifest.summary["train_documents"] + manifest.summary["validation_documents"] == 60
