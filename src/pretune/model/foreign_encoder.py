"""An encoder of transformers (BERT, RoBERTa, DistilBERT, ModernBERT, ...) behind the interface of our transformer.

Token ids and document ids go in, vectors come out. Only this module, `foreign_folder`, `foreign_language_model` and
`gguf_folder` call transformers, which the extra `pretune[hf]` installs. Its dropout stays off: the masks of training
are functions of the seed, dropout is not, and a resumed run must equal an uninterrupted one.

B batch, T sequence, D hidden, L layers.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pretune.errors import CorruptModelError, ModelError
from pretune.model.config import ForeignConfig
from pretune.model.weights import ADAPTER_CONFIG_NAME, MOST_TIMES_AS_LARGE, count_weights, weights_file

UNUSED = ("pooler.", "position_ids")  # parts of the names of tensors that no prediction of ours depends on
# Those of them that are weights: a training that waits for the gradient of each would fail. Longformer has projections
# for global attention, which no position of a text has here.
_WITHOUT_GRADIENT = ("pooler.", "query_global.", "key_global.", "value_global.")
_MOST_SHARING_LAYERS = 1000  # that share their weights
# Fields of a config.json, also with `_` before the name; a model that is made from it is saved without them, too.
NOT_PASSED_ON = ("auto_map", "attn_implementation", "experts_implementation", "problem_type")
# Of pre-norm encoders, by their place in the module.
_FINAL_NORMS = (
    "final_norm", "norm", "final_layer_norm", "layer_norm_f", "LayerNorm",
    "encoder.LayerNorm", "encoder.ln", "encoder.emb_layer_norm_after",
)  # fmt: skip


class ForeignEncoder(nn.Module):
    """Token ids go in, contextual vectors come out, as transformers' own module computes them."""

    def __init__(self, config: ForeignConfig, encoder: nn.Module | None = None) -> None:
        """`encoder` is the loaded module; without it, one with random weights is built."""
        super().__init__()
        self.config = config
        self.encoder: Any = build_encoder(config) if encoder is None else encoder
        self.encoder.eval()
        for name, parameter in self.encoder.named_parameters():
            if any(part in name for part in _WITHOUT_GRADIENT):
                parameter.requires_grad_(False)
        accepted = inspect.signature(self.encoder.forward).parameters
        self._takes_mask = "attention_mask" in accepted
        self._takes_segments = "token_type_ids" in accepted and config.has_segments

    @property
    def embed_tokens(self) -> nn.Embedding:
        """The embedding table of the tokens."""
        table: nn.Embedding = self.encoder.get_input_embeddings()
        return table

    def train(self, mode: bool = True) -> ForeignEncoder:
        """The same as for every module, except that dropout stays off."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        document_ids: Int[Tensor, "B T"],
        is_causal: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        positions: Int[Tensor, "M"] | None = None,
        layers: Sequence[Any] | None = None,
        spans: Any = None,
    ) -> Float[Tensor, "*N D"]:
        """Vectors at all positions (B, T, D), or at the given ones of the flattened batch (M, D).

        `document_ids` is -1 at padding and 0 elsewhere: rows of several documents are not possible. `layers` and
        `spans` are for our own transformer and have no effect. Raises ValueError for causal rows.
        """
        del layers, spans
        if is_causal is not None:
            raise ValueError("an encoder reads in both directions; expected no causal rows")
        hidden = self._run(document_ids, dtype, input_ids=input_ids, segments=self.segments_of(input_ids))[0]
        return hidden if positions is None else hidden.flatten(0, 1)[positions]

    def from_embeddings(
        self, embeddings: Float[Tensor, "B T E"], segments: Int[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Vectors of rows without padding, given what the embedding table would give for their tokens."""
        document_ids = torch.zeros(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
        return self._run(document_ids, torch.float32, inputs_embeds=embeddings, segments=segments)[0]

    @torch.inference_mode()
    def states(self, input_ids: Int[Tensor, "B T"], document_ids: Int[Tensor, "B T"]) -> list[Float[Tensor, "B T D"]]:
        """The vectors after the embedding and after each layer (L + 1), each as if the encoder ended there."""
        out = self._run(
            document_ids,
            torch.float32,
            input_ids=input_ids,
            segments=self.segments_of(input_ids),
            output_hidden_states=True,
        )
        earlier = out.hidden_states[:-1]  # the last one is before the final norm in some architectures
        norm = _final_norm(self.encoder)
        return [*(earlier if norm is None else map(norm, earlier)), out[0]]

    @torch.inference_mode()
    def attention_weights(
        self, input_ids: Int[Tensor, "B T"], document_ids: Int[Tensor, "B T"]
    ) -> list[Float[Tensor, "H T T"]]:
        """The attention weights of each layer for the first row; none if this architecture does not give them."""
        with _plain_attention(self.encoder):
            out = self._run(
                document_ids,
                torch.float32,
                input_ids=input_ids,
                segments=self.segments_of(input_ids),
                output_attentions=True,
            )
        shape, length = (self.config.num_heads, input_ids.shape[1], input_ids.shape[1]), out[0].shape[1]
        found = [weights[0] for weights in getattr(out, "attentions", None) or () if weights is not None]
        is_usable = length == input_ids.shape[1] and all(weights.shape == shape for weights in found)
        return found if is_usable and len(found) == self.config.num_layers else []

    def segments_of(self, input_ids: Int[Tensor, "B T"]) -> Int[Tensor, "B T"] | None:
        """0 up to the first [SEP] and 1 after it, for an encoder that tells first and second text apart."""
        if not self._takes_segments:
            return None
        is_end = (input_ids == self.config.eos_token_id).long()
        return ((is_end.cumsum(1) - is_end) > 0).long()

    def _run(self, document_ids: Tensor, dtype: torch.dtype, *, segments: Tensor | None = None, **given: Any) -> Any:
        if self._takes_mask:
            given["attention_mask"] = (document_ids >= 0).long()
        if segments is not None:
            given["token_type_ids"] = segments
        with torch.autocast(document_ids.device.type, dtype, enabled=dtype != torch.float32):
            return self.encoder(**given)


def _final_norm(encoder: nn.Module) -> nn.Module | None:
    """The norm after all layers, which an encoder has whose layers begin with theirs."""
    modules = dict(encoder.named_modules())
    # DeBERTa has a norm of relative places there.
    others = {"encoder.LayerNorm"} if hasattr(modules.get("encoder"), "norm_rel_ebd") else set()
    return next((modules[name] for name in _FINAL_NORMS if name in modules and name not in others), None)


@contextmanager
def _plain_attention(encoder: Any) -> Iterator[None]:
    """With attention as plain products: a fused kernel gives no weights."""
    usual = encoder.config._attn_implementation
    if usual == "eager":
        yield
        return
    with quietly():
        encoder.set_attn_implementation("eager")
        try:
            yield
        finally:
            encoder.set_attn_implementation(usual)


def build_encoder(config: ForeignConfig) -> nn.Module:
    """The encoder of an architecture with random weights."""
    with quietly():
        return from_auto_model("from_config", transformers_config(config.fields))


def from_auto_model(method: str, *positional: Any, head: str = "", **given: Any) -> Any:
    """Call a method of transformers' AutoModel for an encoder without a pooler, whose output we would not use.

    `head` is the end of the name of an AutoModel with a head, such as ForMaskedLM.

    Attention as plain products on a CPU: the backward pass of the fused kernel is slower there. On a GPU the library
    chooses, because some architectures have no fused kernel and refuse to be given one.
    """
    auto = getattr(import_transformers(), f"AutoModel{head}")
    call = getattr(auto, method)
    given |= {"trust_remote_code": False, "attn_implementation": None if torch.cuda.is_available() else "eager"}
    try:
        return call(*positional, add_pooling_layer=False, **given)
    except TypeError:  # an architecture that has no pooler
        return call(*positional, **given)


def check_files(folder: Path, config: ForeignConfig, head: str = "") -> None:
    """Raise the errors of files with which transformers would do more than load the model.

    ModelError if there is also an adapter: if PEFT is installed, transformers would add it, and its config may name
    things to download. CorruptModelError if `config.json` describes far more weights than there are: transformers
    would make room for all of them before it compares shapes.
    """
    if (folder / ADAPTER_CONFIG_NAME).is_file():
        raise ModelError(
            f"{folder} has a whole model and {ADAPTER_CONFIG_NAME}, so it is unclear whether the adapter belongs to "
            "it; move the files of the adapter to another folder."
        )
    num_tensors, found = count_weights(folder)
    expected = math.inf
    if config.num_layers <= max(num_tensors, _MOST_SHARING_LAYERS):  # each is built, as a module without memory
        with quietly(), torch.device("meta"):
            model = from_auto_model("from_config", transformers_config(config.fields), head=head)
        expected = sum(weight.numel() for weight in model.parameters())
    if expected > MOST_TIMES_AS_LARGE * found:
        raise CorruptModelError(
            f"{weights_file(folder)} has {found:,} weights, far fewer than config.json describes; restore both from "
            "the same copy."
        )


def transformers_config(fields: Any) -> Any:
    """The config object of the fields of a `config.json`; no code beside the folder is looked at.

    A way to compute attention is left out, since it may name a program on the Hub. So is the kind of a public
    classifier's labels: transformers refuses one class where a regression has one output.
    """
    given = {name: value for name, value in fields.items() if name.lstrip("_") not in ("model_type", *NOT_PASSED_ON)}
    auto = import_transformers().AutoConfig
    with quietly():
        return auto.for_model(fields["model_type"], **given)


def import_transformers() -> Any:
    """The library. Raises ModelError with the command that installs it."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ModelError(
            "This model is read with transformers, which is not installed: pip install 'pretune[hf]'. "
            "Models of type eurobert and llama need nothing more."
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without the library's progress bars and load reports; what is missing is our error, not its notice."""
    logging = importlib.import_module("transformers.utils.logging")
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
