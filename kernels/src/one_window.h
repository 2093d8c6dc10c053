// Attention between channels that have one value each. Query and key are numbers, so what a
// channel gets is a function of its query, a(q) = sum_j exp(q k_j) v_j / sum_j exp(q k_j), and
// on an interval of queries on which no logit moves by more than 1/2 to each side both sums are
// polynomials to the last place: a dozen terms for a channel instead of an exponential for a
// pair. Included once for each level of vector instructions.
template <typename A> class OneWindow {
  using V = vec_t<A>;
  // The term after the last is at most 1 / (2^TERMS TERMS!).
  static constexpr int TERMS = sizeof(A) == 4 ? 10 : 16;
  struct Terms {
    A sum[TERMS], product[TERMS];
  };
  int64_t size = 0;
  const A *q, *k, *v;
  A first, width, middle, reach, mean;  // of the intervals, of the keys, of the values
  std::vector<Terms> terms;             // of the intervals

  A centre(int64_t i) const { return first + (i + A(0.5)) * width; }
  // Not a number is in all of them.
  INLINE auto within(int64_t i, V query) const {
    A begin = i > 0 ? first + i * width : A(-INFINITY);
    A end = i + 1 < int64_t(terms.size()) ? first + (i + 1) * width : A(INFINITY);
    return ~((query < begin) | (query >= end));
  }
  // A key's weight at the centre of an interval, at most 1.
  INLINE V weight(A centre, V key) const {
    return exponential((key - middle) * centre - std::abs(centre) * reach);
  }
  // Sums of vectors -> coefficients of a power series.
  template <int N> static void coefficients(const V* sums, A* to) {
    A factorial = 1;
    for (int p = 0; p < N; factorial *= ++p) to[p] = sum_everywhere<A>(sums[p])[0] / factorial;
  }

 public:
  // False where pairs are cheaper, or not all is finite.
  bool prepare(int64_t count, const A* queries, const A* keys, const A* values) {
    size = count, q = queries, k = keys, v = values;
    auto key = std::minmax_element(k, k + size), query = std::minmax_element(q, q + size);
    middle = (*key.first + *key.second) / 2;
    reach = std::max((*key.second - *key.first) / 2, A(1e-10));
    first = *query.first;
    A range = *query.second - first, intervals = std::ceil(range * reach);
    if (!(intervals * 8 <= size)) return false;
    terms.resize(std::max<int64_t>(1, intervals));
    width = range / terms.size();
    mean = 0;
#pragma omp simd reduction(+ : mean)
    for (int64_t j = 0; j < size; j++) mean += v[j];
    mean /= size;
    for (size_t i = 0; i < terms.size(); i++) {
      const A at = centre(i), inverse = 1 / reach;
      V sums[TERMS] = {}, products[TERMS] = {};
      each_lanes<A>(size, [&](int64_t j, auto count) INLINE_BODY {
        V other = load_lanes(k + j, count), value = load_lanes(v + j, count) - mean;
        V power = only<A>(weight(at, other), count), t = (other - middle) * inverse;
        for (int p = 0; p < TERMS; p++, power *= t) sums[p] += power, products[p] += power * value;
      });
      coefficients<TERMS>(sums, terms[i].sum);
      coefficients<TERMS>(products, terms[i].product);
    }
    return true;
  }

  // What channels begin to end get.
  void attend(int64_t begin, int64_t end, A* attended) const {
    for (size_t i = 0; i < terms.size(); i++) {
      const Terms t = terms[i];
      const A at = centre(i);
      each_lanes<A>(end - begin, [&](int64_t j, auto count) INLINE_BODY {
        V query = load_lanes(q + begin + j, count), u = (query - at) * reach;
        V sum = {}, product = {};
        for (int p = TERMS - 1; p >= 0; p--)
          sum = sum * u + t.sum[p], product = product * u + t.product[p];
        V old = i ? load_lanes(attended + begin + j, count) : V{};
        store_lanes(attended + begin + j, within(i, query) ? mean + product / sum : old, count);
      });
    }
  }

  // The gradient of what channels get -> of queries; added to, of keys and values.
  void backward(const A* grad, A* to_q, A* to_k, A* to_v) const {
    for (size_t i = 0; i < terms.size(); i++) {
      const Terms t = terms[i];
      const A at = centre(i), inverse = 1 / reach;
      // Gradients / sum by powers of the query, alone and times what the channel gets.
      V shares[TERMS + 1] = {}, outputs[TERMS + 1] = {};
      each_lanes<A>(size, [&](int64_t j, auto count) INLINE_BODY {
        V query = load_lanes(q + j, count), u = (query - at) * reach;
        V sum = {}, product = {}, d_sum = {}, d_product = {};
        for (int p = TERMS - 1; p >= 0; p--) {
          d_sum = d_sum * u + sum, d_product = d_product * u + product;
          sum = sum * u + t.sum[p], product = product * u + t.product[p];
        }
        auto here = within(i, query);
        V output = product / sum, old = i ? load_lanes(to_q + j, count) : V{};
        V share = load_lanes(grad + j, count) / sum;
        V slope = share * (d_product - output * d_sum) * reach;
        store_lanes(to_q + j, here ? slope : old, count);
        share = only<A>(here ? share : V{}, count), output = here ? output : V{};
        for (int p = 0; p <= TERMS; p++, share *= u)
          shares[p] += share, outputs[p] += share * output;
      });
      A alone[TERMS + 1], with[TERMS + 1];
      coefficients<TERMS + 1>(shares, alone);
      coefficients<TERMS + 1>(outputs, with);
      each_lanes<A>(size, [&](int64_t j, auto count) INLINE_BODY {
        V other = load_lanes(k + j, count), x = (other - middle) * inverse;
        V value = {}, key = {}, less = {};
        for (int p = TERMS - 1; p >= 0; p--) {
          // Times its query, a share has the centre as a factor, and one power more.
          const A next = (p + 1) * inverse;
          value = value * x + alone[p];
          key = key * x + (at * alone[p] + next * alone[p + 1]);
          less = less * x + (at * with[p] + next * with[p + 1]);
        }
        V factor = weight(at, other);
        add_lanes<A>(to_v + j, factor * value, count);
        key = key * (load_lanes(v + j, count) - mean) - less;
        add_lanes<A>(to_k + j, factor * key, count);
      });
    }
  }
};
