"""Low-rank adapters of Hugging Face transformers (LoRA, arXiv 2106.09685).

A large pretrained model stays as it is at every member; beside some of its layers,
two small matrices each are trained, and only these travel. The base is pinned: the
digest of its values is one of the tensors, so that a member with another base is
told so before it takes part.
"""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

from colearn.errors import ConfigError, MissingExtra, UnsupportedModel
from colearn.learners.supervised import one_line

try:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch import nn
except ModuleNotFoundError as reason:
    raise MissingExtra("LoraLearner", reason.name or "peft", "lora") from None

from colearn.learners.torch import TorchLearner

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_ADAPTERS_SEED = 0


class LoraLearner(TorchLearner):
    """A transformer that learns by adapters alone, behind the Machine Learning Interface.

    Samples are token ids, int64 of shape (n, length), padded at the end; `token_ids` makes
    them of texts. Adapters begin as PEFT makes them, at values that are the same everywhere,
    and change nothing at first.

    Args:
        model: Takes ``input_ids`` and ``attention_mask``, and returns class scores, as
            ``logits`` or alone: a transformer ``...ForSequenceClassification``, or a
            module around one. It is copied and never changed.
        adapter: Where adapters stand and how large they are; ``modules_to_save`` names
            layers that are trained whole, such as a new head.
        pad_token: The id that texts are filled up with, which is not attended to.
        options: As in `TorchLearner`.

    Raises:
        ConfigError: The adapters do not fit the model.
        UnsupportedModel: The model cannot learn collectively.
        LearnerError: The samples cannot be learned from.

    Example:
        ```python
        LoraLearner(
            model,
            adapter=LoraConfig(r=8, target_modules=["query", "value"]),
            loss=torch.nn.functional.cross_entropy,
            optimizer=partial(torch.optim.AdamW, lr=1e-3),
            train=(token_ids(texts, tokenizer, 128), labels),
        )
        ```
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        adapter: LoraConfig,
        pad_token: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(_Scores(_adapted(model, adapter), pad_token), **options)

    def no_private_training(self) -> str | None:
        """Why these adapters cannot be trained privately; None if they can."""
        self._keep_lengths()
        return super().no_private_training()

    def no_private_votes(self) -> str | None:
        """Why votes on these adapters cannot be private; None if they can."""
        self._keep_lengths()
        return super().no_private_votes()

    def _keep_lengths(self) -> None:
        """Cut no batch: how long its longest text is shows in others' dropout and rounding."""
        scores: Any = self._module
        scores.cut = False

    def native(self) -> nn.Module:
        """Return a copy of the PEFT model, whose ``save_pretrained`` writes its adapters."""
        adapted: nn.Module = super().native().adapted  # type: ignore[assignment]
        return adapted


class _Scores(nn.Module):
    """Class scores of padded token ids."""

    def __init__(self, adapted: nn.Module, pad_token: int) -> None:
        super().__init__()
        self.adapted = adapted
        self._pad_token = pad_token
        self.cut = True

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        mask = (token_ids != self._pad_token).long()
        # What all texts of a batch are filled up with costs time and changes nothing.
        longest = max(1, int(mask.sum(1).max())) if self.cut else token_ids.shape[1]
        outputs = self.adapted(input_ids=token_ids[:, :longest], attention_mask=mask[:, :longest])
        scores: torch.Tensor = getattr(outputs, "logits", outputs)
        return scores


def _adapted(model: nn.Module, adapter: LoraConfig) -> nn.Module:
    """Return a copy of the model with adapters, of the same values every time."""
    if not isinstance(model, nn.Module):
        raise UnsupportedModel(f"got {model!r:.60}: expected an instance of torch.nn.Module")
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what PEFT uses of transformers
        torch.manual_seed(_ADAPTERS_SEED)
        try:
            return get_peft_model(copy.deepcopy(model), copy.deepcopy(adapter))
        except (TypeError, ValueError, AttributeError) as reason:
            raise ConfigError(
                f"{type(model).__name__} takes no such adapters: {one_line(reason):.300}; "
                "name layers that it has as target_modules"
            ) from reason


def token_ids(texts: Sequence[str], tokenizer: Any, length: int) -> NDArray[np.int64]:
    """Token ids of texts, cut or filled up to a length; shape (texts, length)."""
    ids: NDArray[np.int64] = tokenizer(
        list(texts),
        padding="max_length",
        truncation=True,
        max_length=length,
        return_tensors="np",
    )["input_ids"]
    return ids.astype("int64")
