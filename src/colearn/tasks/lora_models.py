"""Models of the task spam: adapters on a pretrained sentence model, as a learner."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

from colearn.errors import MissingExtra
from colearn.tasks.mails import model_folder
from colearn.tasks.registry import Given, Task

try:
    import torch
    from peft import LoraConfig
    from torch import nn
    from transformers import AutoModel

    from colearn.learners.lora import LoraLearner
except ModuleNotFoundError as reason:
    raise MissingExtra("this task's model", reason.name or "peft", "spam") from None


def learner(
    task: Task,
    *,
    learning_rate: float,
    batch_size: int,
    **given: Unpack[Given],
) -> LoraLearner:
    """Make a learner of a task; see `Task.learner`."""
    with torch.random.fork_rng([]):
        torch.manual_seed(given["seed"])
        model = SentenceClassifier(outputs=task.classes or 1)
    return LoraLearner(
        model,
        adapter=LoraConfig(r=8, target_modules=["query", "value"], modules_to_save=["head"]),
        loss=nn.functional.cross_entropy,
        optimizer=partial(torch.optim.Adam, lr=learning_rate),
        steps=task.steps,
        batch_size=batch_size,
        **given,
    )


class SentenceClassifier(nn.Module):
    """A linear layer on the mean of the sentence model's token vectors, as it was trained for."""

    def __init__(self, *, outputs: int) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(model_folder(), local_files_only=True)
        width = self.encoder.config.hidden_size
        self.scale = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, outputs)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        """Class scores of shape (n, outputs)."""
        vectors = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(vectors.dtype)
        return self.head(self.scale((vectors * mask).sum(1) / mask.sum(1).clamp(min=1)))
