"""Building blocks by their formulas."""

import torch

from pyramid.device import seeded
from pyramid.layers import SelfAttention


def test_self_attention_position_by_position():
    """x + gain Wo sum_j softmax_j(q_i . k_j / sqrt(C / 4)) v_j; on a map that is not square."""
    with seeded(0):
        layer = SelfAttention(8)
    layer.gain.data.fill_(0.5)
    x = torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(0))

    def project(into, x):
        return torch.einsum("oc,bc...->bo...", into.weight[:, :, 0, 0], x) + into.bias[:, None, None]

    q, k, v = (project(part, x) for part in (layer.query, layer.key, layer.value))  # (B, 2, 3, 5)
    expected = x.clone()
    for row in range(3):
        for column in range(5):
            scores = torch.einsum("bc,bchw->bhw", q[:, :, row, column], k) / 2**0.5
            share = scores.exp() / scores.exp().sum((1, 2), keepdim=True)
            seen = torch.einsum("bhw,bchw->bc", share, v)[..., None, None]  # (B, 2, 1, 1)
            expected[:, :, row, column] += 0.5 * project(layer.out, seen)[..., 0, 0]
    torch.testing.assert_close(layer(x), expected)
