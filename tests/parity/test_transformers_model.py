"""Our model is transformers' EuroBERT and Llama: same files, same logits, same loss, in both attention modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pretune.model.config import ModelConfig
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import LanguageModel, SequenceClassifier

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

CONFIG = ModelConfig(
    vocab_size=200,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    intermediate_size=96,
    max_seq_len=64,
    rope_theta=3000.0,
)
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def fill_weights(model: torch.nn.Module) -> None:
    """Weights large enough that attention is far from uniform and every part matters."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.1, generator=rng)


def padded_batch() -> tuple[Tensor, Tensor]:
    """Token ids (4, 30) of different lengths, and document ids: 0, and -1 at padding."""
    rng = torch.Generator().manual_seed(2)
    input_ids = torch.randint(4, CONFIG.vocab_size, (4, 30), generator=rng)
    document_ids = torch.zeros_like(input_ids)
    for row, length in enumerate([30, 17, 2, 1]):
        document_ids[row, length:] = -1
    return input_ids.masked_fill(document_ids < 0, CONFIG.pad_token_id), document_ids


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    return tmp_path


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def language_model(request: pytest.FixtureRequest) -> LanguageModel:
    fields = {**vars(CONFIG), "tie_word_embeddings": request.param}
    model = LanguageModel(ModelConfig(**fields))
    fill_weights(model)
    return model


def assert_equal_logits_and_loss(
    model: LanguageModel, reference: Any, is_causal: Tensor | None, attn_implementation: str
) -> None:
    reference.set_attn_implementation(attn_implementation)
    input_ids, document_ids = padded_batch()
    is_real = document_ids >= 0
    targets = torch.where(is_real & (input_ids % 3 == 0), input_ids, -100)
    with torch.no_grad():
        theirs = reference(input_ids, attention_mask=is_real.long())
        ours = model(input_ids, document_ids, is_causal=is_causal)
    torch.testing.assert_close(ours[is_real], theirs.logits[is_real], **TOLERANCE)
    if is_causal is None:
        their_loss = reference(input_ids, attention_mask=is_real.long(), labels=targets).loss
        positions = (targets.flatten() != -100).nonzero()[:, 0]
        our_loss = F.cross_entropy(model(input_ids, document_ids, positions), targets.flatten()[positions])
    else:
        their_loss = reference(input_ids, attention_mask=is_real.long(), labels=targets).loss
        our_loss = F.cross_entropy(ours[:, :-1].flatten(0, 1), targets[:, 1:].flatten())
    torch.testing.assert_close(our_loss, their_loss, **TOLERANCE)


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_bidirectional_is_eurobert(
    tmp_path: Path, tokenizer_folder: Path, language_model: LanguageModel, attn_implementation: str
) -> None:
    save_model_folder(tmp_path / "model", language_model, tokenizer_folder)
    reference, info = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert type(reference).__name__ == "EuroBertForMaskedLM"
    assert not any(info.values()), info
    assert_equal_logits_and_loss(language_model, reference.eval(), None, attn_implementation)


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_causal_is_llama(
    tmp_path: Path, tokenizer_folder: Path, language_model: LanguageModel, attn_implementation: str
) -> None:
    save_model_folder(tmp_path / "model", language_model, tokenizer_folder)
    config = transformers.LlamaConfig.from_pretrained(tmp_path / "model")
    reference, info = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path / "model", config=config, output_loading_info=True
    )
    assert not any(info.values()), info
    rows = torch.ones(4, dtype=torch.bool)
    assert_equal_logits_and_loss(language_model, reference.eval(), rows, attn_implementation)


def test_bidirectional_is_llama_without_a_causal_mask(
    tmp_path: Path, tokenizer_folder: Path, language_model: LanguageModel
) -> None:
    save_model_folder(tmp_path / "model", language_model, tokenizer_folder)
    config = transformers.LlamaConfig.from_pretrained(tmp_path / "model")
    config.is_causal = False
    reference = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "model", config=config).eval()
    input_ids, document_ids = padded_batch()
    is_real = document_ids >= 0
    with torch.no_grad():
        theirs = reference(input_ids, attention_mask=is_real.long(), use_cache=False).logits
        ours = language_model(input_ids, document_ids)
    torch.testing.assert_close(ours[is_real], theirs[is_real], **TOLERANCE)


@pytest.mark.parametrize("architecture", ["EuroBertForMaskedLM", "LlamaForCausalLM"])
@pytest.mark.parametrize("is_tied", [True, False])
def test_folders_that_transformers_made_come_in(tmp_path: Path, architecture: str, is_tied: bool) -> None:
    model_class = getattr(transformers, architecture)
    config = model_class.config_class(
        vocab_size=150,
        hidden_size=64,
        intermediate_size=100,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=77,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=is_tied,
        rope_parameters={"rope_type": "default", "rope_theta": 777.0},
    )
    reference = model_class(config).eval()
    fill_weights(reference)
    reference.save_pretrained(tmp_path / "theirs")
    loaded = load_model_folder(tmp_path / "theirs")
    assert (loaded.config.rope_theta, loaded.config.max_seq_len) == (777.0, 77)
    input_ids, document_ids = padded_batch()
    input_ids = input_ids % 150
    is_causal = torch.ones(4, dtype=torch.bool) if architecture.startswith("Llama") else None
    is_real = document_ids >= 0
    with torch.no_grad():
        theirs = reference(input_ids, attention_mask=is_real.long()).logits
        ours = loaded.model(input_ids, document_ids, is_causal=is_causal)
    torch.testing.assert_close(ours[is_real], theirs[is_real], **TOLERANCE)


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("classes", [2, 5, 32])
def test_classifier_is_eurobert_for_sequence_classification(
    tmp_path: Path, tokenizer_folder: Path, classes: int, attn_implementation: str
) -> None:
    model = SequenceClassifier(CONFIG, classes)
    fill_weights(model)
    names = [f"class {index}" for index in range(classes)]
    save_model_folder(tmp_path / "model", model, tokenizer_folder, names)
    reference, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", output_loading_info=True, attn_implementation=attn_implementation
    )
    assert not any(info.values()), info
    assert [reference.config.id2label[index] for index in range(classes)] == names
    input_ids, document_ids = padded_batch()
    labels = torch.arange(4) % classes
    with torch.no_grad():
        theirs = reference.eval()(input_ids, attention_mask=(document_ids >= 0).long(), labels=labels)
        ours = model(input_ids, document_ids)
    torch.testing.assert_close(ours, theirs.logits, **TOLERANCE)
    torch.testing.assert_close(F.cross_entropy(ours, labels), theirs.loss, **TOLERANCE)


def test_many_classes_are_eurobert_for_token_classification_averaged(tmp_path: Path, tokenizer_folder: Path) -> None:
    model = SequenceClassifier(CONFIG, 77)
    fill_weights(model)
    save_model_folder(tmp_path / "model", model, tokenizer_folder, [f"class {index}" for index in range(77)])
    reference, info = transformers.AutoModelForTokenClassification.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert reference.config.architectures == ["EuroBertForTokenClassification"]
    assert not any(info.values()), info
    input_ids, document_ids = padded_batch()
    is_real = (document_ids >= 0)[..., None]
    with torch.no_grad():
        logits = reference.eval()(input_ids, attention_mask=is_real[..., 0].long()).logits
        ours = model(input_ids, document_ids)
    torch.testing.assert_close(ours, (logits * is_real).sum(1) / is_real.sum(1), **TOLERANCE)
