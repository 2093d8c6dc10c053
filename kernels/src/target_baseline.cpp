#include "levels.h"
#define LEVEL baseline
#define VECTOR 16  // bytes
#include "kernels.inc"
Level baseline_level() {
#if defined(__x86_64__)
  // float64 is for checks of gradients; a CPU without AVX2 takes the pure way. All of it at each
  // level would take a minute more to compile.
  return {{}, baseline::table<double>(), {}};
#else
  return {baseline::table<float>(), baseline::table<double>(), baseline::table<bfloat16>()};
#endif
}
