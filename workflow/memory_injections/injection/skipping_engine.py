"""Forward passes that start at any block and inject a memory there (paper, section 3.3).

Hugging Face's own forward runs, whatever the architecture. What an injection cannot change comes from the clean
pass instead of being computed: every block below the injected layer, and the attention of that layer itself. A batch
may hold injections into many layers: each of its rows joins at its own layer. The last block's output matrices and
the unembedding see each prompt's last position only.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from memory_injections.injection.engine import CleanPass, last_positions
from memory_injections.models.limits import MIN_ROWS
from memory_injections.models.loading import Components

# Without cuDNN's attention, which plans every new shape of a batch for longer than it then takes to compute.
ATTENTION = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]


class InjectionEngine:
    """Clean and injected forward passes of one causal language model.

    Prompts of different lengths are padded on the right and need no mask, because in a causal model no
    position sees a later one. Every method leaves the model as it found it, exceptions included.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.components = Components(model)
        self.device = model.device
        self._n_outputs: dict[nn.Module, int] = {}

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.components.blocks)

    @torch.inference_mode()
    def clean(
        self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"], layers: Sequence[int] | None = None
    ) -> CleanPass:
        """Run the prompts without injection, keeping what injections into `layers` (all by default) start from."""
        n_prompts, filled = len(tokens), _filled(len(tokens), tokens.device)
        resid_pre: dict[int, Tensor] = {}
        attn_out: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for layer, (block, attention) in enumerate(
                zip(self.components.blocks, self.components.attention, strict=True)
            ):
                stack.callback(block.register_forward_hook(self._count_outputs).remove)
                stack.callback(attention.register_forward_hook(self._count_outputs).remove)
                if layers is None or layer in layers:
                    stack.callback(block.register_forward_pre_hook(_keep_input(resid_pre, layer)).remove)
                    stack.callback(attention.register_forward_hook(_keep_output(attn_out, layer)).remove)
            logits = self._last_logits(tokens[filled], lengths[filled])[:n_prompts]
        for kept in (resid_pre, attn_out):
            kept.update({layer: values[:n_prompts] for layer, values in kept.items()})
        return CleanPass(tokens, lengths, resid_pre, attn_out, logits)

    @torch.inference_mode()
    def injected(
        self,
        clean: CleanPass,
        layers: Sequence[int],
        prompts: Int[Tensor, " cell"],
        vectors: Float[Tensor, "cell d_model"],
    ) -> Float[Tensor, "cell vocab"]:
        """Logits at the last position after `attn_out[layer] += vector` at every position, BOS included.

        A cell is the injection of one vector into one layer of one prompt; `prompts` says which row of `clean` it
        is, and `layers` come in ascending order, because a cell's row joins the others at its layer.
        """
        n_filling = max(0, MIN_ROWS - layers.count(layers[0]))
        filled = torch.arange(-n_filling, len(prompts), device=prompts.device).clamp(min=0)
        prompts, vectors = prompts[filled], _rows(vectors, filled)
        with ExitStack() as stack:
            start = 0
            for layer, block in enumerate(self.components.blocks):
                stop = n_filling + bisect_right(layers, layer) if layer >= layers[0] else 0
                if not stop:
                    stack.enter_context(_forward_replaced(block, self._hand_on(block, None)))
                elif stop > start:
                    joining = _Joining(clean, layer, start, prompts[start:stop], vectors[start:stop])
                    self._join(stack, joining, block, self.components.attention[layer])
                start = stop
            # One row stands for all: positions and masks are the same for every row.
            return self._last_logits(clean.tokens[:1], _rows(clean.lengths, prompts))[n_filling:]

    def _join(self, stack: ExitStack, joining: "_Joining", block: nn.Module, attention: nn.Module) -> None:
        """Let rows join before a block, whose attention they do not go through."""
        stack.callback(block.register_forward_pre_hook(joining.block_input).remove)
        if joining.start:
            stack.callback(attention.register_forward_pre_hook(joining.attention_input, with_kwargs=True).remove)
            stack.callback(attention.register_forward_hook(joining.attention_output).remove)
        else:
            stack.enter_context(_forward_replaced(attention, self._hand_on(attention, joining.injected())))

    def _last_logits(
        self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch vocab"]:
        """The model's logits at each row's last position, in float32; nothing else reaches the unembedding.

        What the last block's attention and MLP write is computed at the last position alone and broadcast over
        the others, which nobody reads.
        """

        def select(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (last_positions(args[0], lengths[: len(args[0])])[:, None], *args[1:])

        unembed = self.components.unembed
        with sdpa_kernel(ATTENTION, set_priority=True), ExitStack() as stack:
            for module in (*self.components.last_writers, unembed):
                stack.callback(module.register_forward_pre_hook(select).remove)
            if unembed.weight.dtype != torch.float32:
                stack.enter_context(_forward_replaced(unembed, lambda hidden: _float32_product(unembed, hidden)))
            return self.model(input_ids=tokens, use_cache=False).logits[:, 0].float()

    def _count_outputs(self, module: nn.Module, _: Any, output: Any) -> None:
        self._n_outputs[module] = len(output) if isinstance(output, tuple) else 0

    def _hand_on(self, module: nn.Module, value: Tensor | None) -> Callable[..., Any]:
        """A forward that hands on `value`, or its own input, in the form in which the module gave its output."""
        n_outputs = self._n_outputs[module]

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = args[0] if value is None else value
            return (output, *[None] * (n_outputs - 1)) if n_outputs else output

        return forward


class _Joining:
    """Cells that join a pass at their layer, behind the `start` rows that are in it already."""

    def __init__(
        self,
        clean: CleanPass,
        layer: int,
        start: int,
        prompts: Int[Tensor, " cell"],
        vectors: Float[Tensor, "cell d_model"],
    ) -> None:
        self.start = start
        self.resid_pre, self.attn_out = clean.resid_pre[layer], clean.attn_out[layer]
        self.prompts, self.vectors = prompts, vectors

    def injected(self) -> Float[Tensor, "cell pos d_model"]:
        """The attention's output with the vectors added."""
        attn_out = _rows(self.attn_out, self.prompts)
        return attn_out + self.vectors.to(attn_out)[:, None]

    def block_input(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        resid_pre = _rows(self.resid_pre, self.prompts)
        return (torch.cat([args[0], resid_pre.to(args[0].device)]) if self.start else resid_pre, *args[1:])

    def attention_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (args[0][: self.start], *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"][: self.start]}

    def attention_output(self, _: nn.Module, __: Any, output: Any) -> Any:
        computed = output[0] if isinstance(output, tuple) else output
        rows = torch.cat([computed, self.injected().to(computed.device)])
        return (rows, *output[1:]) if isinstance(output, tuple) else rows


def _keep_input(kept: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        kept[layer] = args[0]

    return hook


def _keep_output(kept: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        kept[layer] = output[0] if isinstance(output, tuple) else output

    return hook


@contextmanager
def _forward_replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give a module another forward for a while; one set on the module itself, by a device map, comes back after."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def _filled(n_rows: int, device: torch.device) -> Int[Tensor, " row"]:
    """Every row once, and again from the first until there are `MIN_ROWS`."""
    return torch.arange(max(n_rows, MIN_ROWS), device=device) % n_rows


def _rows(values: Tensor, index: Int[Tensor, " cell"]) -> Tensor:
    return values[index.to(values.device)]


def _float32_product(
    unembed: nn.Linear, hidden: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos vocab"]:
    """The unembedding of a model in a lower precision, summed and kept in float32: logits are not rounded."""
    weight, bias = unembed.weight.T, unembed.bias
    flat = hidden.flatten(0, 1)
    logits = torch.mm(flat, weight, out_dtype=torch.float32) if flat.is_cuda else flat.float() @ weight.float()
    return (logits if bias is None else logits + bias.float()).unflatten(0, hidden.shape[:2])
