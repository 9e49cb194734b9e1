"""The fast engine: forward passes that start at any block and inject a memory there (paper, section 3.3).

The plain Hugging Face model runs, whatever its architecture. What an injection cannot change comes from the clean
pass instead of being computed: every block below the injected layer, and the attention of that layer. Injections into
different layers share a batch: each joins it at its own layer. The last block's output matrices and the unembedding
see the positions that are read only.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import Cache, PreTrainedModel

from memory_injections.errors import UnsupportedArchitectureError
from memory_injections.injection.engine import CleanPass, Reads, place_vectors, repeat_rows
from memory_injections.models.limits import MIN_ROWS
from memory_injections.models.loading import Components, ModelParts
from memory_injections.models.sizes import measure_context

# cuDNN's attention is left out: planning a batch of a new shape takes it longer than computing the batch.
ATTENTION = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
# The methods by which a layer's attention adds its own keys to the earlier ones and reads both.
UPDATES = ("update", "update_indexer")


class SkippingEngine:
    """Clean and injected forward passes that skip what an injection cannot change (an `engine.InjectionEngine`).

    `parts` says where the model's parts are; without it, TransformerLens does. Matrix products of fewer rows than
    `min_rows` are filled up to it; 1 is quickest for a single prompt, whose numbers then depend on the batch in
    float32's last digits. Every method leaves the model as it was, even after an exception.
    """

    def __init__(self, model: PreTrainedModel, parts: ModelParts | None = None, min_rows: int = MIN_ROWS) -> None:
        self.model, self.min_rows = model, min_rows
        self.components = Components(model, parts)
        self.n_layers, self.n_ctx = len(self.components.blocks), measure_context(model.config)
        self.device, self.dtype = model.device, model.dtype
        self._forms: dict[nn.Module, tuple[type, int]] = {}
        self._is_one_row_enough = self._probe_model()

    @torch.inference_mode()
    def clean(
        self,
        tokens: Int[Tensor, "batch pos"],
        lengths: Int[Tensor, " batch"],
        layers: Sequence[int] | None = None,
        n_read: Sequence[int] | None = None,
        past: Cache | None = None,
    ) -> CleanPass:
        """Run prompts without injection, and record what injections into `layers` (by default all) start from.

        With `n_read`, so many of each prompt's last positions are read (see `engine.InjectionEngine`). `past` has the
        keys and values of positions before those of `tokens`.
        """
        parts, n_prompts = self.components, len(tokens)
        rows = repeat_rows(n_prompts, self._count_rows(tokens), tokens.device)
        resid_pre: dict[int, Tensor] = {}
        attn_out: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for layer, (block, out) in enumerate(zip(parts.blocks, parts.attn_out, strict=True)):
                if layers is None or layer in layers:
                    keep_output = _keep_output(attn_out, layer, parts.attn_scale)
                    stack.callback(block.register_forward_pre_hook(_keep_input(resid_pre, layer)).remove)
                    stack.callback(out.register_forward_hook(keep_output).remove)
            reads = Reads.of_last(lengths[rows], n_read and [n_read[row] for row in rows.tolist()])
            logits = self._compute_logits(tokens[rows], reads, follow_rows(past, rows))[: reads.count(n_prompts)]
        for kept in (resid_pre, attn_out):
            kept.update({layer: values[:n_prompts] for layer, values in kept.items()})
        return CleanPass(tokens, lengths, resid_pre, attn_out, logits, n_read, past)

    @torch.inference_mode()
    def clean_last(self, tokens: Int[Tensor, "batch pos"]) -> CleanPass:
        """Run prompts of one length, and record what injections at their last position alone start from.

        Such an injection changes no earlier position. Their keys and values come from this clean pass, which has the
        last position only, and so `injected` computes no other. Models that keep no keys and values run all positions.
        """
        lengths = tokens.new_full([len(tokens)], tokens.shape[1])
        past = getattr(self.model(input_ids=tokens[:, :-1], use_cache=True), "past_key_values", None)
        if past is None:
            return self.clean(tokens, lengths)
        return self.clean(tokens[:, -1:], torch.ones_like(lengths), past=past)

    @torch.inference_mode()
    def injected(
        self,
        clean: CleanPass,
        layers: Sequence[int],
        prompts: Int[Tensor, " cell"],
        vectors: Float[Tensor, "cell d_model"],
        where: Bool[Tensor, "cell pos"] | None = None,
    ) -> Float[Tensor, "read vocab"]:
        """Return each cell's logits (see `engine.InjectionEngine`); cells join the batch at their layers."""
        added = place_vectors(vectors, where)
        if self._is_one_row_enough:
            return self._inject_together(clean, layers, prompts, added)
        starts = [index for index, layer in enumerate(layers) if layer not in layers[:index]]
        parts = [slice(*bounds) for bounds in pairwise([*starts, len(layers)])]
        return torch.cat([self._inject_together(clean, layers[part], prompts[part], added[part]) for part in parts])

    def _inject_together(
        self,
        clean: CleanPass,
        layers: Sequence[int],
        prompts: Int[Tensor, " cell"],
        added: Float[Tensor, "cell #pos d_model"],
    ) -> Float[Tensor, "read vocab"]:
        """Return the logits of cells of any layers or, where one row of tokens is not enough, of one layer."""
        n_filling = max(0, self._count_rows(clean.tokens) - layers.count(layers[0]))
        rows = torch.arange(-n_filling, len(prompts), device=prompts.device).clamp(min=0)
        prompts, added = prompts[rows], _take_rows(added, rows)
        with ExitStack() as stack:
            start = 0
            for layer, block in enumerate(self.components.blocks):
                stop = n_filling + bisect_right(layers, layer) if layer >= layers[0] else 0
                if not stop:
                    stack.enter_context(replace_forward(block, self.build_skip(block, None)))
                elif stop > start:
                    scale = self.components.attn_scale
                    joining = _JoiningCells(clean, layer, start, prompts[start:stop], added[start:stop], scale)
                    self._let_join(stack, joining, layer)
                start = stop
            tokens = clean.tokens[:1] if self._is_one_row_enough else clean.tokens[prompts]
            past = follow_rows(clean.past, prompts)
            n_read = clean.n_read and [clean.n_read[prompt] for prompt in prompts.tolist()]
            reads = Reads.of_last(_take_rows(clean.lengths, prompts), n_read)
            return self._compute_logits(tokens, reads, past)[reads.count(n_filling) :]

    def _count_rows(self, tokens: Int[Tensor, "batch pos"]) -> int:
        """Return how many prompts as long as these make matrix products of enough rows within blocks."""
        return math.ceil(self.min_rows / tokens.shape[1])

    def compute_logits_of_rows(self, n_rows: int) -> Float[Tensor, "row vocab"]:
        """Return the logits, in float32, of as many single positions, whose content replaced forwards have to bring."""
        tokens = torch.zeros(1 if self._is_one_row_enough else n_rows, 1, dtype=torch.long, device=self.device)
        return self._compute_logits(tokens, Reads.of_last(tokens.new_ones(n_rows)), None)

    def _let_join(self, stack: ExitStack, joining: "_JoiningCells", layer: int) -> None:
        """Let cells join the batch before a block, and pass by that block's attention."""
        parts = self.components
        attention, out = parts.attention[layer], parts.attn_out[layer]
        stack.callback(parts.blocks[layer].register_forward_pre_hook(joining.extend_block_input).remove)
        if joining.start:
            stack.callback(attention.register_forward_pre_hook(joining.trim_attention_input, with_kwargs=True).remove)
            stack.callback(out.register_forward_hook(joining.extend_attention_output).remove)
            return
        attn_out = joining.inject()
        # An attention whose own part is replaced does something else with it, such as adding the residual stream.
        for module in (out,) if out in attention.modules() else (attention, out):
            stack.enter_context(replace_forward(module, self.build_skip(module, attn_out)))

    def _compute_logits(
        self, tokens: Int[Tensor, "batch pos"], reads: Reads, past: Cache | None
    ) -> Float[Tensor, "read vocab"]:
        """Run the model, and return its logits in float32 at the positions that are read.

        The last block's attention and MLP see and write these positions only, and so does the unembedding.
        """
        n_rows: dict[nn.Module, int] = {}

        def select(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            if args[0].ndim != 3:  # the block has joined rows and positions
                return args
            n_rows[module] = n = len(args[0])
            rows = repeat_rows(reads.count(n), self.min_rows, args[0].device)
            # An MLP may take what its output is added to as a second argument.
            return tuple(reads.select(values)[rows, None] if _is_like(values, args[0]) else values for values in args)

        def place(module: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
            written, n = get_first(output), n_rows.get(module)
            if n is None or written.shape[:2] == (n, tokens.shape[1]):  # a forward that was replaced
                return output
            read = written.flatten(0, -2)[: reads.count(n)]
            return set_first(output, reads.place(read, n, tokens.shape[1]))

        unembed, writers = self.components.unembed, self.components.last_writers
        with sdpa_kernel(ATTENTION, set_priority=True), ExitStack() as stack:
            for module in (*writers, unembed):
                stack.callback(module.register_forward_pre_hook(select).remove)
            for module in writers:
                # Other hooks see what is written at its positions.
                stack.callback(module.register_forward_hook(place, prepend=True).remove)
            if unembed.weight.dtype != torch.float32:
                stack.enter_context(replace_forward(unembed, lambda hidden: _unembed_in_float32(unembed, hidden)))
            cache = {} if past is None else {"past_key_values": past}
            logits = self.model(input_ids=tokens, use_cache=past is not None, **cache).logits.float()
            return logits[: len(reads.rows), 0]

    @torch.inference_mode()
    def _probe_model(self) -> bool:
        """Learn the forms of modules' outputs; return whether one row of tokens may stand for all rows of a batch.

        It may if positions, masks and whatever else the model makes of its tokens are the same for every row, and of
        no particular number of rows: two rows of a residual stream then give the same logits with one row of tokens.
        """
        parts, tokens = self.components, torch.tensor([[0, 1], [1, 0]], device=self.device)
        resid_pre: dict[int, Tensor] = {}
        with ExitStack() as stack:
            stack.callback(parts.blocks[0].register_forward_pre_hook(_keep_input(resid_pre, 0)).remove)
            for module in (*parts.blocks, *parts.attention, *parts.attn_out):
                stack.callback(module.register_forward_hook(self._learn_form).remove)
            expected = self.model(input_ids=tokens, use_cache=False).logits
        if resid_pre[0].ndim != 3:
            raise UnsupportedArchitectureError(
                type(self.model).__name__, "its blocks read several residual streams at once"
            )
        handle = parts.blocks[0].register_forward_pre_hook(lambda _, args: (resid_pre[0], *args[1:]))
        try:
            found = self.model(input_ids=tokens[:1], use_cache=False).logits
        except (RuntimeError, ValueError):  # a number of rows that does not fit
            return False
        finally:
            handle.remove()
        return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-3)

    def _learn_form(self, module: nn.Module, _: Any, output: Any) -> None:
        """Remember the output's type and length, if it is a sequence."""
        if not isinstance(output, Tensor):
            self._forms[module] = type(output), len(output)

    def build_skip(self, module: nn.Module, value: Tensor | None) -> Callable[..., Any]:
        """Build a forward that returns `value` (None: its input) in the form of the module's own output."""
        form = self._forms.get(module)

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = args[0] if value is None else value
            return form[0]([output, *[None] * (form[1] - 1)]) if form else output

        return forward


@dataclass(frozen=True)
class _JoiningCells:
    """Cells that join a batch at their layer, behind the `start` rows that are in it already."""

    clean: CleanPass
    layer: int
    start: int
    prompts: Int[Tensor, " cell"]
    added: Float[Tensor, "cell #pos d_model"]
    scale: float

    def inject(self) -> Float[Tensor, "cell pos d_model"]:
        """Return the output of the clean pass with the cells' vectors added, before the block scales it."""
        attn_out = _take_rows(self.clean.attn_out[self.layer], self.prompts)
        attn_out = attn_out + self.added.to(attn_out)
        return attn_out if self.scale == 1 else attn_out / self.scale

    def extend_block_input(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add the cells' rows to the block's input."""
        resid_pre = _take_rows(self.clean.resid_pre[self.layer], self.prompts)
        return (torch.cat([args[0], resid_pre.to(args[0].device)]) if self.start else resid_pre, *args[1:])

    def trim_attention_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Hide the cells' rows from the attention."""
        if args:
            return (args[0][: self.start], *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"][: self.start]}

    def extend_attention_output(self, _: nn.Module, __: Any, output: Any) -> Any:
        """Add the cells' injected rows to the attention's output."""
        computed = get_first(output)
        return set_first(output, torch.cat([computed, self.inject().to(computed.device)]))


def follow_rows(past: Cache | None, prompts: Int[Tensor, " row"]) -> Cache | None:
    """Return the past of a batch that has these prompts in its rows, for one pass; `past` itself stays as it is.

    Rows may join the batch at any layer: an attention that sees only the first rows finds their past alone.
    """
    if past is None:
        return None
    followed = copy(past)
    followed.layers = [copy(layer) for layer in past.layers]
    for layer, before in zip(followed.layers, past.layers, strict=True):
        for name in UPDATES:
            if hasattr(layer, name):
                setattr(layer, name, partial(_update_rows, layer, before, prompts, name))
    return followed


def _update_rows(
    layer: Any, before: Any, prompts: Int[Tensor, " row"], name: str, states: Tensor, *args: Any, **kwargs: Any
) -> Any:
    """Give a layer the past of the rows of `states`, and let its own method add these."""
    for attribute, values in vars(before).items():
        if isinstance(values, Tensor) and values.ndim > 1:
            setattr(layer, attribute, values[prompts[: len(states)].to(values.device)])
    return getattr(type(layer), name)(layer, states, *args, **kwargs)


def _keep_input(kept: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        kept[layer] = args[0]

    return hook


def _keep_output(kept: dict[int, Tensor], layer: int, scale: float) -> Callable[..., None]:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        kept[layer] = get_first(output) if scale == 1 else get_first(output) * scale

    return hook


def _is_like(values: Any, other: Tensor) -> bool:
    return isinstance(values, Tensor) and values.shape[:-1] == other.shape[:-1]


def get_first(output: Any) -> Tensor:
    """Return the tensor that a module returns, first of several or alone."""
    return output if isinstance(output, Tensor) else output[0]


def set_first(output: Any, value: Tensor) -> Any:
    """Return a module's output with another tensor in the place of `get_first`'s."""
    return value if isinstance(output, Tensor) else type(output)([value, *output[1:]])


def add_to_first(output: Any, added: Tensor) -> Any:
    """Return a module's output with something added to `get_first`'s tensor, on whichever device that is."""
    first = get_first(output)
    return set_first(output, first + added.to(first))


@contextmanager
def replace_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give a module another forward within the block.

    A forward that was set on the module itself, as a device map does, is put back afterwards.
    """
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def _take_rows(values: Tensor, index: Int[Tensor, " cell"]) -> Tensor:
    return values[index.to(values.device)]


def _unembed_in_float32(
    unembed: nn.Linear, hidden: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos vocab"]:
    """Multiply by an unembedding of lower precision, with sums and logits in float32: logits are not rounded."""
    weight, bias = unembed.weight.T, unembed.bias
    flat = hidden.flatten(0, 1)
    logits = torch.mm(flat, weight, out_dtype=torch.float32) if flat.is_cuda else flat.float() @ weight.float()
    return (logits if bias is None else logits + bias.float()).unflatten(0, hidden.shape[:2])
