#include "levels.h"
#define LEVEL baseline
#define VECTOR 16  // bytes
#include "kernels.inc"
Level baseline_level() {
  return {baseline::table<float>(), baseline::table<double>(), baseline::table<bfloat16>()};
}
