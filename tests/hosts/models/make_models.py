"""Make tiny language models of random weights: ``make_models.py DIRECTORY``. For the image of vLLM, which has torch.

`oak` and `elm` are alike but for their weights, and say a few random letters. `hollow` loads as they do, and vLLM says
that it is healthy with it, but cannot compute with heads of that size.
"""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 16384
ROLES = ["system", "user", "assistant", "tool"]
END = "<|end|>"
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content or '' }}" + END + "{% endfor %}<|assistant|>"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of bytes and of what is frequent in some English."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[END, *(f"<|{role}|>" for role in ROLES)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([inspect.getsource(argparse)], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, model_max_length=CONTEXT)
    wrapped.chat_template = TEMPLATE
    return wrapped


def model(words: PreTrainedTokenizerFast, seed: int, hidden: int) -> LlamaForCausalLM:
    """A model of two layers and four heads, which says letters alone and does not say much."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        tie_word_embeddings=False,
    )
    made = LlamaForCausalLM(config)
    # What is no letter has the logit 0, which is less than the best letter's.
    letters = [name.isascii() and name.isalpha() for name in words.convert_ids_to_tokens(list(range(len(words))))]
    with torch.no_grad():
        made.lm_head.weight *= 50 * torch.tensor(letters, dtype=made.lm_head.weight.dtype).unsqueeze(1)
    made.generation_config.max_new_tokens = 16
    return made


def main(directory: Path) -> None:
    """Make all of them, each in a directory of its own."""
    words = tokenizer()
    for name, seed, hidden in (("oak", 1, 256), ("elm", 2, 256), ("hollow", 3, 64)):
        model(words, seed, hidden).save_pretrained(directory / name)
        words.save_pretrained(directory / name)
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
