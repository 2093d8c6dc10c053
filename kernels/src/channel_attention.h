// SCSA's channel half. Included once for each level of vector instructions.

// One sample's self-attention between the channels of a head, by rows of the C x C matrix,
// which is never stored: a_i = sum_j softmax_j(sum_n q_ni k_nj) v_j with v the mean over windows.
template <typename A>
struct ChannelAttention {
  int64_t c, heads, count;
  std::vector<A> normal, q, k, v, mean;  // normalised windows (count, C) and what is made of them
  std::vector<A> high, low;              // largest and smallest key of a head, of one window
  A scale;                               // 1 / deviation

  ChannelAttention(int64_t c, int64_t heads, int64_t count)
      : c(c), heads(heads), count(count), normal(count * c), q(count * c), k(count * c), v(c),
        mean(c), high(heads), low(heads) {}

  void prepare(const ScsaParameters<A>& p, const A* pooled) {
    int64_t size = count * c;
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++) sum += pooled[i];
    A middle = sum / size;
    sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++) {
      normal[i] = pooled[i] - middle;
      sum += normal[i] * normal[i];
    }
    scale = 1 / std::sqrt(sum / size + A(p.eps[2]));
    const A *weight = p.norm[2][0], *bias = p.norm[2][1];
    A factor = p.factor;
    std::fill(mean.begin(), mean.end(), A(0));
    for (int64_t n = 0; n < count; n++)
#pragma omp simd
      for (int64_t i = 0; i < c; i++) {
        A value = (normal[n * c + i] *= scale) * weight[i] + bias[i];
        q[n * c + i] = value * p.qkv[0][i] * factor;
        k[n * c + i] = value * p.qkv[1][i];
        mean[i] += value;
      }
    for (int64_t i = 0; i < c; i++) v[i] = (mean[i] /= count) * p.qkv[2][i];
    for (int64_t i = 0; i < heads; i++) {
      auto ends = std::minmax_element(k.begin() + first(i * c / heads),
                                      k.begin() + (i + 1) * (c / heads));
      low[i] = *ends.first, high[i] = *ends.second;
    }
  }

  int64_t first(int64_t i) const { return i / (c / heads) * (c / heads); }

  // e = exp(logits of row i - their maximum); returns 1 / sum.
  A row(int64_t i, A* e, A* attended) const {
    int64_t from = first(i), size = c / heads;
    const A *key = k.data() + from, *value = v.data() + from;
    if (count == 1) {
      // The largest logit is that of the largest or the smallest key.
      A query = q[i], most = std::max(query * high[i / size], query * low[i / size]);
      return softmax(size, e, value, attended, [&](int64_t j) INLINE_BODY {
        return query * key[j] - most;
      });
    }
    std::fill(e, e + size, A(0));
    for (int64_t n = 0; n < count; n++) {
      A query = q[n * c + i];
      key = k.data() + n * c + from;
#pragma omp simd
      for (int64_t j = 0; j < size; j++) e[j] += query * key[j];
    }
    A most = -INFINITY;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < size; j++) most = most > e[j] ? most : e[j];
    return softmax(size, e, value, attended, [&](int64_t j) INLINE_BODY { return e[j] - most; });
  }

  template <typename Logit>
  INLINE A softmax(int64_t size, A* e, const A* value, A* attended, const Logit& logit) const {
    A sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t j = 0; j < size; j++) {
      e[j] = exponential(logit(j));
      sum += e[j];
      product += e[j] * value[j];
    }
    *attended = product / sum;
    return 1 / sum;
  }

  // Adds what row i gives to the gradients of k and v, and sets q's; grad is that of a_i.
  void row_backward(int64_t i, A grad, A* e, A* to_q, A* to_k, A* to_v) const {
    A attended, factor = grad * row(i, e, &attended);
    int64_t from = first(i), size = c / heads;
    const A* value = v.data() + from;
    to_v += from;
#pragma omp simd
    for (int64_t j = 0; j < size; j++) {
      A part = e[j] * factor;
      to_v[j] += part;
      e[j] = part * (value[j] - attended);
    }
    for (int64_t n = 0; n < count; n++) {
      A query = q[n * c + i], sum = 0;
      const A* key = k.data() + n * c + from;
      A* to = to_k + n * c + from;
#pragma omp simd reduction(+ : sum)
      for (int64_t j = 0; j < size; j++) {
        sum += e[j] * key[j];
        to[j] += e[j] * query;
      }
      to_q[n * c + i] = sum;
    }
  }

  // Gradients of q, k and v -> of the window means (into to_q) and of the parameters.
  void finish(const ScsaParameters<A>& p, A* to_q, const A* to_k, const A* to_v, A* to_weight,
              A* to_bias, A* const to_qkv[3]) const {
    const A *weight = p.norm[2][0], *bias = p.norm[2][1];
    A factor = p.factor, sum = 0, with = 0;
    for (A* to : {to_weight, to_bias, to_qkv[0], to_qkv[1]}) std::fill(to, to + c, A(0));
    for (int64_t i = 0; i < c; i++) to_qkv[2][i] = to_v[i] * mean[i];
    for (int64_t n = 0; n < count; n++) {
      const A *x = normal.data() + n * c, *dk = to_k + n * c;
      A* dq = to_q + n * c;
#pragma omp simd reduction(+ : sum, with)
      for (int64_t i = 0; i < c; i++) {
        A value = x[i] * weight[i] + bias[i], query = dq[i] * factor;
        to_qkv[0][i] += query * value;
        to_qkv[1][i] += dk[i] * value;
        A grad = query * p.qkv[0][i] + dk[i] * p.qkv[1][i] + to_v[i] * p.qkv[2][i] / count;
        to_bias[i] += grad;
        to_weight[i] += grad * x[i];
        grad *= weight[i];
        dq[i] = grad;
        sum += grad;
        with += grad * x[i];
      }
    }
    A middle = sum / (count * c), slope = with / (count * c);
#pragma omp simd
    for (int64_t i = 0; i < count * c; i++) to_q[i] = scale * (to_q[i] - middle - normal[i] * slope);
  }
};
