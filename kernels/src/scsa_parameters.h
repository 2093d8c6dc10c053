// What an SCSA layer computes with, in the type of its sums.
#pragma once

#include <cstdint>
#include <vector>

template <typename A>
struct ScsaParameters {
  // Depthwise convolutions of the groups of channels, one after the other.
  const A *weight, *bias;
  // Weight and bias of the norms of the rows, the columns and the windows.
  const A* norm[3][2];
  // Query, key and value of a channel.
  const A* qkv[3];
  // Of the warm start; may be null.
  const A* scale;
  std::vector<int64_t> kernels;
  int64_t heads, window;
  // Of the attention's logits.
  double factor;
  double eps[3];

  int64_t weights(int64_t channels) const {
    int64_t sum = 0;
    for (int64_t kernel : kernels) sum += kernel * channels / int64_t(kernels.size());
    return sum;
  }
  // Of one sample's gradients: weight and bias of the convolutions for rows and for columns,
  // the norms, qkv, and the scale by channel.
  int64_t gradients(int64_t channels) const { return 2 * weights(channels) + 12 * channels; }
};
