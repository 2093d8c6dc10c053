#include "levels.h"
#define LEVEL baseline
#include "kernels.inc"
Level baseline_level() {
  return {baseline::table<float>(), baseline::table<double>(), baseline::table<bfloat16>()};
}
