// SCSA's channel half. Included once for each level of vector instructions.

// One sample's self-attention between the channels of a head, by rows of the C x C matrix,
// which is never stored: a_i = sum_j softmax_j(sum_n q_ni k_nj) v_j with v the mean over windows.
template <typename A>
struct ChannelAttention {
  int64_t c, heads, count;
  std::vector<A> normal, q, k, v, mean;  // normalised windows (count, C) and what is made of them
  std::vector<A> reach;                  // of the keys, (heads, count): the largest |k|
  std::vector<OneWindow<A>> one;         // of the heads, where there is one window
  std::vector<char> polynomial;          // which of them are
  A scale;                               // 1 / deviation

  ChannelAttention(int64_t c, int64_t heads, int64_t count)
      : c(c), heads(heads), count(count), normal(count * c), q(count * c), k(count * c), v(c),
        mean(c), reach(heads * count), one(heads), polynomial(heads) {}

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
    for (int64_t i = 0, from = 0; i < heads; i++, from += c / heads) {
      polynomial[i] = count == 1 && one[i].prepare(c / heads, &q[from], &k[from], &v[from]);
      for (int64_t n = 0; n < count; n++) {
        A most = 0;
#pragma omp simd reduction(max : most)
        for (int64_t j = from; j < from + c / heads; j++)
          most = std::max(most, std::abs(k[n * c + j]));
        reach[i * count + n] = most;
      }
    }
  }

  // What channels begin to end get.
  void attend(int64_t begin, int64_t end, A* attended) const {
    std::vector<A> e(BLOCK * padded<A>(c / heads));
    over_heads(begin, end, [&](int64_t head, int64_t from, int64_t to) {
      const int64_t start = head * (c / heads);
      if (polynomial[head]) return one[head].attend(from - start, to - start, attended + start);
      over_blocks(from, to, [&](int64_t i, auto size) {
        if (are_moderate<size>(head, i))
          moderate_rows<size>(head, i, attended + i);
        else
          rows<size>(head, i, e.data(), attended + i);
      });
    });
  }

  // The gradient of what channels begin to end get -> that of their queries; added to, those of
  // all keys and values.
  void backward(int64_t begin, int64_t end, const A* grad, A* to_q, A* to_k, A* to_v) const {
    std::vector<A> e(BLOCK * padded<A>(c / heads));
    over_heads(begin, end, [&](int64_t head, int64_t from, int64_t to) {
      const int64_t start = head * (c / heads);
      if (polynomial[head]) {
        // By the part that has the head's first channel.
        if (from == start) one[head].backward(grad + start, to_q + start, to_k + start, to_v + start);
        return;
      }
      over_blocks(from, to, [&](int64_t i, auto size) {
        rows_backward<size>(head, i, grad + i, e.data(), to_q, to_k, to_v + start);
      });
    });
  }

 private:
  using V = vec_t<A>;
  static constexpr int BLOCK = 4;  // rows at once

  template <typename Body> void over_heads(int64_t begin, int64_t end, const Body& body) const {
    for (int64_t size = c / heads, i = begin / size; i * size < end; i++)
      body(i, std::max(begin, i * size), std::min(end, (i + 1) * size));
  }
  template <typename Body> static void over_blocks(int64_t begin, int64_t end, const Body& body) {
    for (; begin + BLOCK <= end; begin += BLOCK) body(begin, std::integral_constant<int, BLOCK>());
    for (; begin < end; begin++) body(begin, std::integral_constant<int, 1>());
  }

  // Added to, the logits of rows i .. i + R for the keys of a vector of channels from j on.
  template <int R, typename Count>
  INLINE void add_logits(int64_t i, int64_t j, Count lanes, V* logit) const {
    const A *query = q.data() + i, *key = k.data() + j;
    for (int64_t n = 0; n < count; n++, query += c, key += c) {
      V other = load_lanes(key, lanes);
      for (int r = 0; r < R; r++) logit[r] += other * query[r];
    }
  }

  // Whether no logit of rows i .. i + R can be large, nor its exponential.
  template <int R> bool are_moderate(int64_t head, int64_t i) const {
    for (int r = 0; r < R; r++) {
      A most = 0;
      for (int64_t n = 0; n < count; n++)
        most += std::abs(q[n * c + i + r]) * reach[head * count + n];
      if (!(most <= 40)) return false;
    }
    return true;
  }

  // What rows i .. i + R get then: without the largest logit, and nothing is kept.
  template <int R> void moderate_rows(int64_t head, int64_t i, A* attended) const {
    const int64_t size = c / heads, start = head * size;
    V sum[R] = {}, product[R] = {};
    each_lanes<A>(size, [&](int64_t j, auto lanes) INLINE_BODY {
      V logit[R] = {}, value = load_lanes(v.data() + start + j, lanes);
      add_logits<R>(i, start + j, lanes, logit);
      for (int r = 0; r < R; r++) {
        V x = only<A>(moderate_exponential(logit[r]), lanes);
        sum[r] += x;
        product[r] += x * value;
      }
    });
    for (int r = 0; r < R; r++)
      attended[r] = sum_everywhere<A>(product[r])[0] / sum_everywhere<A>(sum[r])[0];
  }

  // e = exp(logits of rows i .. i + R - their maximum), a padded row each; what they get, and
  // 1 / sum.
  template <int R> std::array<A, R> rows(int64_t head, int64_t i, A* e, A* attended) const {
    const int64_t size = c / heads, stride = padded<A>(size), start = head * size;
    const A* value = v.data() + start;
    V most[R], sum[R] = {}, product[R] = {};
    for (int r = 0; r < R; r++) most[r] = V{} - INFINITY;
    each_lanes<A>(size, [&](int64_t j, auto lanes) INLINE_BODY {
      V logit[R] = {};
      add_logits<R>(i, start + j, lanes, logit);
      for (int r = 0; r < R; r++) {
        logit[r] = only<A>(logit[r], lanes, V{} - INFINITY);
        most[r] = most[r] > logit[r] ? most[r] : logit[r];
        store_lanes(e + r * stride + j, logit[r], All());
      }
    });
    for (int r = 0; r < R; r++) most[r] = highest_everywhere<A>(most[r]);
    each_lanes<A>(size, [&](int64_t j, auto lanes) INLINE_BODY {
      V other = load_lanes(value + j, lanes);
      for (int r = 0; r < R; r++) {
        V x = exponential(load_lanes(e + r * stride + j, All()) - most[r]);
        x = only<A>(x, lanes);
        store_lanes(e + r * stride + j, x, All());
        sum[r] += x;
        product[r] += x * other;
      }
    });
    std::array<A, R> inverse;
    for (int r = 0; r < R; r++) {
      inverse[r] = 1 / sum_everywhere<A>(sum[r])[0];
      attended[r] = sum_everywhere<A>(product[r])[0] * inverse[r];
    }
    return inverse;
  }

  template <int R> void rows_backward(int64_t head, int64_t i, const A* grad, A* e, A* to_q,
                                      A* to_k, A* to_v) const {
    const int64_t size = c / heads, stride = padded<A>(size), start = head * size;
    const A* value = v.data() + start;
    A attended[R];
    std::array<A, R> factor = rows<R>(head, i, e, attended);
    for (int r = 0; r < R; r++) factor[r] *= grad[r];
    each_lanes<A>(size, [&](int64_t j, auto lanes) INLINE_BODY {
      V other = load_lanes(value + j, lanes), sum = load_lanes(to_v + j, lanes);
      for (int r = 0; r < R; r++) {
        V part = load_lanes(e + r * stride + j, All()) * factor[r];
        sum += part;
        store_lanes(e + r * stride + j, part * (other - attended[r]), All());
      }
      store_lanes(to_v + j, sum, lanes);
    });
    for (int64_t n = 0; n < count; n++) {
      const A *query = q.data() + n * c + i, *key = k.data() + n * c + start;
      A* to = to_k + n * c + start;
      V sums[R] = {};
      each_lanes<A>(size, [&](int64_t j, auto lanes) INLINE_BODY {
        V other = load_lanes(key + j, lanes), sum = load_lanes(to + j, lanes);
        for (int r = 0; r < R; r++) {
          V part = load_lanes(e + r * stride + j, All());
          sums[r] += part * other;
          sum += part * query[r];
        }
        store_lanes(to + j, sum, lanes);
      });
      for (int r = 0; r < R; r++) to_q[n * c + i + r] = sum_everywhere<A>(sums[r])[0];
    }
  }

 public:
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
