#include "initializer.h"

#include <cmath>
#include <stdexcept>

#include "hash.h"

namespace rowbank {
namespace {

constexpr double kTwoSigmaTail = 0.022750131948179195;  // P(standard normal < -2).

InitializerKind parse_kind(const std::string& kind) {
  if (kind == "zeros") return InitializerKind::kZeros;
  if (kind == "constant") return InitializerKind::kConstant;
  if (kind == "uniform") return InitializerKind::kUniform;
  if (kind == "normal") return InitializerKind::kNormal;
  if (kind == "truncated_normal") return InitializerKind::kTruncatedNormal;
  throw std::invalid_argument("initializer kind must be zeros, constant, uniform, normal or truncated_normal, got '" +
                              kind + "'");
}

// Polynomial with the highest power first.
template <std::size_t n>
double polynomial(const double (&coefficients)[n], double x) {
  double sum = coefficients[0];
  for (std::size_t i = 1; i < n; ++i) {
    sum = sum * x + coefficients[i];
  }
  return sum;
}

constexpr double kCentralTop[] = {2.50908092873012267e+3, 3.34305755835881281e+4, 6.72657709270087009e+4,
                                  4.59219539315498715e+4, 1.37316937655094611e+4, 1.97159095030655144e+3,
                                  1.33141667891784377e+2, 3.38713287279636661e+0};
constexpr double kCentralBottom[] = {
    5.22649527885285456e+3, 2.87290857357219427e+4, 3.93078958000927106e+4, 2.12137943015865959e+4,
    5.39419602142475111e+3, 6.87187007492057908e+2, 4.23133307016009113e+1, 1.0};
constexpr double kTailTop[] = {7.74545014278341407e-4, 2.27238449892691845e-2, 2.41780725177450612e-1,
                               1.27045825245236838e+0, 3.64784832476320461e+0, 5.76949722146069141e+0,
                               4.63033784615654530e+0, 1.42343711074968358e+0};
constexpr double kTailBottom[] = {
    1.05075007164441684e-9, 5.47593808499534495e-4, 1.51986665636164572e-2, 1.48103976427480075e-1,
    6.89767334985100005e-1, 1.67638483018380385e+0, 2.05319162663775882e+0, 1.0};
constexpr double kFarTop[] = {2.01033439929228813e-7, 2.71155556874348758e-5, 1.24266094738807844e-3,
                              2.65321895265761230e-2, 2.96560571828504891e-1, 1.78482653991729133e+0,
                              5.46378491116411437e+0, 6.65790464350110378e+0};
constexpr double kFarBottom[] = {
    2.04426310338993979e-15, 1.42151175831644589e-7, 1.84631831751005468e-5, 7.86869131145613260e-4,
    1.48753612908506149e-2,  1.36929880922735805e-1, 5.99832206555887938e-1, 1.0};

}  // namespace

double normal_quantile(double p) {
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return polynomial(kCentralTop, r) * q / polynomial(kCentralBottom, r);
  }
  const double r = std::sqrt(-std::log(q < 0 ? p : 1.0 - p));
  const double x = r <= 5.0 ? polynomial(kTailTop, r - 1.6) / polynomial(kTailBottom, r - 1.6)
                            : polynomial(kFarTop, r - 5.0) / polynomial(kFarBottom, r - 5.0);
  return q < 0 ? -x : x;
}

Initializer::Initializer(const std::string& kind, double a, double b, std::uint64_t seed)
    : kind_(parse_kind(kind)), a_(static_cast<float>(a)), b_(static_cast<float>(b)), seed_(seed) {
  if (!std::isfinite(a_) || !std::isfinite(b_)) {
    throw std::invalid_argument("initializer " + kind + ": a and b must be finite float32 numbers, got " +
                                std::to_string(a) + " and " + std::to_string(b));
  }
  if (kind_ == InitializerKind::kUniform && a_ > b_) {
    throw std::invalid_argument("initializer uniform: low must not be above high, got low " + std::to_string(a) +
                                " and high " + std::to_string(b));
  }
  if ((kind_ == InitializerKind::kNormal || kind_ == InitializerKind::kTruncatedNormal) && b_ < 0) {
    throw std::invalid_argument("initializer " + kind + ": the standard deviation must be at least 0, got " +
                                std::to_string(b));
  }
}

std::uint64_t Initializer::salt(std::string_view table_name) const {
  return mix64(seed_ ^ fnv1a64(table_name));
}

void Initializer::fill(std::uint64_t salt, std::uint64_t key_hash, float* out, std::size_t dim) const {
  const std::uint64_t base = key_hash ^ salt;
  switch (kind_) {
    case InitializerKind::kZeros:
      for (std::size_t i = 0; i < dim; ++i) out[i] = 0.0F;
      return;
    case InitializerKind::kConstant:
      for (std::size_t i = 0; i < dim; ++i) out[i] = a_;
      return;
    case InitializerKind::kUniform: {
      const float width = b_ - a_;
      for (std::size_t i = 0; i < dim; ++i) {
        const std::uint64_t draw = mix64(base + (i + 1) * kGolden);
        out[i] = a_ + width * (static_cast<float>(draw >> 40) * 0x1p-24F);
      }
      return;
    }
    case InitializerKind::kNormal:
    case InitializerKind::kTruncatedNormal: {
      const bool truncated = kind_ == InitializerKind::kTruncatedNormal;
      const double low = truncated ? kTwoSigmaTail : 0.0;
      const double width = truncated ? 1.0 - 2.0 * kTwoSigmaTail : 1.0;
      for (std::size_t i = 0; i < dim; ++i) {
        const std::uint64_t draw = mix64(base + (i + 1) * kGolden);
        const double p = low + width * ((static_cast<double>(draw >> 11) + 0.5) * 0x1p-53);
        out[i] = static_cast<float>(static_cast<double>(a_) + static_cast<double>(b_) * normal_quantile(p));
      }
      return;
    }
  }
}

}  // namespace rowbank
