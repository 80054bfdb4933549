"""What one row of each encoder costs at any size, without running it."""

from __future__ import annotations

from modalxai.benchmark.speed.models import RATE, Size, speech_config, text_config


def speech_flops(samples: int, size: Size = "base") -> int:
    """Of wav2vec 2.0 on one clip of so many samples, as torch's counter counts.

    A multiplication and an addition are two operations; biases, norms and activations are none.
    """
    config = speech_config(size)
    total, length, before = 0, samples, 1
    for kernel, stride, width in zip(
        config.conv_kernel, config.conv_stride, config.conv_dim, strict=True
    ):
        length = (length - kernel) // stride + 1
        total += 2 * length * width * before * kernel
        before = width
    width, kernel = config.hidden_size, config.num_conv_pos_embeddings
    total += 2 * length * before * width
    # The positions' convolution gives a frame more where its kernel is even, which is cut off.
    grouped = width // config.num_conv_pos_embedding_groups
    total += 2 * (length + (kernel % 2 == 0)) * width * grouped * kernel
    layer = _layer(length, width, config.intermediate_size)
    return int(total + config.num_hidden_layers * layer)


def text_flops(tokens: int, size: Size = "base") -> int:
    """Of DistilBERT on one text."""
    config = text_config(size)
    return int(config.n_layers * _layer(tokens, config.dim, config.hidden_dim))


def row_costs(seconds: float, tokens: int, size: Size = "base") -> dict[str, float]:
    """By modality, FLOPs of one row."""
    return {
        "audio": float(speech_flops(round(seconds * RATE), size)),
        "text": float(text_flops(tokens, size)),
    }


def _layer(length: int, width: int, inner: int) -> int:
    """One transformer layer: four projections, two feed-forward ones, scores and their sums."""
    return 2 * length * width * (4 * width + 2 * inner) + 4 * length * length * width
