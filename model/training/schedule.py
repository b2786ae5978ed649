"""Depth, row length, batch and learning rate over the share of a run's budget.

The budget is time or tokens; a run on time ends fully decayed on any machine and under any load. A
trunk has no budget: its rates stay constant, and any of its checkpoints can be decayed (warm-up,
stable, decay: Hu et al. 2024, arXiv 2404.06395; decay by the square root: Hagele et al. 2024, arXiv
2405.18392).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from training.guidance import PREFIX_END, Guide


@dataclass(frozen=True)
class Stage:
    """One part of the run, valid until `until` (a share of the budget)."""

    until: float
    layers: int
    row_tokens: int
    batch_tokens: int


@dataclass(frozen=True)
class Plan:
    """The whole run.

    Attributes:
        stages: depth and shape of the batches.
        matrix_rate: peak rate of the blocks' matrices.
        rate: peak rate of everything else.
        warm_up: share of the budget in which the rates rise.
        warm_up_steps: steps in which they rise, for a run that has no budget.
        decay_from: share from which they fall; endless plans never get there.
        by_root: they fall with the square root of the share, not linearly.
        endless: whether the plan can do without a budget.
        average_from: share from which the weights are averaged.
        average_weight: of the newest weights in the average.
        long_rows_from: share from which some batches have rows of full length.
        long_rows_every: how many steps apart those are.
        guides: heads that are shown where to look.
        guided_until: share at which that ends.
        guide_weight: of their loss.
        line_gap_share: of the infilling examples, those whose middle is lines.
        healed: whether in SPM order a prefix leaves its last token to the middle.
    """

    stages: tuple[Stage, ...]
    matrix_rate: float
    rate: float
    warm_up: float = 0.02
    warm_up_steps: int = 0
    decay_from: float = 0.25
    by_root: bool = False
    endless: bool = False
    average_from: float = 0.88
    average_weight: float = 0.03
    long_rows_from: float = 0.85
    long_rows_every: int = 3
    guides: tuple[Guide, ...] = ()
    guided_until: float = 0.0
    guide_weight: float = 1.0
    line_gap_share: float = 0.0
    healed: bool = False

    def stage(self, share: float) -> Stage:
        """The stage at a share of the budget."""
        return next((stage for stage in self.stages if share < stage.until), self.stages[-1])

    def factor(self, share: float, steps: int = 0) -> float:
        """Learning rate over its peak: warm-up, level, decay to zero at share 1.

        Args:
            share: of the budget.
            steps: that this run has made, for `warm_up_steps`.
        """
        if steps < self.warm_up_steps:
            return (steps + 1) / self.warm_up_steps
        level = decaying(share, self.warm_up, self.decay_from)
        by_root = self.by_root and share > self.decay_from
        return 1.0 - math.sqrt(1.0 - level) if by_root else level

    def guidance(self, share: float) -> float:
        """Weight of the guided heads' loss: level at first, then linear to zero."""
        if not self.guides or share >= self.guided_until:
            return 0.0
        return self.guide_weight * min(1.0, 2.0 * (1.0 - share / self.guided_until))

    def row_tokens(self, share: float, step: int, longest: int) -> int:
        """Length of this step's rows; near the end every few steps one batch of full length."""
        if share >= self.long_rows_from and step % self.long_rows_every == 0:
            return longest
        return self.stage(share).row_tokens

    def shape(self, share: float, step: int, longest: int) -> tuple[int, int]:
        """Rows and ids of a row (one more than tokens: the last is only predicted)."""
        length = self.row_tokens(share, step, longest)
        return max(1, self.stage(share).batch_tokens // length), length + 1


def decaying(share: float, warm_up: float, decay_from: float) -> float:
    """Short warm-up, level, linear to zero at share 1 of the budget."""
    if share < warm_up:
        return max(share, 0.001) / warm_up
    return min(1.0, max(0.0, (1.0 - share) / (1.0 - decay_from)))


# The first layer tells every token what precedes it; two later ones look that up.
GUIDES = (
    *(Guide(layer=0, head=head, back=back) for head, back in ((2, 1), (1, 2), (3, 3))),
    *(Guide(layer=layer, head=0, back=0) for layer in (2, 3)),
)
CPU_PLAN = Plan(
    stages=(
        Stage(0.22, 2, 256, 2048),
        Stage(0.45, 2, 256, 4096),
        Stage(0.60, 2, 512, 4096),
        Stage(0.82, 4, 512, 4096),
        Stage(1.00, 7, 512, 4096),
    ),
    matrix_rate=4e-3,
    rate=2e-3,
)
# Continues a finished run: full depth, and half the rate. Full rows come early: the few of the
# first plan left the model worse after a thousand tokens than before them.
CPU_FURTHER_PLAN = Plan(
    stages=(Stage(1.00, 7, 512, 4096),),
    matrix_rate=2e-3,
    rate=1e-3,
    warm_up=0.03,
    decay_from=0.2,
    long_rows_from=0.35,
    guides=GUIDES,
    guided_until=0.8,
)
# Goes on once more, with less to unlearn: half of the gaps are lines, as people have them filled,
# and a head is shown where the text before a gap ended.
CPU_GAPS_PLAN = replace(
    CPU_FURTHER_PLAN,
    matrix_rate=1.5e-3,
    rate=0.75e-3,
    long_rows_from=0.5,
    guides=(*GUIDES, Guide(layer=1, head=0, back=PREFIX_END)),
    line_gap_share=0.5,
)
# And once more: the tokens at a gap's border are those of whole text.
CPU_HEALED_PLAN = replace(CPU_GAPS_PLAN, healed=True)
# One data-centre GPU: the full depth pays from the start, and batches fill the device.
GPU_PLAN = Plan(
    stages=(
        Stage(0.05, 7, 1024, 65_536),
        Stage(0.50, 7, 1024, 262_144),
        Stage(1.00, 7, 2048, 524_288),
    ),
    matrix_rate=4e-3,
    rate=3e-3,
    long_rows_from=0.5,
    long_rows_every=1,
)
# Constant rates for as long as there is time; the averaged weights show what a decay would give.
TRUNK_PLAN = Plan(
    stages=(Stage(1.00, 7, 512, 16_384),),
    matrix_rate=2e-3,
    rate=1.2e-3,
    warm_up=0.0,
    warm_up_steps=20,
    endless=True,
    average_from=0.0,
    average_weight=0.02,
    long_rows_from=0.0,
    long_rows_every=8,
    line_gap_share=0.5,
    healed=True,
)
# The end of a trunk: any of its checkpoints becomes weights to release.
# Batches are half as large: a low rate averages the noise away, and there are more updates.
DECAY_PLAN = replace(
    TRUNK_PLAN,
    stages=(Stage(1.00, 7, 512, 8_192),),
    warm_up_steps=0,
    decay_from=0.0,
    by_root=True,
    endless=False,
    average_from=0.7,
    average_weight=0.05,
    long_rows_every=4,
)
# Minutes on a GPU that take a trunk up: larger batches, so that updates cost little, at more rate.
GPU_TRUNK_PLAN = replace(
    TRUNK_PLAN,
    stages=(Stage(1.00, 7, 1024, 131_072),),
    matrix_rate=4e-3,
    rate=2.4e-3,
    warm_up_steps=60,
)
GPU_DECAY_PLAN = replace(
    DECAY_PLAN,
    stages=(Stage(1.00, 7, 1024, 131_072),),
    matrix_rate=4e-3,
    rate=2.4e-3,
)
PLANS = {
    "trunk": TRUNK_PLAN,
    "decay": DECAY_PLAN,
    "cpu": CPU_PLAN,
    "cpu-further": CPU_FURTHER_PLAN,
    "cpu-gaps": CPU_GAPS_PLAN,
    "cpu-healed": CPU_HEALED_PLAN,
    "gpu": GPU_PLAN,
    "gpu-trunk": GPU_TRUNK_PLAN,
    "gpu-decay": GPU_DECAY_PLAN,
}
