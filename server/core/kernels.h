// The arithmetic on rows, compiled once per vector width and chosen at run time.
//
// Problem: the distributed build must run on any x86-64, yet rows are arrays of floats where AVX2 and AVX-512 pay.
// Idea: `kernels_body.inc` is compiled several times with different instruction sets into different namespaces, and
// `kernels()` hands out the widest table of functions that the CPU supports. Contraction into fused multiply-adds is
// off and sums run in a fixed number of lanes, so every variant gives the same bits: a row trained on one machine
// replays exactly on another. Limit: the body must use no inline function of the standard library, because the linker
// could keep the copy that was compiled for the wider CPU.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowbank {

// Numbers of one push, derived once per batch from the optimizer, the step and the push's overrides.
struct UpdateParams {
  float learning_rate = 0;
  float momentum = 0;
  float epsilon = 0;
  float one_minus_beta1 = 0;
  float one_minus_beta2 = 0;
  float alpha = 0;  // Adam: learning rate with both bias corrections.
  float weight_decay = 0;
  float rho = 0;
  float one_minus_rho = 0;
  float l1 = 0;
  float two_l2 = 0;         // FTRL: 2 * (l2 + beta / (2 * learning_rate)).
  float two_shrinkage = 0;  // FTRL: 2 * l2_shrinkage.
  float power = 0;          // FTRL: -learning_rate_power.
};

// Updates one row in place: `values` [dim], `slots` [slot_width], `gradient` [dim] (already summed and clipped).
using UpdateFn = void (*)(const UpdateParams& p, float* values, float* slots, const float* gradient, std::size_t dim);

struct Kernels {
  const char* name;
  void (*float_to_half)(const float* in, std::uint16_t* out, std::size_t n);    // Round to nearest even.
  void (*half_to_float)(const std::uint16_t* in, float* out, std::size_t n);    // Exact.
  void (*float_to_bfloat)(const float* in, std::uint16_t* out, std::size_t n);  // Round to nearest even.
  void (*bfloat_to_float)(const std::uint16_t* in, float* out, std::size_t n);  // Exact.
  bool (*all_finite_float)(const float* in, std::size_t n);
  bool (*all_finite_16)(const std::uint16_t* in, std::size_t n, std::uint16_t exponent_mask);
  void (*add)(float* acc, const float* in, std::size_t n);
  void (*scale)(float* x, float factor, std::size_t n);
  void (*clip)(float* x, float limit, std::size_t n);    // To [-limit, limit]; NaN stays NaN.
  float (*sum_squares)(const float* in, std::size_t n);  // In 16 lanes, added pairwise at the end.
  UpdateFn sgd;
  UpdateFn momentum;
  UpdateFn nesterov;
  UpdateFn adagrad;
  UpdateFn rowwise_adagrad;
  UpdateFn adam;
  UpdateFn adam_amsgrad;
  UpdateFn rmsprop;
  UpdateFn rmsprop_momentum;
  UpdateFn rmsprop_centered;
  UpdateFn rmsprop_centered_momentum;
  UpdateFn ftrl;
};

// The widest variant this CPU runs.
const Kernels& kernels();

// The variant of that name, or null when it is not built in or the CPU lacks it.
const Kernels* kernels_named(const char* name);

}  // namespace rowbank
